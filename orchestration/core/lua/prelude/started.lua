-- started: the first input of a run. Run once; returns the handler (event, position).
local rt = ...
local raw = rt.raw
local rawtype, error = raw.type, raw.error
local PAYLOAD_BYTES <const> = 2097152 -- where a start says nothing else

-- load_main() -> the function to call: what the chunk returns, or its method
local function load_main()
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

local function prepare()
  -- The start says how much a value may take: a setting that changes later must not change what the code sees.
  if rt.mode == "workflow" then rt.payload_limit = rt.meta.payload_bytes or PAYLOAD_BYTES end
  rt.tz = rt.meta.tz or "UTC"
  local seed = rt.seed
  if #seed < 16 then seed = rt.random(16) or raw.string.rep("\0", 16) end
  rt.seed_random(raw.string.unpack("<i8i8", seed))
end

local function conclude(...) return rt.conclude(...) end

-- STARTED: meta map, args
return function(event, pos)
  local meta, args
  meta, pos = rt.unpack_at(event, pos)
  args = rt.unpack_at(event, pos)
  rt.meta, rt.seed, rt.context = meta, meta.seed or "", meta.ctx or {}
  if meta.added_bytes then rt.discount_history(meta.added_bytes) end
  if meta.numbers then rt.skip_numbers(meta.numbers) end
  prepare()
  local n, values = rt.unpack_list(args)
  rt.launch(function()
    local main = load_main()
    load_main = nil -- for a process that lives long
    if meta.tell == "now" then -- who started it hears of it at once, however long the first step takes
      rt.host_bytes("verb.process.loaded", "\x90") -- no arguments
    elseif meta.tell then
      rt.note(80, 1, "\xc0")
    end
    return conclude(main(raw.table.unpack(values, 1, n)))
  end)
end
