-- queue: messages to queues, and the message that a queue consumer's function handles. For functions and processes.
--   publish(queue_id, data, headers?) -> true; info(queue_id) -> {message_count?, consumer_count?, ready?}
--   message() -> Message: id(), header(name), headers(), ack(), nack()
local rt = ...
local raw = rt.raw
local rawtype, next = raw.type, raw.next
local CLASS <const> = "queue.Message"
rt.require_prelude("operation")

local methods = {}
local new = rt.class(CLASS, methods, {
  tostring = function(self) return "queue.Message{id=" .. rt.state(self, CLASS).id .. "}" end,
})

local function state_of(self, fname)
  local state = rt.state(self, CLASS)
  if not state then rt.typeerror(1, fname, "queue.Message, called with a colon,", self, 1) end
  return state
end

function methods.id(self) return state_of(self, "id").id end

function methods.header(self, name)
  local headers = state_of(self, "header").headers
  if rawtype(name) ~= "string" then rt.typeerror(1, "header", "string", name) end
  return headers[name]
end

function methods.headers(self)
  local copy = {}
  for name, value in next, state_of(self, "headers").headers do copy[name] = value end
  return copy
end

for _, how in raw.ipairs { "ack", "nack" } do
  methods[how] = function(self)
    state_of(self, how)
    return rt.perform("queue.settle", how)
  end
end

local function check(id, fname)
  if rawtype(id) ~= "string" then rt.typeerror(1, fname, "string", id, 1) end
  if id == "" then return rt.fail("Invalid", "queue ID required") end
  return true
end

local function publish(id, data, headers)
  local ok, problem = check(id, "publish")
  if not ok then return nil, problem end
  if data == nil then return rt.fail("Invalid", "message data required") end
  if headers ~= nil and (rawtype(headers) ~= "table" or rt.class_of(headers)) then
    rt.typeerror(3, "publish", "table", headers)
  end
  for name in next, headers or {} do
    if rawtype(name) ~= "string" then return rt.fail("Invalid", "the keys of headers are strings") end
  end
  return rt.perform("queue.publish", id, data, headers)
end

local function info(id)
  local ok, problem = check(id, "info")
  if not ok then return nil, problem end
  return rt.perform("queue.info", id)
end

local function message()
  local found, problem = rt.perform_now("queue.message")
  if not found then return nil, problem end
  return new(found)
end

return rt.readonly("queue", { publish = publish, info = info, message = message })
