-- channel_sends: new channels, sending and closing. Adds to the module channel: new; to a channel: send, close, case_send;
--   to rt.channel: drop, close.
local rt = ...
local raw = rt.raw
local rawtype, yield = raw.type, raw.coroutine.yield
local waiter_here, block, ready = rt.waiter, rt.block, rt.ready
local channel = rt.channel
local methods, state_of, take, complete = channel.methods, channel.state_of, channel.take, channel.complete
local append, hand_over = channel.append, channel.hand_over
local TOKEN <const> = rt.block_token
local CLOSED <const> = "send on closed channel"

local function close(state, closer)
  if state.closed then return end
  state.closed = true
  local woke = false
  while state.senders.head do
    woke = true
    complete(take(state.senders), nil, false)
  end
  while state.receivers.head do
    woke = true
    complete(take(state.receivers), nil, false)
  end
  if woke and closer then
    ready(closer)
    yield(TOKEN)
  end
end

function methods.send(self, value)
  local state = state_of(self, "send")
  local task = waiter_here()
  if state.closed then rt.raise(CLOSED) end
  local done = hand_over(state, value, task)
  if done == nil then
    append(state.senders, { task = task, value = value })
    local _, ok = block("channel:send")
    if not ok then return rt.fail("Internal", CLOSED) end
  elseif done ~= true then
    yield(TOKEN)
  end
  return true
end

function methods.close(self)
  local state = state_of(self, "close")
  close(state, waiter_here())
end

function methods.case_send(self, value)
  state_of(self, "case_send")
  return channel.new_case({ channel = self, value = value, sends = true })
end

function channel.module.new(size)
  if size == nil then size = 0 end
  local whole = rawtype(size) == "number" and raw.math.tointeger(size)
  if not whole then rt.typeerror(1, "new", "integer", size) end
  return (channel.new(whole < 0 and 0 or whole))
end

-- drop(state): what is buffered and not taken yet is gone
function channel.drop(state)
  while state.last >= state.first do channel.pop(state) end
end

-- close(state, closer): also from outside any task
channel.close = close
return true
