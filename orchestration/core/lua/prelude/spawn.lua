-- spawn: starting other processes; in a workflow they are child workflows.
-- Adds its functions to the module process; adds to rt: exec_child(what, id, host, ...).
local rt = ...
local raw = rt.raw
local rawtype, sub, find, select, next = raw.type, raw.string.sub, raw.string.find, raw.select, raw.next
local command, on_result, block, waiter, wake = rt.command, rt.on_result, rt.block, rt.waiter, rt.wake
local pack_str, pack_bin = rt.pack_str, rt.pack_bin
local is_workflow <const> = rt.mode == "workflow"

local function copy(from)
  local to = {}
  for key, value in next, from do to[key] = value end
  return to
end

-- asked(builder, flags) -> list: the actions that a start is; who performs it asks whether they are permitted
local function asked(builder, flags)
  local actions = builder and builder.asks and copy(builder.asks) or {}
  for i = 1, #flags.asks do actions[#actions + 1] = flags.asks[i] end
  if flags.hosted and not builder then actions[#actions + 1] = "process.host" end
  return actions
end

-- start(builder, what, flags, id, host, ...) -> seq | nil, error
local function start(builder, flags, id, host, ...)
  local bytes, problem = rt.try_pack_list(...)
  if not bytes then return nil, problem end
  local crowded = rt.crowded()
  if crowded then return nil, crowded end
  local map = rt.as_map({})
  if builder then
    map, problem = rt.require_prelude("options").workflow(builder.options)
    if not map then return rt.fail("Invalid", problem) end
    if builder.name then map.name = builder.name end
    map.actor, map.scope = builder.actor, builder.scope
    if #builder.messages > 0 then map.messages = builder.messages end
  end
  local context = builder and builder.context or rt.context
  if next(context) ~= nil then map.ctx = context end
  if flags.monitor then map.monitor = true end
  if flags.link then map.link = true end
  if flags.wait then map.wait = true end
  rt.require_prelude("guard")
  if rt.is_guarded() then map.asks, map.built = asked(builder, flags), builder and true end
  local ok, options = raw.pcall(rt.map_bytes, map)
  if not ok then
    rt.rethrow(options)
    return rt.fail("Invalid", "invalid options for " .. id .. ": " .. rt.tostring(options))
  end
  return command(69, 4, pack_str(id) .. pack_str(host) .. pack_bin(bytes) .. options)
end

-- Asks a child to end; nobody waits for the answer.
local function request_cancel(pid)
  on_result(command(75, 3, pack_str(pid) .. pack_str("canceled by its parent") .. "\xc2"), function() end)
end

local function exit_event(pid, ok, bytes)
  local result = {}
  if ok then result.value = (rt.unpack(bytes)) else result.error = rt.error_from(bytes) end
  rt.mailbox.event({ kind = "pid.exit", from = pid, at = rt.now_ms() // 1000, result = result })
end

-- await_end(seq, pid, take): once a child has started, its number is answered by its end, which brings the address along.
-- Word of the start may come twice: whoever brings it may have died before noting that it has.
local function await_end(seq, pid, take)
  on_result(seq, function(ok, bytes, from)
    if from == nil then return await_end(seq, pid, take) end
    take(ok, bytes, from)
  end)
  rt.on_cancel(seq, function() request_cancel(pid) end)
end

-- not_started(builder, bytes) -> nil, error; a builder raises what is not permitted
local function not_started(builder, bytes)
  local problem = rt.error_from(bytes)
  if builder and rt.state(problem, "error").kind == "PermissionDenied" then raw.error(problem, 0) end
  return nil, problem
end

local function launch(builder, name, flags, count, id, host, ...)
  if count < 2 then return rt.fail("Invalid", name .. " requires at least id and host arguments") end
  if rawtype(id) ~= "string" then rt.typeerror(1, name, "string", id, 1) end
  if host == nil then host = "" end
  if rawtype(host) ~= "string" then rt.typeerror(2, name, "string", host, 1) end
  local task = waiter()
  local seq, problem = start(builder, flags, id, host, ...)
  if not seq then return nil, problem end
  local wanted = false -- the start has been taken back before word of it came
  on_result(seq, function(ok, answer, ended)
    -- Who started the child may have died before saying so, and its end come first. It brings the address along; word
    -- of the start then finds nothing that waits for it.
    if ended ~= nil then
      wake(task, true, ended)
      return exit_event(ended, ok, answer)
    end
    if ok and is_workflow then
      await_end(seq, answer, function(ended_well, bytes, pid) exit_event(pid, ended_well, bytes) end)
      if wanted then request_cancel(answer) end
    end
    wake(task, ok, answer)
  end)
  if is_workflow then rt.on_cancel(seq, function() wanted = true end) end
  local ok, answer = block("process." .. name, id)
  if not ok then return not_started(builder, answer) end
  return answer, nil
end

local EXEC <const> = {
  ["process.exec"] = { wait = not is_workflow, asks = { "process.exec" }, hosted = true },
  ["workflow.exec"] = { asks = { "workflow.exec" } },
}

-- exec(builder, what, id, host, ...): start and wait for the end
local function exec(builder, what, id, host, ...)
  local task = waiter()
  local seq, problem = start(builder, EXEC[what], id, host, ...)
  if not seq then return nil, problem end
  local wanted, started = false, true
  on_result(seq, function(ok, answer, ended)
    started = ok or ended ~= nil
    if ended ~= nil or not ok then return wake(task, ok, answer) end -- ended: the end came first, see launch()
    await_end(seq, answer, function(ended_well, bytes) wake(task, ended_well, bytes) end)
    if wanted then request_cancel(answer) end
  end)
  rt.on_cancel(seq, function() wanted = true end)
  local ok, bytes = block(what, id)
  if ok then return (rt.unpack(bytes)), nil end
  if not started then return not_started(builder, bytes) end
  return nil, rt.error_from(bytes)
end
rt.exec_child = exec

local function checked_exec(builder, count, id, host, ...)
  if count < 2 then return rt.fail("Invalid", "exec requires id and host arguments") end
  if rawtype(id) ~= "string" then rt.typeerror(1, "exec", "string", id, 1) end
  if host ~= nil and rawtype(host) ~= "string" then rt.typeerror(2, "exec", "string", host, 1) end
  if id == "" then return rt.fail("Invalid", "process ID required") end
  if not find(id, "^[^:]+:.") then return rt.fail("Invalid", "invalid process ID format (namespace:name required)") end
  if host == "" or host == nil then return rt.fail("Invalid", "host ID required") end
  return exec(builder, "process.exec", id, host, ...)
end

local VARIANTS <const> = {
  { "spawn", { asks = { "process.spawn" }, hosted = true } },
  { "spawn_monitored", { monitor = true, asks = { "process.spawn", "process.spawn.monitored" } } },
  { "spawn_linked", { link = true, asks = { "process.spawn", "process.spawn.linked" } } },
  { "spawn_linked_monitored",
    { link = true, monitor = true, asks = { "process.spawn", "process.spawn.linked", "process.spawn.monitored" } } },
}

-- Builder: each method makes a new one -------------------------------------------------------------------------------

local methods = {}
local new_builder = rt.class("process.Builder", methods, {})
local function builder_of(self, name)
  local state = rt.state(self, "process.Builder")
  if not state then rt.typeerror(1, name, "builder", self, 1) end
  return state
end
local function changed(state, field, value)
  local new = copy(state)
  new[field] = value
  return (new_builder(new))
end

-- asking(state, field, value, action) -> as changed, for what has to be permitted: asked at once or, in a workflow, by the
-- start; a refusal is raised
local REFUSED <const> = {
  ["process.context"] = "context", ["process.options"] = "options", ["process.security"] = "security context",
}
local function asking(state, field, value, action)
  rt.require_prelude("guard")
  if not rt.is_guarded() then return changed(state, field, value) end
  local text = "not allowed to spawn processes with custom " .. REFUSED[action]
  local problem = rt.refusal(action, sub(action, 9), text)
  if problem then raw.error(problem, 0) end
  local new = copy(state)
  new[field], new.asks = value, copy(state.asks or {})
  new.asks[#new.asks + 1] = action
  return (new_builder(new))
end

local function table_argument(value, n, fname)
  if rawtype(value) ~= "table" or rt.class_of(value) then rt.typeerror(n, fname, "table", value, 1) end
end

function methods.with_context(self, values)
  local state = builder_of(self, "with_context")
  table_argument(values, 2, "with_context")
  return asking(state, "context", rt.require_prelude("options").values(values, copy(state.context)), "process.context")
end
function methods.with_options(self, options)
  local state = builder_of(self, "with_options")
  table_argument(options, 2, "with_options")
  local merged = copy(state.options)
  for key, value in next, options do
    if rawtype(key) ~= "string" then rt.argerror(2, "with_options", "option keys must be strings") end
    merged[key] = value
  end
  return asking(state, "options", merged, "process.options")
end
function methods.with_name(self, name)
  local state = builder_of(self, "with_name")
  if rawtype(name) ~= "string" then rt.typeerror(2, "with_name", "string", name) end
  if name == "" then rt.raise("name cannot be empty") end
  return changed(state, "name", name)
end
function methods.with_message(self, topic, ...)
  local state = builder_of(self, "with_message")
  if rawtype(topic) ~= "string" then rt.typeerror(2, "with_message", "string", topic) end
  if sub(topic, 1, 1) == "@" then rt.raise("cannot send to @ topics") end
  local messages = copy(state.messages)
  local bytes, problem = rt.try_pack_list(...)
  if not bytes then raw.error(problem, 0) end
  messages[#messages + 1] = { topic, (rt.unpack(bytes)) }
  return changed(state, "messages", messages)
end
function methods.with_actor(self, actor)
  local state = builder_of(self, "with_actor")
  rt.require_prelude("guard")
  return asking(state, "actor", rt.actor_of(actor, "with_actor"), "process.security")
end
function methods.with_scope(self, scope)
  local state = builder_of(self, "with_scope")
  rt.require_prelude("guard")
  return asking(state, "scope", rt.scope_of(scope, "with_scope"), "process.security")
end
function methods.exec(self, ...)
  return checked_exec(builder_of(self, "exec"), select("#", ...), ...)
end

local module = rt.process
for i = 1, #VARIANTS do
  local name, flags = VARIANTS[i][1], VARIANTS[i][2]
  module[name] = function(...) return launch(nil, name, flags, select("#", ...), ...) end
  methods[name] = function(self, ...) return launch(builder_of(self, name), name, flags, select("#", ...), ...) end
end
function module.exec(...) return checked_exec(nil, select("#", ...), ...) end

local function builder() return (new_builder({ options = {}, context = rt.context, messages = {} })) end
function module.with_context(values)
  table_argument(values, 1, "with_context")
  return builder():with_context(values)
end
function module.with_options(options)
  table_argument(options, 1, "with_options")
  return builder():with_options(options)
end
return true
