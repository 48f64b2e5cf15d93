-- machine: puts one run together: the parts of the library that each run needs, the user's code and its modules.
-- Called by core/machine.py as start(program, payload_limit); rt.mode is set before. program is an encoded map:
--   entry = unit, libraries = { id = unit }, method; unit = { id, name, source, modules, imports = { alias = id } }
-- Returns { start, apply, apply_traced, more_commands, places, trace, open_commands, set_versions, set_effects, ask }
local rt = ...
local raw = rt.raw
local rawtype, error, next = raw.type, raw.error, raw.next

rt.require_prelude("codec")
rt.on_demand(rt, "error_objects", "new_error fail error_text error_from failure_bytes")
rt.on_demand(rt, "payload", "new_payload")
rt.on_demand(rt, "outcome", "outcome")
rt.require_prelude("scheduler")
local channel = rt.require_prelude("channel")
rt.require_prelude("mailbox")

function rt.libs.coroutine.spawn(fn)
  if rawtype(fn) ~= "function" then rt.typeerror(1, "spawn", "function", fn) end
  return rt.spawn(fn)
end

function rt.on_print(line)
  if not rt.replaying then rt.host("machine.log", "info", line, {}) end
end

-- Modules ---------------------------------------------------------------------------------------------------------

local special = {
  channel = function() return channel end,
  subscribe = function()
    return function(topic, object)
      if rawtype(topic) ~= "string" then rt.typeerror(1, "subscribe", "string", topic) end
      if not rt.state(object, "channel") then rt.typeerror(2, "subscribe", "channel", object) end
      return rt.mailbox.bind(topic, object)
    end
  end,
  unsubscribe = function()
    return function(object) return rt.mailbox.unlisten(object, true) end
  end,
}
local ALWAYS <const> = { "errors", "channel", "process", "payload", "subscribe", "unsubscribe" }
local BUILT_IN <const> = { os = true, coroutine = true, table = true, string = true, math = true, utf8 = true, package = true }

local function load_module(name)
  local make = special[name]
  if make then return make() end
  return rt.require_prelude(name)
end

local program, libraries, bound

local function new_env(unit)
  local names, loaders = {}, {}
  for i = 1, #ALWAYS do names[i] = ALWAYS[i] end
  for i = 1, #unit.modules do
    if not BUILT_IN[unit.modules[i]] then names[#names + 1] = unit.modules[i] end
  end
  for alias, id in next, unit.imports do
    names[#names + 1] = alias
    loaders[alias] = id
  end
  return rt.new_env(names, function(name)
    if loaders[name] then return bound(loaders[name]) end
    return load_module(name)
  end)
end

local function compile(unit)
  local source = unit.source
  unit.source = nil
  local chunk, problem = rt.load_user(source, "@" .. unit.name, new_env(unit))
  if not chunk then error(problem, 0) end
  return chunk
end

local values, loading = {}, {}

-- The value of a library: its chunk runs once in each run.
function bound(id)
  if values[id] == nil then
    if loading[id] then error("library " .. id .. " imports itself", 0) end
    -- A replay leaves the side effect out: it would load the library at another place.
    if rt.in_side_effect then error("library " .. id .. " is not loaded yet: require it outside the side effect", 0) end
    loading[id] = true
    local _ <close> = raw.setmetatable({}, { __close = function() loading[id] = nil end })
    local value = compile(libraries[id])()
    values[id] = value == nil and true or value
  end
  return values[id]
end

local main_chunk

-- load_main() -> the function to call: what the chunk returns, or its method
function rt.load_main()
  local value = main_chunk()
  if rawtype(value) == "function" then return value end
  if rawtype(value) == "table" and not rt.class_of(value) then
    local method = value[program.method]
    if rawtype(method) == "function" then return method end
  end
  error(rt.new_error({
    message = 'method "' .. program.method .. '" not found in module', kind = "NotFound", retryable = false,
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

-- Where the coroutines stand -----------------------------------------------------------------------------------------

local function first_frame(thread)
  local frame = thread and rt.user_frames(thread, 0, 1)[1]
  return frame or { source = "", line = 0, name = "" }
end

-- places() -> bytes: a list of lists: task, file, line, function, waits_for, since_ms. Without names: each sleeping run
-- keeps it, and Redis keeps a hash small while its values have at most 64 bytes.
local function place_list()
  local list = {}
  if rt.is_closed() then return list end
  local tasks, last = rt.living_tasks()
  for id = 1, last do
    local task = tasks[id]
    if task then
      local frame = first_frame(task.inner or task.co)
      if frame.line == 0 then frame = first_frame(task.co) end
      list[#list + 1] = {
        id, frame.source, frame.line, frame.name,
        task.what and (task.what .. (task.detail and " " .. task.detail or "")) or "", task.since or 0,
      }
    end
  end
  return list
end

-- The same for a query handler, with names.
function rt.places()
  local list = place_list()
  for i = 1, #list do
    local task, file, line, name, waits_for, since_ms = raw.table.unpack(list[i])
    list[i] = { task = task, file = file, line = line, ["function"] = name, waits_for = waits_for, since_ms = since_ms }
  end
  return list
end

-- Tracing: the line of user code that gave each command, for reports about replays that differ.
local lines
local function trace()
  rt.set_on_command(function()
    local frame = rt.user_frames(raw.coroutine.running(), 0, 1)[1]
    lines[#lines + 1] = frame and frame.source .. ":" .. frame.line or ""
  end)
end

return {
  start = function(bytes, payload_limit)
    program = rt.unpack(bytes)
    libraries = program.libraries
    rt.payload_limit, rt.program = payload_limit, program
    main_chunk = compile(program.entry)
    rt.settle()
  end,
  apply = rt.apply,
  apply_traced = function(event)
    lines = {}
    rt.apply(event, true)
    return rt.pack(lines)
  end,
  more_commands = rt.more_commands,
  usage = rt.usage,
  places = function() return rt.pack(place_list()) end,
  trace = trace,
  open_commands = function() return rt.pack(rt.open_commands()) end,
  set_versions = function(bytes)
    local found = rt.unpack(bytes)
    rt.markers = rt.markers or {}
    for id, version in next, found do rt.markers[id] = version end
  end,
  set_effects = function(bytes)
    local found = rt.unpack(bytes)
    rt.effects = rt.effects or {}
    for i = 1, #found do rt.effects[found[i][1]] = found[i] end
  end,
  -- Questions from outside the history: handlers.lua says which there are.
  ask = function(what, ...)
    rt.reset_budget()
    return rt.require_prelude("handlers")[what](...)
  end,
}
