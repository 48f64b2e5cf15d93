-- scheduler: the tasks of one run, its inputs and its commands. Everything here is a function of the inputs so far.
-- Adds to rt: apply(event, replaying) -> closed count, commands...; more_commands(from) -> commands...
--   current, block, wake, waiter, ready, launch, is_queued (tasks); command, notice, note, on_result, forget (commands);
--   on_cancel (what cancels a command); finish (ends the run); misfit (parks it); now_ns, now_ms; next_number, usage;
--   on_input, on_quiet, has_waits; set_seal, check_seal (seal.lua)
-- What few runs need, or none while it waits, is in started, inputs, outcome, timer_commands, random and scheduler_rare.
-- A task is a coroutine that the scheduler owns. It gives up control only by yielding rt.block_token, also from inside
-- coroutines that user code made itself (resume and wrap pass the token on).
local rt = ...
local raw = rt.raw
local coroutine = raw.coroutine
local co_status, yield, running, isyieldable = coroutine.status, coroutine.yield, coroutine.running, coroutine.isyieldable
local co_resume = coroutine.resume
local byte, char, unpack, rawtype = raw.string.byte, raw.string.char, raw.table.unpack, raw.type
local error = raw.error
local unpack_at = rt.unpack_at
local TOKEN <const> = rt.block_token

local BATCH <const> = 200 -- most values handed to Python at once; the C stack ends at some thousands

local queue, first, last = {}, 1, 0 -- tasks ready to run, in order
local tasks, task_count, next_task = {}, 0, 1 -- living tasks by number
local current = nil
local closed, fatal = false, nil
local pending, pending_count = {}, 0 -- number of a command -> who gets its answer
local cancels = {} -- number of a command whose receiver is a function -> how to take it back
local seq = 0
local out, out_n = {}, 0
local now_ms = 0
local input_handlers = {}
local quiet_hooks, wait_hooks = {}, {}

local history_length, history_size = 0, 0
local on_command = nil
local seal = nil -- raises; set while a function runs that may have no effect on the run
local reset_budget = rt.reset_budget
local settle = rt.settle -- until the run waits for the first time

-- Tasks ---------------------------------------------------------------------------------------------------------

local function ready(task)
  last = last + 1
  queue[last] = task
end

-- wake(task, a, b, c): let a blocked task run again; block() returns the values there
local function wake(task, a, b, c)
  task.a, task.b, task.c = a, b, c
  last = last + 1
  queue[last] = task
end

-- waiter() -> task: the calling task; raises where it cannot wait. Called before anything is registered.
local function waiter()
  if seal then seal() end
  if not current then rt.raise("cannot wait here: no task is running") end
  if rt.unblockable or not isyieldable() then
    rt.raise("cannot wait here: inside " .. (rt.unblockable or "a function of the C library"))
  end
  return current
end

-- block(what, detail) -> a, b, c: suspend the calling task until wake(). what and detail say what it waits for.
local function block(what, detail)
  local task = current
  task.what, task.detail, task.since, task.inner = what, detail, now_ms, running()
  yield(TOKEN)
  task.what, task.inner, task.take_back = nil, nil, nil
  return task.a, task.b, task.c
end

-- is_queued(task): it has been woken and has not run since
local function is_queued(task)
  for i = first, last do
    if queue[i] == task then return true end
  end
  return false
end

local function new_task(fn)
  local task = { id = next_task, co = rt.new_task(fn) }
  next_task = next_task + 1
  tasks[task.id] = task
  task_count = task_count + 1
  return task
end

-- Commands ------------------------------------------------------------------------------------------------------

local function emit(bytes)
  out_n = out_n + 1
  out[out_n] = bytes
  history_length, history_size = history_length + 1, history_size + #bytes
  if on_command then on_command() end
end

-- command(code, fields, tail) -> seq: ask for something; tail is the encoding of the fields after the number
local function command(code, fields, tail)
  if seal then seal() end
  if closed then error("the run has ended", 0) end
  seq = seq + 1
  emit(char(0x92 + fields, code) .. rt.pack_int(seq) .. tail)
  return seq
end

-- notice(code, about, tail): a command that has no number of its own, about one that has; tail is one more element
local function notice(code, about, tail)
  emit(char(tail and 0x93 or 0x92, code) .. rt.pack_int(about) .. (tail or ""))
end

-- note(code, fields, tail): a command that nothing answers, so it has no number
local function note(code, fields, tail)
  emit(char(0x91 + fields, code) .. tail)
end

-- on_result(seq, receiver): a task (woken with ok, bytes, info) or a function (called with them) gets the answer
local function on_result(number, receiver)
  if pending[number] == nil then pending_count = pending_count + 1 end
  pending[number] = receiver
end

local function forget(number)
  if pending[number] == nil then return nil end
  local receiver = pending[number]
  pending[number] = nil
  cancels[number] = nil
  pending_count = pending_count - 1
  return receiver
end

local function answer(number, ok, bytes, info)
  if number > seq then
    fatal = fatal or "the history answers command " .. number .. ", which the code has not given"
    return
  end
  local receiver = forget(number)
  if receiver == nil then return end -- closed before: a late answer changes nothing
  if rawtype(receiver) == "function" then return receiver(ok, bytes, info) end
  wake(receiver, ok, bytes, info)
end

-- on_cancel(seq, take_back): what cancel_pending does about a command whose receiver is a function
local function on_cancel(number, take_back) cancels[number] = take_back end

-- finish(code, tail, fields): the last command of the run; what is left of its tasks is dropped. Without a code: ended from
-- outside, the run has no say.
local function finish(code, tail, fields)
  if code then emit(char(0x91 + (fields or 1), code) .. tail) end
  closed = true
end

-- misfit(text): the input at hand does not belong to this code; for those who handle inputs, outside any task
function rt.misfit(text) fatal = fatal or text end

-- Time, timers, random ------------------------------------------------------------------------------------------

if rt.mode == "function" then
  rt.now_ns = function()
    local _, bytes = rt.host_bytes("machine.now_ms", "\x90") -- no arguments
    return rt.unpack(bytes) * 1000000
  end
else
  rt.now_ns = function() return now_ms * 1000000 end
end
rt.now_ms = function() return now_ms end
rt.set_on_command = function(hook) on_command = hook end

-- run(): resume ready tasks until none is left, then give the mailbox its turn, and so on until all is quiet
local function run()
  while not closed and not fatal do
    while first <= last do
      local task = queue[first]
      queue[first] = nil
      first = first + 1
      current = task
      local ok, value = co_resume(task.co)
      current = nil
      if not ok then
        value = rt.rethrow(value)
        -- Depth is a limit, like memory: how deep the stack may grow is no fact of the run, so it must not end one.
        if value == "stack overflow" and rt.mode == "workflow" then rt.trip("depth") end
        if not fatal and not closed then rt.fail_run(value, task.co) end
      elseif value ~= TOKEN then
        if co_status(task.co) == "dead" then
          tasks[task.id] = nil
          task_count = task_count - 1
        else
          ready(task) -- a plain coroutine.yield in a task lets the others run
        end
      end
      if closed or fatal then return end
    end
    first, last = 1, 0
    for i = 1, #quiet_hooks do
      quiet_hooks[i]()
      if first <= last then break end -- quiet no more: first the tasks, then the others again
    end
    if first > last then break end
  end
  if closed or fatal then return end
  if settle then
    settle(rt.mode == "function") -- which may wait long, and be one of many
    settle = nil
  end
  if pending_count > 0 then return end
  for i = 1, #wait_hooks do
    if wait_hooks[i]() then return end
  end
  rt.deadlock(task_count)
end

-- Inputs --------------------------------------------------------------------------------------------------------

-- Handlers are there when their first input comes; the start is handled once.
raw.setmetatable(input_handlers, { __index = function(_, code)
  if code == 1 then return rt.run_prelude("started") end
  rt.require_prelude(code == 14 and "watching" or "inputs")
  return raw.rawget(input_handlers, code)
end })

-- apply(event, replaying) -> n, commands...: take one input and run until all is quiet.
-- n is the number of commands, and -1 - n when the last of them ended the run; at most 200 follow, the rest by
-- more_commands. A fatal text comes as one string.
function rt.apply(event, replaying)
  local time, pos = unpack_at(event, 3)
  if time > now_ms then now_ms = time end
  reset_budget()
  rt.replaying = replaying
  history_length, history_size = history_length + 1, history_size + #event
  out_n = 0
  if not closed then
    input_handlers[byte(event, 2)](event, pos)
    run()
  end
  if fatal then return fatal end
  local n = closed and -1 - out_n or out_n
  if out_n == 1 then return n, out[1] end
  if out_n == 0 then return n end
  return n, unpack(out, 1, out_n < BATCH and out_n or BATCH)
end

-- apply_live(time_ms, inputs...) -> as apply: several inputs without a time in them, of a process or function, which is
-- never replayed; its tasks run when all have been taken.
function rt.apply_live(time, ...)
  if time > now_ms then now_ms = time end
  reset_budget()
  out_n = 0
  local inputs = { ... }
  for i = 1, #inputs do
    if closed then break end
    input_handlers[byte(inputs[i], 2)](inputs[i], 3)
  end
  if not closed then run() end
  local n = closed and -1 - out_n or out_n
  if out_n == 1 then return n, out[1] end
  if out_n == 0 then return n end
  return n, unpack(out, 1, out_n < BATCH and out_n or BATCH)
end

function rt.more_commands(from)
  local to = from + BATCH - 1
  return unpack(out, from, to < out_n and to or out_n)
end

rt.answer = answer
-- launch(fn) -> the new task, at the end of the queue
rt.launch = function(fn)
  local task = new_task(fn)
  ready(task)
  return task
end
rt.set_seal = function(new)
  local old = seal
  seal = new
  return old
end
rt.check_seal = function() if seal then seal() end end
rt.has_ready = function() return first <= last end
rt.is_closed = function() return closed end
rt.next_number = function() return seq + 1 end
-- Other code had this mailbox before, and numbers up to n: what still answers them is late.
rt.skip_numbers = function(n) seq = n end
rt.note = note
rt.usage = function() return history_length, history_size, pending_count end
rt.current = function() return current end
rt.waiter, rt.block, rt.wake, rt.ready = waiter, block, wake, ready
rt.is_queued, rt.on_cancel = is_queued, on_cancel
rt.command, rt.notice, rt.on_result, rt.forget, rt.finish = command, notice, on_result, forget, finish
rt.on_input = function(code, handler, default)
  if not default or not raw.rawget(input_handlers, code) then input_handlers[code] = handler end
end
rt.on_quiet = function(hook) quiet_hooks[#quiet_hooks + 1] = hook end
rt.has_waits = function(hook) wait_hooks[#wait_hooks + 1] = hook end
rt.living_tasks = function() return tasks, next_task - 1 end
-- A copied history says in its start how many bytes were added to it; the code must not see them.
rt.discount_history = function(bytes) history_size = history_size - bytes end
rt.pending, rt.cancels = pending, cancels

rt.on_demand(rt, "scheduler_rare", "crowded cancel_pending fatal has_flag history open_commands")
rt.on_demand(rt, "timer_commands", "start_timer cancel_timer")
rt.on_demand(rt, "outcome", "outcome conclude fail_run deadlock")
rt.on_demand(rt, "random", "random random_aside")
return true
