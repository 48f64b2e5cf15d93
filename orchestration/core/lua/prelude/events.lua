-- events: what happens anywhere in the deployment, told to whoever listens at that moment. For functions and processes.
--   subscribe(system_pattern, kind?) -> Subscription: channel(), close(); send(system, kind, path, data?) -> true
-- Received: {system, kind, path, data?}, in the order in which one sender sent them.
local rt = ...
local raw = rt.raw
local rawtype = raw.type
local CLASS <const> = "events.Subscription"
rt.require_prelude("operation")

local count = 0
local methods = {}
local new = rt.class(CLASS, methods, { tostring = function() return CLASS .. "{}" end })

local function state_of(self, fname)
  local state = rt.state(self, CLASS)
  if not state then rt.typeerror(1, fname, "events.Subscription, called with a colon,", self, 1) end
  return state
end

function methods.channel(self) return state_of(self, "channel").channel end

function methods.close(self)
  local state = state_of(self, "close")
  if state.closed then return true end
  state.closed = true
  rt.mailbox.unlisten(state.channel)
  return rt.perform("events.unsubscribe", state.topic)
end

local function part(value, n, fname, what)
  if rawtype(value) ~= "string" then rt.typeerror(n, fname, "string", value, 1) end
  if value == "" then return rt.fail("Invalid", what .. " cannot be empty") end
  return true
end

local function subscribe(pattern, kind)
  local ok, problem = part(pattern, 1, "subscribe", "system")
  if not ok then return nil, problem end
  if kind ~= nil and rawtype(kind) ~= "string" then rt.typeerror(2, "subscribe", "string", kind) end
  if kind == "" then kind = nil end
  count = count + 1
  local topic = "@events/" .. count
  local channel = rt.mailbox.attach(topic, "events:receive " .. pattern) -- first: nothing that is told from now on is lost
  ok, problem = rt.perform("events.subscribe", topic, pattern, kind)
  if not ok then
    rt.mailbox.unlisten(channel)
    return nil, problem
  end
  return new({ channel = channel, topic = topic })
end

local function send(system, kind, path, data)
  for n, value in raw.ipairs { system or false, kind or false, path or false } do
    if value == false then value = nil end
    local ok, problem = part(value, n, "send", n == 1 and "system" or n == 2 and "kind" or "path")
    if not ok then return nil, problem end
  end
  return rt.perform("events.send", system, kind, path, data)
end

return rt.readonly("events", { subscribe = subscribe, send = send })
