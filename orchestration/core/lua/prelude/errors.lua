-- errors: the module of error objects, see error_objects.lua: constants, new, wrap, is, call_stack.
local rt = ...
local rawtype = rt.raw.type
local objects = rt.require_prelude("error_objects")

local function new(spec)
  if rawtype(spec) == "table" and not rt.class_of(spec) then
    local message, kind, retryable = spec.message, spec.kind, spec.retryable
    if message == nil then rt.raise("message field is required") end
    if rawtype(message) ~= "string" then rt.raise("message must be a string") end
    if rawtype(retryable) ~= "boolean" then retryable = nil end
    return objects.make(message, rawtype(kind) == "string" and kind or "", retryable, objects.details_bytes(spec.details))
  end
  if rawtype(spec) ~= "string" and rawtype(spec) ~= "number" and not rt.is_error(spec) then
    rt.typeerror(1, "new", "string or table", spec)
  end
  return objects.make(objects.text_of(spec))
end

local function wrap(value, context)
  local inner = rt.state(value, "error")
  if not inner and rawtype(value) ~= "string" then
    rt.typeerror(1, "wrap", "error or string", value)
  end
  local outer = rt.state(context, "error")
  if not outer and rawtype(context) ~= "string" then
    rt.typeerror(2, "wrap", "string or error", context)
  end
  local text = outer and objects.full_text(outer) or context
  if not inner then return objects.make(value, "", nil, nil, text) end
  return objects.make(objects.full_text(inner), inner.kind, inner.retryable, inner.details, text)
end

local function call_stack(value)
  local state = rt.state(value, "error")
  if not state or not state.frames or #state.frames == 0 then return nil end
  local frames = {}
  for i = 1, #state.frames do
    local frame = state.frames[i]
    frames[i] = { level = i - 1, source = frame.source, line = frame.line, name = frame.name, type = frame.type }
  end
  return { thread = "task", frames = frames }
end

return rt.readonly("errors", {
  NOT_FOUND = "NotFound", ALREADY_EXISTS = "AlreadyExists", INVALID = "Invalid", PERMISSION_DENIED = "PermissionDenied",
  UNAVAILABLE = "Unavailable", INTERNAL = "Internal", CANCELED = "Canceled", CONFLICT = "Conflict", TIMEOUT = "Timeout",
  RATE_LIMITED = "RateLimited", UNKNOWN = "",
  new = new,
  wrap = wrap,
  is = function(value, kind)
    local state = rt.state(value, "error")
    return state ~= nil and state.kind == kind
  end,
  call_stack = call_stack,
})
