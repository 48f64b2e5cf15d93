-- outcome: the result rule of functions, workflows and handlers: the first value, unless the second is an error or a text.
-- Adds to rt: outcome(value, problem) -> ok, bytes of the result or of the failure; and the ends of a run: conclude(value,
--   problem) by its main function, fail_run(value, thread) by an error, deadlock(threads).
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

function rt.conclude(value, problem)
  local ok, bytes = rt.outcome(value, problem)
  rt.finish(ok and 71 or 72, rt.pack_bin(bytes))
end

function rt.fail_run(value, thread) rt.finish(72, rt.pack_bin(rt.failure_bytes(value, thread))) end

function rt.deadlock(threads)
  rt.fail_run(rt.new_error({
    message = "deadlock: all coroutines blocked with no pending operations (threads=" .. threads .. ")",
    kind = "Internal",
    retryable = false,
  }))
end
return true
