-- payload: a value together with the name of its form, as messages and futures hand it over.
-- Returns the module { format, new }; adds to rt: new_payload(value) -> object. A payload becomes nil when it is sent.
local rt = ...
local rawtype = rt.raw.type

local FORMAT <const> = {
  JSON = "json/plain", YAML = "yaml/plain", STRING = "text/plain", BYTES = "application/octet-stream",
  MSGPACK = "application/msgpack", LUA = "lua/any", GOLANG = "golang/any", ERROR = "golang/error",
}

local new_object
local function state_of(self, name)
  local state = rt.state(self, "payload")
  if not state then rt.typeerror(1, name, "payload", self, 1) end
  return state
end

local function make(value)
  return (new_object({ value = value, format = rt.is_error(value) and FORMAT.ERROR or FORMAT.LUA }))
end

-- A text form is read back by data(); a value in Lua's own form is the value itself.
local function to_text(value, format)
  if format == FORMAT.JSON then return rt.require_prelude("json").encode(value) end
  if format == FORMAT.YAML then return rt.require_prelude("yaml").encode(value) end
  if format == FORMAT.MSGPACK then return rt.pack(value) end
  if rawtype(value) == "string" then return value end
  if rt.is_error(value) then return rt.error_text(value) end
  if rawtype(value) == "number" or rawtype(value) == "boolean" then return rt.tostring(value) end
  return rt.fail("Internal", "cannot transcode a " .. rawtype(value) .. " to " .. format)
end

local function from_text(value, format)
  if format == FORMAT.JSON then return rt.require_prelude("json").decode(value) end
  if format == FORMAT.YAML then return rt.require_prelude("yaml").decode(value) end
  if format == FORMAT.MSGPACK then return (rt.unpack(value)) end
  return value
end

local methods = {}
function methods.get_format(self) return state_of(self, "get_format").format end
function methods.data(self)
  local state = state_of(self, "data")
  return from_text(state.value, state.format)
end
methods.unmarshal = methods.data
function methods.transcode(self, format)
  local state = state_of(self, "transcode")
  if format == state.format then return self end
  local value, problem = from_text(state.value, state.format)
  if problem then return nil, problem end
  if format == FORMAT.LUA or format == FORMAT.GOLANG then return (new_object({ value = value, format = format })) end
  local known = false
  for _, name in rt.raw.next, FORMAT do known = known or name == format end
  if not known or format == FORMAT.ERROR then
    return rt.fail("Internal", "cannot transcode " .. state.format .. " to " .. rt.tostring(format))
  end
  local text, failure = to_text(value, format)
  if text == nil then return nil, failure end
  return (new_object({ value = text, format = format }))
end

new_object = rt.class("payload", methods, {
  tostring = function(self) return "payload{format=" .. rt.state(self, "payload").format .. "}" end,
})
rt.new_payload = make
return rt.readonly("payload", { format = rt.readonly("payload.format", FORMAT), new = make })
