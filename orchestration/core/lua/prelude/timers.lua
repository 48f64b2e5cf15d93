-- timers: after, timer and ticker of the module time: durable timers of the run that send to a channel.
local rt = ...
local raw = rt.raw
local channel, time = rt.channel, rt.time
local duration = rt.require_prelude("duration")
local to_ns, to_ms = duration.to_ns, duration.to_ms
local TIMER <const>, TICKER <const> = "time.Timer", "time.Ticker"

-- positive(value, fname) -> nanoseconds | nil, error object
local function positive(value, fname)
  local ns, problem = to_ns(value)
  if not ns then return rt.fail("Invalid", "time." .. fname .. ": " .. problem) end
  if ns <= 0 then return rt.fail("Invalid", "time." .. fname .. ": duration must be > 0") end
  local crowded = rt.crowded()
  if crowded then return nil, crowded end
  return ns
end

function time.after(value)
  local ns, problem = positive(value, "after")
  if not ns then return nil, problem end
  local ch = channel.new(1, "time.after")
  local state = channel.state(ch)
  local number = rt.start_timer(to_ms(ns), function()
    channel.offer(state, time.now())
    channel.close(state)
  end)
  rt.on_cancel(number, function()
    rt.cancel_timer(number)
    channel.close(state)
  end)
  return ch
end

local timer_methods = {}
local new_timer = rt.class(TIMER, timer_methods)

local function timer_of(self, fname)
  local state = rt.state(self, TIMER)
  if not state then rt.typeerror(1, fname, "Timer", self, 1) end
  return state
end

local function arm(state, ns)
  state.id = rt.start_timer(to_ms(ns), function()
    state.id = nil
    channel.offer(channel.state(state.channel), time.now())
  end)
  rt.on_cancel(state.id, function(number)
    state.id, state.canceled = nil, true
    rt.cancel_timer(number)
    channel.close(channel.state(state.channel))
  end)
end

local function disarm(state)
  local id = state.id
  state.id = nil
  return id ~= nil and rt.cancel_timer(id)
end

function time.timer(value)
  local ns, problem = positive(value, "timer")
  if not ns then return nil, problem end
  local state = { channel = channel.new(1, "time.timer") }
  arm(state, ns)
  return (new_timer(state))
end

function timer_methods.channel(self) return timer_of(self, "channel").channel end
timer_methods.response = timer_methods.channel
function timer_methods.stop(self) return disarm(timer_of(self, "stop")) end

-- reset(d) -> true if it had not fired. A time that it delivered and nobody took is withdrawn.
function timer_methods.reset(self, value)
  local state = timer_of(self, "reset")
  local ns, problem = to_ns(value)
  if not ns then rt.argerror(1, "reset", problem) end
  if ns <= 0 then raw.error("timer:reset: duration must be > 0", 2) end
  if state.canceled then raw.error("timer:reset: the timer was canceled", 2) end
  local was_running = disarm(state)
  channel.drop(channel.state(state.channel))
  arm(state, ns)
  return was_running
end

local ticker_methods = {}
local new_ticker = rt.class(TICKER, ticker_methods)

local function ticker_of(self, fname)
  local state = rt.state(self, TICKER)
  if not state then rt.typeerror(1, fname, "Ticker", self, 1) end
  return state
end

-- Each tick starts the timer of the next, counted from when this one was due: late timers do not add up.
local function tick(state)
  local at = rt.now_ns() // 1000000
  state.due = state.due + state.period
  if state.due <= at then state.due = state.due + (at - state.due) // state.period * state.period + state.period end
  state.id = rt.start_timer(state.due - at, function()
    local target = channel.state(state.channel)
    if channel.accepts(target) then channel.offer(target, time.now()) end
    tick(state)
  end)
  rt.on_cancel(state.id, function(number)
    state.id = nil
    rt.cancel_timer(number)
    channel.close(channel.state(state.channel))
  end)
end

function time.ticker(value)
  local ns, problem = positive(value, "ticker")
  if not ns then return nil, problem end
  local state = { channel = channel.new(1, "time.ticker"), period = to_ms(ns), due = rt.now_ns() // 1000000 }
  tick(state)
  return (new_ticker(state))
end

function ticker_methods.channel(self) return ticker_of(self, "channel").channel end
ticker_methods.response = ticker_methods.channel
function ticker_methods.stop(self) return disarm(ticker_of(self, "stop")) end
return true
