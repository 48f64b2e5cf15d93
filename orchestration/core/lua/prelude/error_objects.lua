-- error_objects: the values that say what went wrong. Adds to rt: new_error, fail, error_text (the full text),
--   error_from (bytes of a failure), failure_bytes (value, thread). Returns what errors.lua needs of it.
-- A failure on the wire is a map of message, kind, and if known retryable, details, context, stack.
local rt = ...
local raw = rt.raw
local rawtype, next = raw.type, raw.next
local running = raw.coroutine.running
local concat, format, gsub = raw.table.concat, raw.string.format, raw.string.gsub
local function tostring(value) return rt.tostring(value) end
local MOST_FRAMES <const> = 16

local function frames_text(frames)
  local lines = {}
  for i = 1, #frames do
    local frame = frames[i]
    lines[i] = format("%s:%d: in %s", frame.source, frame.line, frame.name)
  end
  return #lines > 0 and concat(lines, "\n") or "[engine]"
end

-- Details are kept encoded: what was given can no longer change, and each reader gets a copy.
local function details_bytes(details)
  if rawtype(details) ~= "table" then return nil end
  local kept, any = {}, false
  for key, value in next, details do
    if rawtype(key) == "string" then
      if not rt.pcall(rt.pack, value) then value = "[" .. rawtype(value) .. "]" end
      kept[key], any = value, true
    end
  end
  if not any then return nil end
  local ok, bytes = rt.pcall(rt.pack, kept)
  return ok and bytes or nil
end

local methods = {}
local function state_of(self, name)
  local state = rt.state(self, "error")
  if not state then rt.typeerror(1, name, "error", self, 1) end
  return state
end
function methods.kind(self) return state_of(self, "kind").kind end
function methods.message(self) return state_of(self, "message").message end
function methods.retryable(self) return state_of(self, "retryable").retryable end
function methods.details(self)
  local bytes = state_of(self, "details").details
  if not bytes then return nil end
  return (rt.unpack(bytes))
end
function methods.stack(self)
  local state = state_of(self, "stack")
  return state.stack or frames_text(state.frames or {})
end

local function text_of(value)
  local state = rt.state(value, "error")
  if state then return state.message end
  return tostring(value)
end

local new_object = rt.class("error", methods, {
  tostring = function(self) return rt.state(self, "error").message end,
  concat = function(a, b) return text_of(a) .. text_of(b) end,
})

local function make(message, kind, retryable, details, context, stack)
  local state = { message = message, kind = kind or "", retryable = retryable, details = details, context = context }
  if stack then state.stack = stack elseif rt.current() then state.frames = rt.user_frames(running(), 2, MOST_FRAMES) end
  return new_object(state)
end

local function full_text(state)
  return state.context and state.context .. ": " .. state.message or state.message
end

-- new_error{message=, kind=, retryable=, details=} -> error object
function rt.new_error(fields)
  return make(fields.message, fields.kind, fields.retryable, details_bytes(fields.details))
end
-- fail(kind, message, retryable) -> nil, error object; not retryable unless said
function rt.fail(kind, message, retryable)
  return nil, make(message, kind, retryable or false)
end
function rt.error_text(value) return full_text(rt.state(value, "error")) end

-- error_from(bytes, extra) -> error object of a failure; extra details are added where they are not there yet
function rt.error_from(bytes, extra)
  local failure = rt.unpack(bytes)
  if rawtype(failure) ~= "table" then failure = { message = tostring(failure) } end
  local details = failure.details
  if extra then
    if rawtype(details) ~= "table" then details = {} end
    for key, value in next, extra do
      if details[key] == nil then details[key] = value end
    end
  end
  local retryable = failure.retryable
  if rawtype(retryable) ~= "boolean" then retryable = nil end
  return make(tostring(failure.message or ""), tostring(failure.kind or ""), retryable, details_bytes(details),
    failure.context, failure.stack or "[outside]")
end

-- failure_bytes(value, thread) -> bytes: an error object, or whatever was raised in the thread
function rt.failure_bytes(value, thread)
  local state = rt.state(value, "error")
  local failure
  if state then
    failure = { message = state.message, kind = state.kind, retryable = state.retryable, context = state.context }
    if state.details then failure.details = rt.unpack(state.details) end
    failure.stack = state.stack or frames_text(state.frames or {})
  else
    local kind = rawtype(value)
    local text = kind == "string" and value or kind == "number" and tostring(value)
      or "(error value is a " .. kind .. ")"
    failure = { message = (gsub(text, "^%[[%w_]+%]:%d+: ", "")), kind = "Internal" }
    if thread then failure.stack = frames_text(rt.user_frames(thread, 0, MOST_FRAMES)) end
  end
  return rt.pack(failure)
end

return { make = make, details_bytes = details_bytes, text_of = text_of, full_text = full_text }
