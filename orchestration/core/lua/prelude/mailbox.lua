-- mailbox: messages and events of a run, and who gets them (spec/processes.md §4.1).
-- Adds to rt: mailbox.arrive(topic, args_bytes, from), mailbox.event(table), inbox, events; from mailbox_topics.lua listen,
--   bind, unlisten, unread; for modules attach(topic, label) -> channel, whose topic begins with @; unlisten closes it; feed.
-- Messages stand in the queue of their topic's subscription, or in that of the inbox; events have a queue of their own. A
-- subscription takes its messages out of the inbox's, its end puts them back in order of arrival, so each message is where
-- the rule would look for it and a delivery never walks the whole mailbox.
local rt = ...
local unpack_at, channel, sub = rt.unpack_at, rt.channel, rt.raw.string.sub
local is_workflow <const> = rt.mode == "workflow"

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

local inbox = { queue = new_queue(), form = "message" } -- channel and state are set by the first inbox()
local events = { queue = new_queue(), form = "event" }
local sources = { inbox, events } -- and the subscriptions, by age
local by_topic = {}
local arrived, waiting = 0, 0

local mailbox = {
  inbox_source = inbox, sources = sources, by_topic = by_topic,
  handed = {}, -- since the run was last quiet: messages given to tasks that waited for them
  new_queue = new_queue, put = put, drop_first = drop_first, -- for mailbox_topics.lua
}
rt.mailbox = rt.on_demand(mailbox, "mailbox_topics", "listen bind unlisten attach unread end_subscription note_buffered")
rt.on_demand(rt, "messages", "new_message")

local function store(message)
  rt.check_seal()
  arrived = arrived + 1
  message.number = arrived
  waiting = waiting + 1
  return message
end

-- arrive(topic, args_bytes, from): a message for this run
function mailbox.arrive(topic, args, from)
  if not is_workflow and not by_topic[topic] and sub(topic, 1, 1) == "@" then return end -- its module has ended it
  local message = store({ topic = topic, args = args, from = from })
  put((by_topic[topic] or inbox).queue, message)
end

-- event(fields, input): input is what brings it again, to other code that takes over
function mailbox.event(fields, input) put(events.queue, store({ event = fields, input = input })) end

local function value_of(source, message)
  if source.form == "event" then return message.event end
  local n, values = rt.unpack_list(message.args)
  if source.form == "message" then
    return rt.new_message({ topic = message.topic, from = message.from, n = n, values = values })
  end
  if n == 0 then return nil end
  if n == 1 then return values[1] end
  return values
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
      mailbox.end_subscription(chosen) -- the message that finds its channel closed is lost with the subscription
    else
      -- Code has not seen it yet: it is in the channel's buffer, or a task has been woken for it.
      local woke = channel.offer(chosen.state, value_of(chosen, best))
      if woke == true then
        mailbox.note_buffered(chosen, best)
      else
        local handed = mailbox.handed
        handed[#handed + 1] = { best, woke and woke.task }
      end
    end
  end
end
mailbox.deliver = deliver

-- A process is never replayed: a message may go to its receiver without a turn in between.
function mailbox.let_feed(source)
  if not is_workflow then source.state.source = source end
end

-- feed(source) -> true, value: what deliver() would hand to the running task, were it to wait now. It need not: no other
-- task is ready, and no other source has a message that comes first.
function rt.feed(source)
  local queue = source.queue
  local head = queue[queue.first]
  if not head or waiting > queue.last - queue.first + 1 or rt.has_ready() then return false end
  drop_first(queue)
  waiting = waiting - 1
  return true, value_of(source, head)
end

local function open(source, size, label)
  rt.check_seal()
  if not source.object or source.state.closed then
    if source.object then mailbox.end_subscription(source) end
    source.object = channel.new(size, label)
    source.state = channel.state(source.object)
    mailbox.let_feed(source)
    deliver()
  end
  return source.object
end

function mailbox.inbox() return open(inbox, 0, "inbox:receive") end
function mailbox.events() return open(events, 0, "events:receive") end
function mailbox.size() return waiting end
function mailbox.lose(n) waiting = waiting - n end

rt.on_quiet(function()
  if #mailbox.handed > 0 then mailbox.handed = {} end -- every task has run since
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
  mailbox.arrive(topic, args, from or "")
end)
return true
