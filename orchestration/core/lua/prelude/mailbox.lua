-- mailbox: messages and events of a run, and who gets them (spec/processes.md §4.1).
-- Adds to rt: mailbox.arrive(topic, args_bytes, from), mailbox.event(table), inbox, events, listen, bind, unlisten, unread.
-- Messages stand in the queue of their topic's subscription, or in `rest`, where the inbox takes them; events have a
-- queue of their own. A subscription takes its messages out of `rest`, its end puts them back in order of arrival, so
-- each message is where the rule would look for it and a delivery never walks the whole mailbox.
local rt = ...
local raw = rt.raw
local unpack_at, channel = rt.unpack_at, rt.channel
local rawtype, sub, remove = raw.type, raw.string.sub, raw.table.remove

local function new_queue() return { first = 1, last = 0 } end
local function put(queue, message)
  queue.last = queue.last + 1
  queue[queue.last] = message
end
local function drop_first(queue)
  queue[queue.first] = nil
  queue.first = queue.first + 1
  if queue.first > queue.last then queue.first, queue.last = 1, 0 end
end

local rest = new_queue()
local inbox = { queue = rest, form = "message" } -- channel and state are set by the first inbox()
local events = { queue = new_queue(), form = "event" }
local sources = { inbox, events } -- and the subscriptions, by age
local by_topic = {}
local arrived, waiting = 0, 0

local function store(message)
  rt.check_seal()
  arrived = arrived + 1
  message.number = arrived
  waiting = waiting + 1
  return message
end

-- arrive(topic, args_bytes, from): a message for this run
local function arrive(topic, args, from)
  local message = store({ topic = topic, args = args, from = from })
  local subscription = by_topic[topic]
  put(subscription and subscription.queue or rest, message)
end

local function event(fields)
  put(events.queue, store({ event = fields }))
end

local new_message -- (topic, from, n, values) -> object

local function value_of(source, message)
  if source.form == "event" then return message.event end
  local n, values = rt.unpack_list(message.args)
  if source.form == "message" then
    return new_message({ topic = message.topic, from = message.from, n = n, values = values })
  end
  if n == 0 then return nil end
  if n == 1 then return values[1] end
  return values
end

local function end_subscription(source)
  source.object, source.state = nil, nil
  if not source.topic then return end
  by_topic[source.topic] = nil
  for i = 1, #sources do
    if sources[i] == source then
      remove(sources, i)
      break
    end
  end
  -- Back to where the inbox finds them, in order of arrival.
  local queue = source.queue
  if queue.first > queue.last then return end
  local merged, a, b = new_queue(), rest.first, queue.first
  while a <= rest.last or b <= queue.last do
    local x, y = rest[a], queue[b]
    if y == nil or (x ~= nil and x.number < y.number) then
      put(merged, x)
      a = a + 1
    else
      put(merged, y)
      b = b + 1
    end
  end
  rest, inbox.queue = merged, merged
end

local handed = {} -- since the run was last quiet: messages given to tasks that waited for them

-- Remembers where a message went that code has not seen yet: the channel's buffer, or a task that has been woken.
local function note(source, message, woke)
  if woke ~= true then
    handed[#handed + 1] = { message, woke and woke.task }
    return
  end
  local buffered = source.buffered or new_queue()
  source.buffered = buffered
  put(buffered, message)
  while buffered.last - buffered.first >= source.state.size do drop_first(buffered) end
end

-- unread() -> list of inputs, by arrival: {5, topic, args, from} and {6, reason, from} that no code has seen
local function unread()
  local found = {}
  local function add(queue, from)
    for i = from, queue.last do found[#found + 1] = queue[i] end
  end
  add(rest, rest.first)
  for i = 1, #sources do
    local source = sources[i]
    if source.queue ~= rest then add(source.queue, source.queue.first) end
    local state, buffered = source.state, source.buffered
    if state and buffered then
      local from = buffered.last - (state.last - state.first)
      add(buffered, from < buffered.first and buffered.first or from)
    end
  end
  for i = 1, #handed do
    if handed[i][2] and rt.is_queued(handed[i][2]) then found[#found + 1] = handed[i][1] end
  end
  raw.table.sort(found, function(a, b) return a.number < b.number end)
  local inputs = {}
  for i = 1, #found do
    local message = found[i]
    if message.topic then
      inputs[#inputs + 1] = { 5, message.topic, message.args, message.from }
    elseif message.event.kind == "pid.cancel" then
      inputs[#inputs + 1] = { 6, message.event.reason, message.event.from }
    end
  end
  return inputs
end

-- deliver(): hand over what can be taken, in order of arrival
local function deliver()
  while waiting > 0 do
    local best, chosen
    for i = 1, #sources do
      local source = sources[i]
      local head = source.queue[source.queue.first]
      if head and source.state and (not best or head.number < best.number)
        and (source.state.closed or channel.accepts(source.state)) then
        best, chosen = head, source
      end
    end
    if not best then return end
    drop_first(chosen.queue)
    waiting = waiting - 1
    if chosen.state.closed then
      end_subscription(chosen) -- the message that finds its channel closed is lost with the subscription
    else
      note(chosen, best, channel.offer(chosen.state, value_of(chosen, best)))
    end
  end
end

local function open(source, size, label)
  rt.check_seal()
  if not source.object or source.state.closed then
    if source.object then end_subscription(source) end
    source.object = channel.new(size, label)
    source.state = channel.state(source.object)
    deliver()
  end
  return source.object
end

-- subscribe(topic, object, form) -> source: takes the topic's messages out of the rest
local function subscribe(topic, object, form)
  local source = { topic = topic, object = object, state = channel.state(object), form = form, queue = new_queue() }
  if rest.first <= rest.last then
    local kept = new_queue()
    for i = rest.first, rest.last do
      put(rest[i].topic == topic and source.queue or kept, rest[i])
    end
    rest, inbox.queue = kept, kept
  end
  by_topic[topic] = source
  sources[#sources + 1] = source
  deliver()
  return source
end

local function check_topic(topic)
  rt.check_seal()
  if topic == "" then return rt.fail("Invalid", "topic cannot be empty") end
  if sub(topic, 1, 1) == "@" then return rt.fail("Invalid", "cannot listen to @ topics") end
  return true
end

local function listen(topic, as_message)
  local ok, problem = check_topic(topic)
  if not ok then return nil, problem end
  local source = by_topic[topic]
  if source and source.state.closed then
    end_subscription(source)
    source = nil
  end
  if not source then
    source = subscribe(topic, channel.new(1, "listen:receive " .. topic), as_message and "message" or "raw")
  elseif as_message then
    source.form = "message"
  end
  return source.object
end

-- bind(topic, object): the same with a channel of the caller's own
local function bind(topic, object)
  local ok, problem = check_topic(topic)
  if not ok then return nil, problem end
  local source = by_topic[topic]
  if source and source.object == object then return true end
  if source and not source.state.closed then
    return rt.fail("AlreadyExists", "topic '" .. topic .. "' has another channel")
  end
  if source then end_subscription(source) end
  subscribe(topic, object, "raw")
  return true
end

local function unlisten(object, keep_open)
  rt.check_seal()
  for i = 1, #sources do
    local source = sources[i]
    if source.object == object and object ~= nil then
      local state = source.state
      end_subscription(source)
      if not keep_open then channel.close(state, rt.waiter()) end
      return true
    end
  end
  local _, problem = rt.fail("NotFound", "channel not found")
  return false, problem
end

rt.on_quiet(function()
  if #handed > 0 then handed = {} end -- every task has run since
  deliver()
end)
rt.has_waits(function()
  for i = 1, #sources do
    local source = sources[i]
    if source.state and not source.state.closed then return true end
  end
  return false
end)

-- SIGNAL: topic, args, from
rt.on_input(5, function(bytes, pos)
  local topic, args, from
  topic, pos = unpack_at(bytes, pos)
  args, pos = unpack_at(bytes, pos)
  from = unpack_at(bytes, pos)
  arrive(topic, args, from or "")
end)
-- CANCEL_REQUESTED: reason, from
rt.on_input(6, function(bytes, pos)
  local reason, from
  reason, pos = unpack_at(bytes, pos)
  from = unpack_at(bytes, pos)
  event({ kind = "pid.cancel", from = from or "", at = rt.now_ms() // 1000, reason = reason or "" })
end)
-- CHILD_ENDED: number, pid, ok, value
rt.on_input(9, function(bytes, pos)
  local number, pid, ok, value
  number, pos = unpack_at(bytes, pos)
  pid, pos = unpack_at(bytes, pos)
  ok, pos = unpack_at(bytes, pos)
  value = unpack_at(bytes, pos)
  rt.answer(number, ok, value, pid)
end)

-- Message objects -------------------------------------------------------------------------------------------------

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

new_message = rt.class("process.Message", field, {
  tostring = function(self) return "process.Message{topic=" .. rt.state(self, "process.Message").topic .. "}" end,
})

rt.mailbox = {
  arrive = arrive,
  event = event,
  inbox = function() return open(inbox, 0, "inbox:receive") end,
  events = function() return open(events, 0, "events:receive") end,
  listen = listen,
  bind = bind,
  unlisten = unlisten,
  unread = unread,
  size = function() return waiting end,
}
return true
