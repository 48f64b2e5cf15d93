-- started: the first input of a run. Adds to rt: start_hook, load_main.
local rt = ...
local raw = rt.raw
local rawtype, error = raw.type, raw.error

-- load_main() -> the function to call: what the chunk returns, or its method
function rt.load_main()
  local value = rt.main_chunk()
  rt.main_chunk = nil
  if rawtype(value) == "function" then return value end
  if rawtype(value) == "table" and not rt.class_of(value) then
    local method = value[rt.program.method]
    if rawtype(method) == "function" then return method end
  end
  error(rt.new_error({
    message = 'method "' .. rt.program.method .. '" not found in module', kind = "NotFound", retryable = false,
  }), 0)
end

local PAYLOAD_BYTES <const> = 2097152 -- where a start says nothing else

function rt.start_hook()
  -- The start says how much a value may take: a setting that changes later must not change what the code sees.
  if rt.mode == "workflow" then rt.payload_limit = rt.meta.payload_bytes or PAYLOAD_BYTES end
  rt.tz = rt.meta.tz or "UTC"
  local seed = rt.seed
  if #seed < 16 then seed = rt.random(16) or raw.string.rep("\0", 16) end
  rt.seed_random(raw.string.unpack("<i8i8", seed))
end
return true
