-- logger: lines for the log of the worker, with fields. For functions; workflows print.
--   logger:debug/info/warn/error(message, fields?); logger:with(fields) -> Logger; logger:named(name) -> Logger
-- Fields have string keys; tables are written as JSON. Each line also says who wrote it (pid) and where (location).
local rt = ...
local raw = rt.raw
local rawtype, next = raw.type, raw.next
local CLASS <const> = "logger"
local MOST_BYTES <const> = 65536

local methods = {}
local new = rt.class(CLASS, methods, {})

local function state_of(self, fname)
  local state = rt.state(self, CLASS)
  if not state then rt.typeerror(1, fname, "logger, called with a colon,", self, 1) end
  return state
end

-- shown(value) -> what the log shows of a field
local function shown(value)
  local kind = rawtype(value)
  if kind == "number" or kind == "boolean" then return value end
  if kind == "table" and not rt.class_of(value) then
    local text, problem = rt.require_prelude("json").encode(value)
    if text then return text end
    return "!(" .. problem:message() .. ")"
  end
  if rt.is_error(value) then return rt.error_text(value) end
  return rt.tostring(value)
end

-- add(kept, fields, n, fname): put fields into a table of shown ones
local function add(kept, fields, n, fname)
  if fields == nil then return kept end
  if rawtype(fields) ~= "table" or rt.class_of(fields) then rt.typeerror(n, fname, "table", fields, 1) end
  for key, value in next, fields do
    if rawtype(key) == "string" then kept[key] = shown(value) end
  end
  return kept
end

local function copy(fields)
  local kept = {}
  for key, value in next, fields do kept[key] = value end
  return kept
end

local function line(level)
  return function(self, message, fields)
    local state = state_of(self, level)
    if rawtype(message) ~= "string" then
      if message == nil then rt.typeerror(1, level, "string", message) end
      message = rt.tostring(message)
    end
    if #message > MOST_BYTES then message = raw.string.sub(message, 1, MOST_BYTES) .. "..." end
    local all = add(copy(state.fields), fields, 2, level)
    local frame = rt.user_frames(raw.coroutine.running(), 1, 1)[1]
    if frame then all.location = frame.source .. ":" .. frame.line end
    all.pid = rt.meta and rt.meta.pid
    if state.name then all.logger = state.name end
    rt.charge(#message // 4 + 200)
    if not rt.replaying then rt.host("machine.log", level, message, all) end
  end
end

for _, level in raw.ipairs { "debug", "info", "warn", "error" } do methods[level] = line(level) end

methods["with"] = function(self, fields)
  local state = state_of(self, "with")
  return (new({ name = state.name, fields = add(copy(state.fields), fields, 1, "with") }))
end

function methods.named(self, name)
  local state = state_of(self, "named")
  if rawtype(name) ~= "string" then rt.typeerror(1, "named", "string", name) end
  if name == "" then raw.error("name cannot be empty", 2) end
  return (new({ name = state.name and state.name .. "." .. name or name, fields = state.fields }))
end

return (new({ fields = {} }))
