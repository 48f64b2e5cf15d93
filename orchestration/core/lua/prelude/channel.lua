-- channel: unbuffered and buffered queues between the tasks of one run, and select over several of them.
-- Returns the module { new, select }; adds to rt: channel.new(size) -> object, channel.state(object), channel.offer,
--   channel.accepts, channel.close, channel.drop: what the engine itself does with channels, outside any task.
-- A channel of the engine is only received from; what the code of the user needs to send is in channel_sends.lua.
-- Waiting senders and receivers stand in linked lists, so a select withdraws from its other channels at once.
-- A channel with a `source` is fed by the mailbox of a process: see rt.feed there.
-- Wake order: whoever is running stands before those it woke, except after close, where it stands behind them.
local rt = ...
local raw = rt.raw
local rawtype, rawget, rawlen = raw.type, raw.rawget, raw.rawlen
local waiter_here, block, wake, ready, yield = rt.waiter, rt.block, rt.wake, rt.ready, raw.coroutine.yield
local TOKEN <const> = rt.block_token
local CLOSED <const> = "send on closed channel"

local function append(list, waiter)
  local tail = list.tail
  waiter.list, waiter.prev, waiter.next = list, tail, nil
  if tail then tail.next = waiter else list.head = waiter end
  list.tail = waiter
end

local function remove(waiter)
  local list = waiter.list
  if not list then return end
  local before, after = waiter.prev, waiter.next
  if before then before.next = after else list.head = after end
  if after then after.prev = before else list.tail = before end
  waiter.list = nil
end

-- Takes a waiter out of its list, and the other cases of its select with it.
local function take(list)
  local waiter = list.head
  if not waiter then return nil end
  local group = waiter.group
  if group then
    for i = 1, #group do remove(group[i]) end
  else
    remove(waiter)
  end
  return waiter
end

local function complete(waiter, value, ok)
  if waiter.group then wake(waiter.task, waiter, value, ok) else wake(waiter.task, value, ok) end
end

local function push(state, value)
  state.last = state.last + 1
  state.buffer[state.last] = value
end

local function pop(state)
  local value = state.buffer[state.first]
  state.buffer[state.first] = nil
  state.first = state.first + 1
  if state.first > state.last then state.first, state.last = 1, 0 end
  return value
end

local function count(state) return state.last - state.first + 1 end

-- Hands a value over if that can be done at once. Returns the receiver that it woke, or true, or nil.
local function offer(state, value, sender)
  if state.receivers.head then
    if sender then ready(sender) end
    local waiter = take(state.receivers)
    complete(waiter, value, true)
    return waiter
  end
  if count(state) < state.size then
    push(state, value)
    return true
  end
  return nil
end

-- Takes a value if there is one. Returns found, value, ok, woke
local function poll(state, receiver)
  if count(state) > 0 then
    local value = pop(state)
    local woke = state.senders.head
    if woke then
      if receiver then ready(receiver) end
      take(state.senders)
      push(state, woke.value)
      complete(woke, woke.value, true)
    end
    return true, value, true, woke
  end
  local woke = state.senders.head
  if woke then
    if receiver then ready(receiver) end
    take(state.senders)
    complete(woke, woke.value, true)
    return true, woke.value, true, woke
  end
  if state.closed then return true, nil, false end
  return false
end

local state_of -- (object, n, fname) -> state, or raises

local methods = rt.on_demand({}, "channel_sends", "send close case_send")

function methods.receive(self)
  local state = state_of(self, "receive")
  local task = waiter_here()
  local found, value, ok, woke = poll(state, task)
  if found then
    if woke then yield(TOKEN) end
    return value, ok
  end
  if state.source then
    found, value = rt.feed(state.source)
    if found then return value, true end
  end
  append(state.receivers, { task = task })
  return block(state.label or "channel:receive")
end

local new_case = rt.class("channel.case", {}, {})

function methods.case_receive(self)
  state_of(self, "case_receive")
  return new_case({ channel = self })
end

local new_channel = rt.class("channel", methods, {})

function state_of(object, fname)
  local state = rt.state(object, "channel")
  if not state then rt.typeerror(1, fname, "channel", object, 1) end
  return state
end

local function new(size)
  return new_channel({ buffer = {}, first = 1, last = 0, size = size or 0, senders = {}, receivers = {} })
end

local function result(case, value, ok)
  if case.sends then value, ok = case.value, true end
  return { channel = case.channel, value = value, ok = ok }
end

-- One pass over the cases in table order. Returns a result when one was ready.
local function try(cases, n, task)
  for i = 1, n do
    local case = cases[i]
    local state = rt.state(case.channel, "channel")
    if case.sends then
      if state.closed then rt.raise(CLOSED) end
      local done = offer(state, case.value, task)
      if done then
        if done ~= true then yield(TOKEN) end
        return result(case)
      end
    else
      local found, value, ok, woke = poll(state, task)
      if found then
        if woke then yield(TOKEN) end
        return result(case, value, ok)
      end
    end
  end
  return nil
end

local function select_cases(list, with_default)
  if rawtype(list) ~= "table" then rt.typeerror(1, "select", "table", list) end
  local task = waiter_here()
  local cases, n = {}, 0
  for i = 1, rawlen(list) do
    local case = rt.state(rawget(list, i), "channel.case")
    if case then
      n = n + 1
      cases[n] = case
    end
  end
  local done = try(cases, n, task)
  if done then return done end
  if with_default or rawget(list, "default") then return { default = true, ok = true } end
  for i = 1, n do
    local case = cases[i]
    local source = not case.sends and rt.state(case.channel, "channel").source
    if source then
      local found, value = rt.feed(source)
      if found then return result(case, value, true) end
    end
  end
  local group = {}
  for i = 1, n do
    local case = cases[i]
    local state = rt.state(case.channel, "channel")
    local waiter = { task = task, group = group, case = case, value = case.value }
    group[i] = waiter
    append(case.sends and state.senders or state.receivers, waiter)
  end
  local chosen, value, ok = block("channel.select")
  if chosen.case.sends and not ok then rt.raise(CLOSED) end
  return result(chosen.case, value, ok)
end

rt.channel = {
  new = function(size, label)
    local object = new(size)
    rt.state(object, "channel").label = label
    return object
  end,
  state = function(object) return rt.state(object, "channel") end,
  -- accepts(state): a receiver waits or the buffer has room
  accepts = function(state) return not state.closed and (state.receivers.head ~= nil or count(state) < state.size) end,
  -- offer(state, value) -> the receiver that has it, true if it is in the buffer, false if nobody took it; never waits
  offer = function(state, value) return not state.closed and offer(state, value) or false end,
  methods = methods, module = { select = select_cases }, new_case = new_case, state_of = state_of,
  append = append, take = take, complete = complete, pop = pop, hand_over = offer, -- for channel_sends.lua
}
rt.on_demand(rt.channel, "channel_sends", "drop close")
return rt.readonly("channel", rt.on_demand(rt.channel.module, "channel_sends", "new"))
