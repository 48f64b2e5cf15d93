-- coroutine_library: xpcall and the coroutine library. A blocking verb inside a user's own coroutine suspends the whole
-- task: the request passes through every resume on its way out, the answer on its way in.
local rt = ...
local raw = rt.raw
local ctype, cerror, cxpcall = raw.type, raw.error, raw.xpcall
local co = raw.coroutine
local cresume, cyield, cstatus, crunning, ccreate, cclose = co.resume, co.yield, co.status, co.running, co.create, co.close
local rethrow, caught, BLOCK, LIMIT = rt.rethrow, rt.caught, rt.block_token, rt.spent_error

local tasks = rt.drivers                                 -- coroutines of the scheduler, closed to user code
local waiting = raw.setmetatable({}, rt.weak)   -- user coroutines that a blocking verb has suspended

function rt.globals.xpcall(f, handler, ...)
  if ctype(handler) ~= "function" then rt.typeerror(2, "xpcall", "function", handler) end
  local function guarded(err)
    if err == LIMIT then return err end
    return handler(rethrow(err))
  end
  return caught(cxpcall(f, guarded, ...))
end

function rt.is_task(thread) return tasks[thread] == true end

-- Suspends the task that runs, through all coroutines it has made; returns what the scheduler resumes it with.
function rt.suspend(...)
  local label = rt.unblockable
  if label then cerror("cannot wait inside " .. label, 3) end
  if not co.isyieldable() then cerror("cannot wait here: a function of the C library is being run (string.gsub, a table.sort comparator, ...)", 3) end
  return cyield(BLOCK, ...)
end

local lib = rt.libs.coroutine

function lib.create(f)
  if ctype(f) ~= "function" then rt.typeerror(1, "create", "function", f) end
  return rt.meter(ccreate(f))
end

local function woken(thread, ...)
  waiting[thread] = nil
  return cresume(thread, ...)
end

-- Lets blocking verbs pass outwards and their results inwards until the coroutine yields, returns or fails by itself.
local function pass(thread, ok, first, ...)
  if first == BLOCK and ok then
    waiting[thread] = true
    return pass(thread, woken(thread, cyield(BLOCK, ...)))
  end
  return ok, first, ...
end

function lib.resume(thread, ...)
  if ctype(thread) ~= "thread" then rt.typeerror(1, "resume", "coroutine", thread) end
  if waiting[thread] then return false, "cannot resume non-suspended coroutine" end
  if tasks[thread] then return false, "cannot resume a task" end
  return caught(pass(thread, cresume(thread, ...)))
end

local function wrapped(thread, ok, err, ...)
  if ok then return err, ... end
  err = rethrow(err)
  if cstatus(thread) == "dead" then
    local closed, problem = cclose(thread)
    if not closed then err = problem end
    rethrow(err)
  end
  if ctype(err) == "string" then cerror(err, 2) end
  cerror(err, 0)
end

function lib.wrap(f)
  if ctype(f) ~= "function" then rt.typeerror(1, "wrap", "function", f) end
  local thread = rt.meter(ccreate(f))
  return function(...)
    if waiting[thread] then cerror("cannot resume non-suspended coroutine", 2) end
    return wrapped(thread, pass(thread, cresume(thread, ...)))
  end
end

function lib.yield(...)
  local thread = crunning()
  if tasks[thread] then
    if rt.check_seal then rt.check_seal() end
    cerror("attempt to yield from outside a coroutine", 2)
  end
  if rt.unblockable and rt.unblockable_in == thread then
    if rt.check_seal then rt.check_seal() end
    cerror("attempt to yield across " .. rt.unblockable, 2)
  end
  return cyield(...)
end

function lib.status(thread)
  if ctype(thread) ~= "thread" then rt.typeerror(1, "status", "coroutine", thread) end
  if waiting[thread] then return "normal" end
  return cstatus(thread)
end

function lib.running()
  local thread = crunning()
  return thread, tasks[thread] == true
end

function lib.isyieldable(thread)
  if thread == nil then thread = crunning() end
  if ctype(thread) ~= "thread" then rt.typeerror(1, "isyieldable", "coroutine", thread) end
  if tasks[thread] or (rt.unblockable and rt.unblockable_in == thread) then return false end
  return co.isyieldable(thread)
end

function lib.close(thread)
  if ctype(thread) ~= "thread" then rt.typeerror(1, "close", "coroutine", thread) end
  if tasks[thread] then cerror("cannot close a task", 2) end
  if waiting[thread] then cerror("cannot close a normal coroutine", 2) end
  local status = cstatus(thread)
  if status ~= "suspended" and status ~= "dead" then cerror("cannot close a " .. status .. " coroutine", 2) end
  local _ <close> = rt.forbid_block("coroutine.close")
  return caught(cclose(thread))
end
return true
