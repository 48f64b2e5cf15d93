-- process: the run as an actor: its address, its mailbox, messages to others. Spawning is in spawn.lua.
-- Returns the module. In a workflow every effect on others is a recorded command that waits until it was accepted.
local rt = ...
local raw = rt.raw
local rawtype, sub, find, select, next = raw.type, raw.string.sub, raw.string.find, raw.select, raw.next
local mailbox, block, waiter = rt.mailbox, rt.block, rt.waiter
local pack_str, pack_bin = rt.pack_str, rt.pack_bin
rt.require_prelude("operation")
local operation = rt.operation
local is_workflow <const> = rt.mode == "workflow"

local process = {
  event = rt.readonly("process.event", {
    CANCEL = "pid.cancel", EXIT = "pid.exit", LINK_DOWN = "pid.link.down", OUTDATED = "pid.outdated",
  }),
}

-- expose(): this process or function is about to be known to others, who must be able to find it
local function expose()
  if is_workflow or rt.meta.public then return end
  rt.meta.public = true
  rt.perform_now("process.expose")
end

function process.pid()
  local pid = rt.meta and rt.meta.pid
  if not pid then return rt.fail("Internal", "no process PID") end
  expose()
  return pid
end
function process.id()
  local id = rt.program and rt.program.entry.id
  if not id then return rt.fail("Internal", "no context found") end
  return id
end

-- Mailbox ---------------------------------------------------------------------------------------------------------

function process.inbox()
  expose()
  return mailbox.inbox()
end
function process.events()
  expose()
  return mailbox.events()
end

function process.listen(topic, options)
  if rawtype(topic) ~= "string" then rt.typeerror(1, "listen", "string", topic) end
  if options ~= nil and rawtype(options) ~= "table" then rt.typeerror(2, "listen", "table", options) end
  expose()
  return mailbox.listen(topic, options ~= nil and options.message == true)
end
function process.unlisten(channel) return mailbox.unlisten(channel) end

-- Sending ---------------------------------------------------------------------------------------------------------

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
  else
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

-- What a workflow does not have --------------------------------------------------------------------------------------

local function unsupported(name, why)
  local text = "process." .. name .. " not supported in workflow context" .. (why or "")
  return function() return rt.fail("Invalid", text) end
end
if is_workflow then
  process.monitor = unsupported("monitor", ": child workflows are automatically monitored")
  process.unmonitor = unsupported("unmonitor")
  process.unlink = unsupported("unlink")
  process.link = unsupported("link", ": Temporal doesn't support bidirectional linking")
else
  local watching = rt.require_prelude("watching")
  process.monitor, process.unmonitor = watching.monitor, watching.unmonitor
  process.link, process.unlink = watching.link, watching.unlink
end
local names = is_workflow and {
  register = unsupported("registry.register"), lookup = unsupported("registry.lookup"),
  unregister = unsupported("registry.unregister"),
} or rt.require_prelude("names")
names.LOCAL, names.EVENTUAL, names.CONSISTENT, names.STRONG = 0, 1, 2, 3
process.registry = rt.readonly("process.registry", names)

-- Options of the process itself ----------------------------------------------------------------------------------------

local own_options = { trap_links = false, upgradable = false }
function rt.traps_links() return own_options.trap_links end

function process.get_options() return { trap_links = own_options.trap_links } end
function process.set_options(given)
  rt.check_seal()
  if rawtype(given) ~= "table" or rt.class_of(given) then
    return false, rt.new_error({ message = "options parameter must be a table", kind = "Invalid", retryable = false })
  end
  local problem
  for i = 1, 2 do
    local name = i == 1 and "trap_links" or "upgradable"
    local value = raw.rawget(given, name)
    if value ~= nil and rawtype(value) ~= "boolean" then
      problem = name .. " must be a boolean"
    elseif value ~= nil then
      own_options[name] = value
    end
  end
  local unknown
  for key in next, given do
    local text = rt.tostring(key)
    if own_options[key] == nil and (not unknown or text < unknown) then unknown = text end
  end
  if unknown and not problem then problem = "option " .. unknown .. " is not supported" end
  if problem then return false, rt.new_error({ message = problem, kind = "Invalid", retryable = false }) end
  return true, nil
end

-- upgrade(id?, ...): the run goes on as a new one; does not return
function process.upgrade(id, ...)
  waiter()
  local bytes, problem = rt.try_pack_list(...)
  if not bytes then raw.error(problem, 0) end
  local kind = rawtype(id) == "string" and pack_str(id) or "\xc0"
  local options, unread = rt.as_map({}), mailbox.unread()
  if next(rt.context) ~= nil then options.ctx = rt.context end
  if #unread > 0 then options.unread = unread end
  rt.finish(73, kind .. pack_bin(bytes) .. rt.map_bytes(options), 3)
  while true do block("process.upgrade") end
end

local spawn = rt.require_prelude("spawn")
for name, value in next, spawn do process[name] = value end
return rt.readonly("process", process)
