-- funcs: calls of functions; in a workflow each call is an activity, recorded once.
-- Returns the module { call, async, new }.
local rt = ...
local raw = rt.raw
local rawtype, find, sub, select, pcall, next = raw.type, raw.string.find, raw.string.sub, raw.select, raw.pcall, raw.next
local command, on_result, block, waiter, wake = rt.command, rt.on_result, rt.block, rt.waiter, rt.wake
local pack_list, pack_bin, pack_str, unpack_at = rt.pack_list, rt.pack_bin, rt.pack_str, rt.unpack_at
local is_workflow <const> = rt.mode == "workflow"
local WAIT_FOR_CANCELLATION <const> = 1 -- flag
local TRUE <const> = "\xc3" -- encoded

local known = {} -- targets that have passed the checks, with their encoding

local function check(target, fname)
  if rawtype(target) ~= "string" then rt.typeerror(1, fname, "string", target, 1) end
  if target == "" then return rt.fail("Invalid", "function ID required") end
  local colon = find(target, ":", 1, true)
  if not colon or colon == 1 then return rt.fail("Invalid", "namespace required in function ID") end
  if colon == #target then return rt.fail("Invalid", "name required in function ID") end
  local bytes = pack_str(target)
  known[target] = bytes
  return bytes
end

local plain_options -- encoded options of a call without an executor

local function options_of(executor, target)
  if not executor then
    if not plain_options then
      plain_options = next(rt.context) == nil and "\x80" or rt.pack({ ctx = rt.context })
    end
    return plain_options
  end
  if executor.bytes then return executor.bytes end
  local map = rt.as_map({})
  if is_workflow then
    local problem
    map, problem = rt.require_prelude("options").activity(executor.options)
    if not map then return rt.fail("Invalid", "invalid temporal activity options for " .. target .. ": " .. problem) end
    executor.waits = map.wait_for_cancellation
  elseif next(executor.options) ~= nil then
    map.options = executor.options
  end
  local context = executor.context or rt.context
  if next(context) ~= nil then map.ctx = context end
  map.actor, map.scope, map.asks = executor.actor, executor.scope, executor.asks
  local ok, bytes = pcall(rt.map_bytes, map)
  if not ok then
    rt.rethrow(bytes)
    return rt.fail("Invalid", "invalid options for " .. target .. ": " .. rt.tostring(bytes))
  end
  executor.bytes = bytes
  return bytes
end

-- schedule(executor, target, fname, n, ...) -> seq | nil, error
local function schedule(executor, fname, target, ...)
  local name, problem = known[target], nil
  if not name then
    name, problem = check(target, fname)
    if not name then return nil, problem end
  end
  if not is_workflow and fname == "async" then -- what is not permitted is told here, not in the future
    rt.require_prelude("guard")
    problem = rt.refusal("funcs.call", target, "not allowed: " .. target)
    if problem then return nil, problem end
  end
  local options, crowded = nil, rt.crowded()
  if crowded then return nil, crowded end
  options, problem = options_of(executor, target)
  if not options then return nil, problem end
  local ok, args = pcall(pack_list, select("#", ...), ...)
  if not ok then
    rt.rethrow(args)
    if rt.is_error(args) then return nil, args end
    raw.error(args, 0)
  end
  if #args > rt.payload_limit then
    return rt.fail("Invalid", "the arguments of " .. target .. " take " .. #args .. " bytes, the limit is " .. rt.payload_limit)
  end
  return command(64, 3, name .. pack_bin(args) .. options)
end

local function failure(seq, bytes, info)
  if not is_workflow then return rt.error_from(bytes) end
  return rt.error_from(bytes, {
    _wrapper = "activity",
    _activity_id = info and info.activity_id or rt.tostring(seq),
    _retry_state = info and info.retry_state,
  })
end

local function asks_to_stop(seq, task) -- and goes on waiting: the activity answers
  task.take_back = nil
  rt.notice(67, seq, TRUE)
end

local function waits_for_cancellation(executor)
  return executor and executor.waits and rt.has_flag(WAIT_FOR_CANCELLATION) or false
end

local function give_up(seq, task)
  rt.forget(seq)
  if is_workflow then rt.notice(67, seq) end
  local _, problem = rt.fail("Canceled", "operation canceled")
  wake(task, false, rt.failure_bytes(problem))
end

local function call(executor, target, ...)
  local task = waiter()
  local seq, problem = schedule(executor, "call", target, ...)
  if not seq then return nil, problem end
  on_result(seq, task)
  task.take_back = waits_for_cancellation(executor) and asks_to_stop or give_up
  local ok, bytes, info = block("funcs.call", target)
  if ok then return (unpack_at(bytes, 1)), nil end
  return nil, failure(seq, bytes, info)
end

-- Futures ---------------------------------------------------------------------------------------------------------

local methods = {}
local function future_of(self, name)
  local state = rt.state(self, "funcs.Future")
  if not state then rt.typeerror(1, name, "future", self, 1) end
  return state
end
local new_future = rt.class("funcs.Future", methods, {})

function methods.response(self) return future_of(self, "response").channel end
methods.channel = methods.response
function methods.is_complete(self)
  local state = future_of(self, "is_complete")
  return state.done or (state.canceled and not state.waits) or false
end
function methods.is_canceled(self) return future_of(self, "is_canceled").canceled or false end
function methods.result(self)
  local state = future_of(self, "result")
  if state.canceled and not state.waits then return rt.fail("Canceled", "canceled") end
  if not state.done then return nil, nil end
  if state.problem then return nil, state.problem end
  return state.payload, nil
end
function methods.error(self)
  local state = future_of(self, "error")
  if state.done and state.problem and (state.waits or not state.canceled) then return state.problem, true end
  return nil, false
end
function methods.cancel(self)
  local state = future_of(self, "cancel")
  if state.canceled then return true, nil end
  local task = waiter()
  state.canceled = true
  if state.waits then -- the activity answers, and that completes the future
    if not state.done then rt.notice(67, state.seq, TRUE) end
    return true, nil
  end
  if rt.forget(state.seq) and is_workflow then rt.notice(67, state.seq) end
  rt.channel.close(rt.channel.state(state.channel), task)
  return true, nil
end

local function async(executor, target, ...)
  local seq, problem = schedule(executor, "async", target, ...)
  if not seq then return nil, problem end
  local channel = rt.channel.new(1, "future:receive " .. target)
  local state = { seq = seq, channel = channel, waits = waits_for_cancellation(executor) }
  on_result(seq, function(ok, bytes, info)
    state.done = true
    if ok then
      state.payload = rt.new_payload((unpack_at(bytes, 1)))
    else
      state.problem = failure(seq, bytes, info)
    end
    local inner = rt.channel.state(channel)
    rt.channel.offer(inner, ok and state.payload or state.problem)
    rt.channel.close(inner)
  end)
  rt.on_cancel(seq, function()
    if state.waits then
      if not state.canceled then rt.notice(67, seq, TRUE) end
      state.canceled = true
      return
    end
    state.canceled = true
    rt.forget(seq)
    if is_workflow then rt.notice(67, seq) end
    rt.channel.close(rt.channel.state(channel))
  end)
  return new_future(state), nil
end

-- Executors: each method makes a new one -----------------------------------------------------------------------------

local executor = {}
local new_executor = rt.class("funcs.Executor", executor, {})
local function executor_of(self, name)
  local state = rt.state(self, "funcs.Executor")
  if not state then rt.typeerror(1, name, "executor", self, 1) end
  return state
end
local function table_argument(value, fname)
  if rawtype(value) ~= "table" or rt.class_of(value) then rt.typeerror(1, fname, "table", value, 1) end
end


-- asking(state, field, value, action) -> a new executor with one field changed; what that takes to be permitted is asked at
-- once or, in a workflow, by the call
local function asking(state, field, value, action)
  local new = {}
  for key, old in next, state do new[key] = old end
  new[field], new.bytes, new.waits = value, nil, nil
  if action and rt.require_prelude("guard") and rt.is_guarded() then
    local problem = rt.refusal(action, (raw.string.gsub(action, "^.*%.", "")))
    if problem then return nil, problem end
    new.asks = state.asks and raw.table.move(state.asks, 1, #state.asks, 1, {}) or {}
    new.asks[#new.asks + 1] = action
  end
  return (new_executor(new))
end

function executor.with_context(self, values)
  local state = executor_of(self, "with_context")
  table_argument(values, "with_context")
  local context = {}
  for key, value in next, state.context or rt.context do context[key] = value end
  context = rt.require_prelude("options").values(values, context)
  return asking(state, "context", context, "funcs.context")
end
function executor.with_options(self, options)
  local state = executor_of(self, "with_options")
  table_argument(options, "with_options")
  local kept = {}
  for key, value in next, options do
    if rawtype(key) == "string" then kept[key] = value end
  end
  return asking(state, "options", kept)
end
function executor.with_actor(self, actor)
  local state = executor_of(self, "with_actor")
  rt.require_prelude("guard")
  return asking(state, "actor", rt.actor_of(actor, "with_actor"), "funcs.security")
end
function executor.with_scope(self, scope)
  local state = executor_of(self, "with_scope")
  rt.require_prelude("guard")
  return asking(state, "scope", rt.scope_of(scope, "with_scope"), "funcs.security")
end
function executor.call(self, target, ...) return call(executor_of(self, "call"), target, ...) end
function executor.async(self, target, ...) return async(executor_of(self, "async"), target, ...) end

return rt.readonly("funcs", {
  call = function(target, ...) return call(nil, target, ...) end,
  async = function(target, ...) return async(nil, target, ...) end,
  new = function() return (new_executor({ options = {} })) end,
})
