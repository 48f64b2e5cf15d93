-- process_sends: messages to others, and asking or making them end. Adds to the module process: send, cancel, terminate.
local rt = ...
local raw = rt.raw
local rawtype, sub, find, select = raw.type, raw.string.sub, raw.string.find, raw.select
local process, mailbox, pack_str, pack_bin, operation = rt.process, rt.mailbox, rt.pack_str, rt.pack_bin, rt.operation
local is_workflow <const> = rt.mode == "workflow"

local function is_pid(text) return find(text, "^{[^{}|]*|.+}$") ~= nil end

local function unresolved(dest)
  return rt.fail("NotFound", "could not resolve '" .. dest .. "' as PID or registered name")
end

function process.send(...)
  local dest, topic = ...
  if select("#", ...) < 2 then return rt.fail("Invalid", "send requires at least destination and topic arguments") end
  if rawtype(dest) ~= "string" then rt.typeerror(1, "send", "string", dest) end
  if rawtype(topic) ~= "string" then rt.typeerror(2, "send", "string", topic) end
  if sub(topic, 1, 1) == "@" then return rt.fail("Invalid", "cannot send to @ topics") end
  local bytes, problem = rt.try_pack_list(select(3, ...))
  if not bytes then return nil, problem end
  local own = rt.meta.pid
  if dest == own then
    mailbox.arrive(topic, bytes, own)
    return true, nil
  end
  if is_workflow then
    if not is_pid(dest) then return unresolved(dest) end
  elseif not find(dest, "\0", 1, true) then -- which ends the address in what is handed over, and no address has
    -- To a process of the same worker: handed over before this returns.
    local _, answer = rt.host_bytes("live.send", dest .. "\0" .. pack_str(topic) .. pack_bin(bytes) .. pack_str(own))
    if answer == "\xc3" then return true, nil end
  end
  return operation("process.send", dest, 68, 3, pack_str(dest) .. pack_str(topic) .. pack_bin(bytes))
end

-- cancel(pid, reason), terminate(pid): of another process or workflow
local function stop(what, dest, reason, terminate)
  if rawtype(dest) ~= "string" then rt.typeerror(1, what, "string", dest, 1) end
  if reason ~= nil and rawtype(reason) ~= "string" then rt.typeerror(2, what, "string", reason, 1) end
  if is_workflow and not is_pid(dest) then return unresolved(dest) end
  if dest == rt.meta.pid and not terminate then
    mailbox.event({ kind = "pid.cancel", from = dest, at = rt.now_ns() // 1000000000, reason = reason or "" })
    return true, nil
  end
  return operation("process." .. what, dest, 75, 3, pack_str(dest) .. pack_str(reason or "") .. (terminate and "\xc3" or "\xc2"))
end
function process.cancel(dest, reason)
  local ok, problem = stop("cancel", dest, reason, false)
  return ok, problem
end
function process.terminate(dest)
  local ok, problem = stop("terminate", dest, nil, true)
  return ok, problem
end
return true
