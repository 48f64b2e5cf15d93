-- mailbox_topics: channels of their own for topics, and what is unread. Adds to rt.mailbox: listen, bind, unlisten, attach,
--   unread, end_subscription, note_buffered.
local rt = ...
local raw = rt.raw
local sub, remove, channel, mailbox = raw.string.sub, raw.table.remove, rt.channel, rt.mailbox
local inbox, sources, by_topic = mailbox.inbox_source, mailbox.sources, mailbox.by_topic
local new_queue, put, drop_first = mailbox.new_queue, mailbox.put, mailbox.drop_first

function mailbox.end_subscription(source)
  if source.state then source.state.source = nil end -- who still receives from the channel is not fed any more
  source.object, source.state = nil, nil
  if not source.topic then return end
  by_topic[source.topic] = nil
  for i = 1, #sources do
    if sources[i] == source then
      remove(sources, i)
      break
    end
  end
  local queue = source.queue
  if queue.first > queue.last then return end
  if source.of_module then return mailbox.lose(queue.last - queue.first + 1) end -- nobody else can read them
  -- Back to where the inbox finds them, in order of arrival.
  local rest = inbox.queue
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
  inbox.queue = merged
end

-- Remembers a message that is in the channel's buffer, where code has not seen it yet.
function mailbox.note_buffered(source, message)
  local buffered = source.buffered or new_queue()
  source.buffered = buffered
  put(buffered, message)
  while buffered.last - buffered.first >= source.state.size do drop_first(buffered) end
end

-- unread() -> list of inputs, by arrival: {5, topic, args, from}, {6, reason, from} and, in a process, {14, ...} that no
-- code has seen
function mailbox.unread()
  local found, handed, rest = {}, mailbox.handed, inbox.queue
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
    elseif message.input then
      inputs[#inputs + 1] = message.input
    end
  end
  return inputs
end

-- subscribe(topic, object, form) -> source: takes the topic's messages out of the inbox's
local function subscribe(topic, object, form)
  local source = { topic = topic, object = object, state = channel.state(object), form = form, queue = new_queue() }
  local rest = inbox.queue
  if rest.first <= rest.last then
    local kept = new_queue()
    for i = rest.first, rest.last do
      put(rest[i].topic == topic and source.queue or kept, rest[i])
    end
    inbox.queue = kept
  end
  by_topic[topic] = source
  sources[#sources + 1] = source
  mailbox.deliver()
  return source
end

local function check_topic(topic)
  rt.check_seal()
  if topic == "" then return rt.fail("Invalid", "topic cannot be empty") end
  if sub(topic, 1, 1) == "@" then return rt.fail("Invalid", "cannot listen to @ topics") end
  return true
end

function mailbox.listen(topic, as_message)
  local ok, problem = check_topic(topic)
  if not ok then return nil, problem end
  local source = by_topic[topic]
  if source and source.state.closed then
    mailbox.end_subscription(source)
    source = nil
  end
  if not source then
    source = subscribe(topic, channel.new(1, "listen:receive " .. topic), as_message and "message" or "raw")
    mailbox.let_feed(source)
  elseif as_message then
    source.form = "message"
  end
  return source.object
end

-- bind(topic, object): the same with a channel of the caller's own
function mailbox.bind(topic, object)
  local ok, problem = check_topic(topic)
  if not ok then return nil, problem end
  local source = by_topic[topic]
  if source and source.object == object then return true end
  if source and not source.state.closed then
    return rt.fail("AlreadyExists", "topic '" .. topic .. "' has another channel")
  end
  if source then mailbox.end_subscription(source) end
  subscribe(topic, object, "raw")
  return true
end

local MODULE_BUFFER <const> = 256
function mailbox.attach(topic, label)
  rt.check_seal()
  local object = channel.new(MODULE_BUFFER, label)
  subscribe(topic, object, "raw").of_module = true
  return object
end

function mailbox.unlisten(object, keep_open)
  rt.check_seal()
  for i = 1, #sources do
    local source = sources[i]
    if source.object == object and object ~= nil then
      local state = source.state
      mailbox.end_subscription(source)
      if not keep_open then channel.close(state, rt.waiter()) end
      return true
    end
  end
  local _, problem = rt.fail("NotFound", "channel not found")
  return false, problem
end
return true
