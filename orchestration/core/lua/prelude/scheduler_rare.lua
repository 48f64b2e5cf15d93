-- scheduler_rare: what of the scheduler few runs need. Adds to rt: crowded, cancel_pending, fatal, has_flag, history,
--   open_commands.
local rt = ...
local raw = rt.raw
local rawtype, pending, cancels = raw.type, rt.pending, rt.cancels

local MOST_PENDING <const> = 10000 -- not a setting: a replay elsewhere must refuse the same command

-- crowded() -> nil | error: why a workflow can ask for nothing more that it would wait for
function rt.crowded()
  local _, _, pending_count = rt.usage()
  if pending_count < MOST_PENDING or rt.mode ~= "workflow" then return nil end
  local _, problem = rt.fail("RateLimited", MOST_PENDING .. " commands are pending, the most there can be: wait for some", true)
  return problem
end

-- cancel_pending() -> n: take back every command that still waits, in the order in which they were given. A task that
-- waits for one itself is told by its own way of waiting: task.take_back(number, task), set before block().
function rt.cancel_pending()
  rt.check_seal()
  local numbers = {}
  for number, receiver in raw.next, pending do
    if cancels[number] or (rawtype(receiver) == "table" and receiver.take_back) then numbers[#numbers + 1] = number end
  end
  raw.table.sort(numbers)
  for i = 1, #numbers do
    local number = numbers[i]
    local receiver = pending[number]
    local take_back = cancels[number]
    if take_back then take_back(number) else receiver.take_back(number, receiver) end
  end
  return #numbers
end

-- fatal(text): the run cannot go on and must not end: it is parked. Cannot be caught by user code.
function rt.fatal(text)
  rt.misfit(text)
  while true do
    if rt.current() then raw.coroutine.yield(rt.block_token) else raw.error(text, 0) end
  end
end

-- has_flag(number): whether the run began with a change of behaviour, see core/flags.py
function rt.has_flag(number)
  local flags = rt.meta.flags or {}
  for i = 1, #flags do
    if flags[i] == number then return true end
  end
  return false
end
-- history() -> how many events, how many bytes
function rt.history()
  local length, size = rt.usage()
  return length, size
end

function rt.open_commands()
  local list = {}
  for number = 1, rt.next_number() - 1 do
    if pending[number] ~= nil then list[#list + 1] = number end
  end
  return list
end
return true
