-- operation: what code asks of others and waits for until it was accepted.
-- Adds to rt: try_pack_list(...) -> bytes | nil, error; operation(what, detail, code, fields, tail) -> true | nil, error;
--   and for modules of functions and processes, whose work is done in Python (orchestration/modules):
--   perform(name, ...) -> value | nil, error: the calling task waits while another thread does it
--   perform_now(name, ...) -> value | nil, error: done before this returns; for what never waits
local rt = ...
local raw = rt.raw
local select, pcall = raw.select, raw.pcall
local command, on_result, block, waiter = rt.command, rt.on_result, rt.block, rt.waiter

-- Packs arguments: bytes, or nil and an error object.
function rt.try_pack_list(...)
  local ok, bytes = pcall(rt.pack_list, select("#", ...), ...)
  if not ok then
    rt.rethrow(bytes)
    if rt.is_error(bytes) then return nil, bytes end
    raw.error(bytes, 0)
  end
  if #bytes > rt.payload_limit then
    return rt.fail("Invalid", "the payload takes " .. #bytes .. " bytes, the limit is " .. rt.payload_limit)
  end
  return bytes
end

local function ask(what, detail, code, fields, tail)
  local crowded = rt.crowded()
  if crowded then return false, rt.failure_bytes(crowded) end
  local task = waiter()
  on_result(command(code, fields, tail), task)
  return block(what, detail)
end

function rt.operation(what, detail, code, fields, tail)
  local ok, bytes = ask(what, detail, code, fields, tail)
  if ok then return true, nil end
  return nil, rt.error_from(bytes)
end

function rt.perform(name, ...)
  local packed, problem = rt.try_pack_list(...)
  if not packed then return nil, problem end
  local ok, bytes = ask(name, nil, 79, 2, rt.pack_str(name) .. rt.pack_bin(packed))
  if ok then return (rt.unpack(bytes)), nil end
  return nil, rt.error_from(bytes)
end

function rt.perform_now(name, ...)
  local packed, problem = rt.try_pack_list(...)
  if not packed then return nil, problem end
  local ok, bytes = rt.host_bytes("verb." .. name, packed)
  if ok then return (rt.unpack(bytes)), nil end
  return nil, rt.error_from(bytes)
end
return true
