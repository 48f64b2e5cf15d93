-- outcome: the result rule of functions, workflows and handlers: the first value, unless the second is an error or a text.
-- Adds to rt: outcome(value, problem) -> ok, bytes of the result or of the failure.
local rt = ...
local rawtype = rt.raw.type

local function failure(message)
  return false, rt.failure_bytes(rt.new_error({ message = message, kind = "Internal", retryable = false }))
end

function rt.outcome(value, problem)
  if rawtype(problem) == "string" then return failure(problem) end
  if problem ~= nil and rt.is_error(problem) then return false, rt.failure_bytes(problem) end
  local ok, bytes = rt.pcall(rt.pack, value)
  if ok and #bytes > rt.payload_limit then
    ok, bytes = false, "the result takes " .. #bytes .. " bytes, the limit is " .. rt.payload_limit
  end
  if ok then return true, bytes end
  return failure("failed to encode result: " .. rt.tostring(rt.is_error(bytes) and rt.error_text(bytes) or bytes))
end
return true
