-- messages: what the inbox hands over. Adds to rt: new_message{topic=, from=, n=, values=} -> object.
local rt = ...
local rawtype = rt.raw.type

local function state_of(self, name)
  local state = rt.state(self, "process.Message")
  if not state then rt.typeerror(1, name, "message", self, 1) end
  return state
end

local methods = {
  topic = function(self) return state_of(self, "topic").topic end,
  from = function(self) return state_of(self, "from").from end,
  payload = function(self)
    local state = state_of(self, "payload")
    if state.n == 0 then return nil end
    if state.n == 1 then return rt.new_payload(state.values[1]) end
    local list = {}
    for i = 1, state.n do list[i] = rt.new_payload(state.values[i]) end
    return list
  end,
}

-- A field that is no method is a field of the payload: msg.approved
local function field(self, key)
  local method = methods[key]
  if method then return method end
  local value = rt.state(self, "process.Message").values[1]
  if rawtype(value) == "table" then return value[key] end
  return nil
end

rt.new_message = rt.class("process.Message", field, {
  tostring = function(self) return "process.Message{topic=" .. rt.state(self, "process.Message").topic .. "}" end,
})
return true
