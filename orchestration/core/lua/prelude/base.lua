-- base: the root of a Lua world. Runs once, before anything else, with the raw libraries in reach; builds `rt`,
-- the table that prelude files share, and leaves nothing of the raw libraries where user code could find it.
-- Called with (host, memory_bytes, instructions, boot): `host(name, bytes) -> ok, bytes` is the one Python callable, boot the
-- bytecode of the files that every run begins with. The garbage collector stands still until rt.settle().
local pyhost, memory_bytes, instructions, boot = ...

local raw = {
  type = type, next = next, rawget = rawget, rawset = rawset, rawequal = rawequal, rawlen = rawlen, select = select,
  tostring = tostring, tonumber = tonumber, pcall = pcall, xpcall = xpcall, error = error, assert = assert, ipairs = ipairs,
  setmetatable = setmetatable, getmetatable = debug.getmetatable, public_getmetatable = getmetatable,
  load = load, collectgarbage = collectgarbage, string = string, table = table, math = math, coroutine = coroutine, utf8 = utf8,
  getinfo = debug.getinfo,
}
local clock, setlocale, sethook, traceback = os.clock, os.setlocale, debug.sethook, debug.traceback
raw.string_meta = raw.getmetatable("")
-- Nothing below this line may use a global. What nobody needs any more (io, os, package, ...) is let go of as well.
local G <const>, registry <const> = _G, debug.getregistry()
for name in raw.next, G do G[name] = nil end
for _, name in raw.ipairs { "_LOADED", "_PRELOAD", "_CLIBS", "_IO_input", "_IO_output", "FILE*" } do registry[name] = nil end
registry[2] = {} -- the table of globals: a small one
local _ENV <const> = {}

local ctype, cnext, crawget, cerror = raw.type, raw.next, raw.rawget, raw.error
local csetmetatable, cgetmetatable, cselect = raw.setmetatable, raw.getmetatable, raw.select
local collectgarbage, getinfo = raw.collectgarbage, raw.getinfo
local ccreate, cresume, cyield = raw.coroutine.create, raw.coroutine.resume, raw.coroutine.yield
local find, gmatch, match, sub = raw.string.find, raw.string.gmatch, raw.string.match, raw.string.sub

-- Fields that code asks for again and again are false, not nil: nil is looked for among the parts of section 2.
local WEAK <const> = { __mode = "k" }
local rt = {
  raw = raw, libs = {}, weak = WEAK, drivers = csetmetatable({}, WEAK), mode = "workflow", tz = "UTC",
  unblockable = false, unblockable_in = false, check_seal = false, replaying = false,
}

-- 1. Limits ---------------------------------------------------------------------------------------------------------
-- Instructions are counted by a hook in every coroutine. What C code does for one instruction is charged by the
-- wrappers of the libraries; two backstops catch what neither sees (long strings joined or compared by operators, a
-- heap kept just under its limit): each collection costs by the size of the heap, each second of processor time costs.

local COUNT <const> = 1000          -- instructions between two calls of the hook
local COUNT_LARGE <const> = 200     -- the same while the heap is large: one instruction may then be slow
local PER_SECOND <const> = 5000000  -- instructions that a second of processor time counts for, beside those it ran
local PATIENCE <const> = 10         -- seconds of one step, of all threads of the process, after which they count for more
local PER_SECOND_LATE <const> = 25000000
local OUT_OF_MEMORY <const> = "not enough memory"

local LIMIT = csetmetatable({}, { __tostring = function() return "limit reached" end, __metatable = false, __name = "limit" })
local used, budget, gc_debt, ticks = 0, instructions, 0, 0
local spent                          -- nil, or why everything has to end: "steps", "memory", "abort"
local last_clock = clock()
local soft_kb, large_kb = memory_bytes / 1024 * 7 / 8, memory_bytes / 1024 / 4
rt.spent_error = LIMIT

local function hook_spent() cerror(LIMIT, 0) end

-- Ends the step: from here on every hook, pcall and resume raises again.
local function trip(why)
  spent = spent or why
  sethook(hook_spent, "", 1)
  cerror(LIMIT, 0)
end
rt.trip = trip

local function charge(n)
  used = used + n
  -- n itself is looked at too: a sum with a number near 2^63 wraps around
  if used > budget or n > budget or n < 0 or spent then trip("steps") end
end
rt.charge = charge

-- Counts what the garbage collector does: a finalizer that comes back each cycle.
local sentinel = { __gc = nil }
sentinel.__gc = function()
  gc_debt = gc_debt + collectgarbage("count") * 128
  csetmetatable({}, sentinel)
end
csetmetatable({}, sentinel)

local hook, hook_large

local slow, seconds_used = false, 0  -- the last look at the clock found little done; processor time of this step

local function read_clock()
  local now = clock()
  local seconds = last_clock and now - last_clock or 0
  last_clock = now
  if seconds > 0 then
    seconds_used = seconds_used + seconds
    used = used + seconds * (seconds_used < PATIENCE and PER_SECOND or PER_SECOND_LATE)
  end
  return seconds
end

-- No garbage is collected while the library is put together, nor while a run takes its first steps: most of what there is
-- then stays, and many runs end soon. To be called when the run waits for the first time; check() does when the heap grows.
-- settle(thrifty): whoever may wait long and be one of many keeps no garbage; the heap of the others may grow to four times
-- of what is alive (Lua says twice), which is little still and saves them time.
local stopped = true
function rt.settle(thrifty)
  stopped, boot = false, {}
  collectgarbage("restart")
  if thrifty then collectgarbage("collect") else collectgarbage("incremental", 400) end
end

local function check(kb)
  slow = read_clock() > 0.02
  if kb > 512 and stopped then rt.settle() end
  if kb > soft_kb then
    collectgarbage("collect")
    used = used + kb * 128
    if collectgarbage("count") > soft_kb then
      if getinfo(190000, "l") then cerror("stack overflow", 0) end -- the stack is what is large: an error that code may catch
      trip("memory")
    end
  end
end

hook = function()
  local kb = collectgarbage("count")
  used = used + COUNT + gc_debt
  gc_debt = 0
  ticks = ticks + 1
  if kb > 4096 or ticks % 4 == 0 then -- what is slow on a small heap is not very slow
    check(kb)
    if slow or kb > large_kb then sethook(hook_large, "", COUNT_LARGE) end
  end
  if used > budget or spent then trip("steps") end
end

hook_large = function()
  local kb = collectgarbage("count")
  used = used + COUNT_LARGE + gc_debt
  gc_debt = 0
  ticks = ticks + 1
  if slow or kb > soft_kb or ticks % 8 == 0 then check(kb) end
  if kb <= large_kb and not slow then sethook(hook, "", COUNT) end
  if used > budget or spent then trip("steps") end
end

-- For one call of C code whose cost is known by its upper bound only: `share` of the longest that such a call may take.
-- What it really took is read from the clock, once the bounds have summed up.
local doubts = 0
function rt.doubt(share)
  doubts = doubts + share
  if doubts > 1 then
    doubts = 0
    check(collectgarbage("count"))
    if used > budget or spent then trip("steps") end
  end
end

-- Puts a coroutine under the limits. What it runs before its first hook is paid in advance.
function rt.meter(co)
  charge(COUNT)
  sethook(co, hook, "", COUNT)
  return co
end

local aside_used, aside_seconds = 0, 0 -- what was done aside in this step

-- The clock is read by the first check, not here: reading it costs as much as a whole small input.
function rt.reset_budget(n)
  used, gc_debt, last_clock, seconds_used, aside_used, aside_seconds = 0, 0, nil, 0, 0, 0
  if n then budget = n end
end

-- spend_aside() -> restore: until restore() is called, what is done counts for a second budget of the step, as large as
-- the first and one for all that is done aside: a thousand small ones must not make an endless step.
function rt.spend_aside()
  read_clock()
  local own, own_seconds = used, seconds_used
  used, seconds_used = aside_used, aside_seconds
  return function()
    read_clock()
    aside_used, aside_seconds = used, seconds_used
    used, seconds_used = own, own_seconds
  end
end

-- Raises again what must not be caught. `err` is what a pcall or a resume has caught; returns it. A stack overflow loses
-- its position: how deep it happens is the sandbox's affair as much as the code's.
local function rethrow(err)
  if spent then
    sethook(hook_spent, "", 1)
    cerror(LIMIT, 0)
  elseif err == OUT_OF_MEMORY then
    trip("memory")
  elseif ctype(err) == "string" then
    if sub(err, -14) == "stack overflow" then return "stack overflow" end
    if sub(err, 1, 1) == "[" then return match(err, "^%[[%w_]+%]:%d+: (.*)$") or err end -- no line of the user's
  end
  return err
end
rt.rethrow = rethrow

-- The door for Python: never raises (but for memory), says in its first result what happened. The call runs in a coroutine
-- of its own, kept for the next call, because the hook of a spent step would end this function too.
local driver, driver_loop
local DONE = {}

local function leave(ok, err, ...)
  if ok then
    if err == DONE then return "ok", ... end
    driver = nil
    return "error", "attempt to wait outside a task"
  end
  local failed = driver
  driver = nil
  if spent then return spent end
  if err == OUT_OF_MEMORY then return "memory" end
  return "error", traceback(failed, ctype(err) == "string" and err or rt.tostring(err))
end

driver_loop = function(fn, ...) return driver_loop(cyield(DONE, fn(...))) end

function rt.enter(...)
  if spent then return spent end
  if not driver then
    driver = ccreate(driver_loop)
    sethook(driver, hook, "", COUNT)
    rt.drivers[driver] = true
  end
  return leave(cresume(driver, ...))
end

-- 2. Files of the prelude, the host -----------------------------------------------------------------------------------

local loaded = {}

boot = raw.load(boot, "=[boot]", "b", _ENV)()

local function chunk_of(name)
  local ready = boot[name]
  if ready then
    boot[name] = nil
    return ready
  end
  local ok, code = pyhost("prelude", name)
  if ok == nil then trip("abort") end
  local chunk, problem = raw.load(code, "=[" .. name .. "]", "b", _ENV)
  if not chunk then cerror(problem, 0) end
  return chunk
end

-- The module of prelude/<name>.lua, loaded on first use. Loading is not what the code at hand is to pay for: a replay, or a
-- question asked in between, may need the file at another moment.
function rt.require_prelude(name)
  local module = loaded[name]
  if module ~= nil then return module end
  local before = used
  module = chunk_of(name)(rt)
  if module == nil then module = true end
  loaded[name], used = module, before
  return module
end

-- run_prelude(name, ...) -> what prelude/<name>.lua returns when it is called with (rt, ...); it is not kept
function rt.run_prelude(name, ...) return chunk_of(name)(rt, ...) end

-- Most runs use a small part of the library. A file keeps to what each of them needs, and says which fields others add.
local parts = {} -- table -> text of lines " field field field :file", in the order of their making

local function part(t, key)
  if ctype(key) ~= "string" then return nil end
  local text = parts[t]
  local at = find(text, " " .. key .. " ", 1, true) or find(text, " * ", 1, true)
  if not at then return nil end
  local file = match(text, ":([%w_]+)", at)
  if loaded[file] then return nil end
  rt.require_prelude(file)
  return crawget(t, key)
end
local ON_DEMAND <const> = { __index = part }

-- on_demand(t, file, fields) -> t: prelude/<file>.lua puts these fields (words; *: all that no other file has) into the
-- table, and is loaded when the first of them is read
function rt.on_demand(t, file, fields)
  if not parts[t] then csetmetatable(t, ON_DEMAND) end
  parts[t] = (parts[t] or "") .. " " .. fields .. " :" .. file .. "\n"
  return t
end

-- complete(t) -> t: with all its fields
function rt.complete(t)
  local text = parts[t]
  if text then
    for file in gmatch(text, ":([%w_]+)") do rt.require_prelude(file) end
    csetmetatable(t, nil)
    parts[t] = nil
  end
  return t
end

-- whole(proxy) -> the table that a read-only view shows, with all its fields; nil for anything else
function rt.whole(proxy)
  local t = rt.frozen[proxy]
  return t and rt.complete(t)
end

local function host_result(ok, data)
  if ok then return (rt.unpack(data)) end
  if ok == nil then trip("abort") end
  local failure = rt.unpack(data)
  if failure.raised then cerror(failure.message, 3) end
  return nil, rt.new_error(failure)
end

-- Calls a function of the Python host: its value, or nil and an error object; wrong arguments raise.
function rt.host(name, ...) return host_result(pyhost(name, rt.pack_list(cselect("#", ...), ...))) end

-- The same with bytes in the place of values: success, encoded result.
function rt.host_bytes(name, data)
  local ok, result = pyhost(name, data)
  if ok == nil then trip("abort") end
  return ok, result
end

-- 3. Opaque objects and read-only tables ------------------------------------------------------------------------------
-- Both are empty or nearly empty tables with a closed metatable; what they hold is found by `opaque` and `frozen`.

local STATE = {}
local opaque = csetmetatable({}, WEAK)   -- metatable -> class name
local frozen = csetmetatable({}, WEAK)   -- proxy -> the table it shows
rt.opaque, rt.frozen, rt.state_key = opaque, frozen, STATE

-- True for an object made by rt.class.
local function is_opaque(value)
  if ctype(value) ~= "table" then return false end
  local mt = cgetmetatable(value)
  return mt ~= nil and opaque[mt] ~= nil
end
rt.is_opaque = is_opaque

-- The state of an object of that class, nil for anything else.
function rt.state(object, name)
  if ctype(object) ~= "table" then return nil end
  local mt = cgetmetatable(object)
  if mt ~= nil and opaque[mt] == name then return crawget(object, STATE) end
  return nil
end

function rt.is_error(value) return rt.state(value, "error") ~= nil end

local function length(proxy) return #frozen[proxy] end

local function refuse_field(proxy, key)
  cerror("cannot set field '" .. rt.tostring(key) .. "' of '" .. cgetmetatable(proxy).name .. "': it is read-only", 2)
end

-- A view of a table that cannot be written; `call` makes it callable.
function rt.readonly(name, tbl, call)
  local proxy = {}
  csetmetatable(proxy, { __index = tbl, __metatable = false, __call = call, __len = length, __newindex = refuse_field, name = name })
  frozen[proxy] = tbl
  return proxy
end

-- 4. Where a task may not wait ----------------------------------------------------------------------------------------

-- rt.unblockable: text that says what is being run, while blocking is impossible
rt.on_demand(rt, "forbid_block", "forbid_block")
rt.block_token = csetmetatable({}, { __name = "block", __metatable = false })

-- 5. The clock and chance, until the machine gives its own --------------------------------------------------------------

function rt.now_ns() return 0 end
raw.math.randomseed(0, 0)

for _, category in raw.ipairs { "collate", "numeric", "time" } do
  local name = setlocale(nil, category)
  if not (name == "C" or name == "POSIX" or match(name, "^C%.[Uu][Tt][Ff]%-?8$")) then
    cerror("locale:" .. category .. ":" .. name, 0)
  end
end
local ctype_name = setlocale(nil, "ctype")
if not (ctype_name == "C" or ctype_name == "POSIX" or find(ctype_name, "[Uu][Tt][Ff]%-?8")) then
  cerror("locale:ctype:" .. ctype_name, 0)
end

rt.on_demand(rt, "argument_errors", "user_frames raise argerror typeerror")
rt.on_demand(rt, "classes", "class class_of")
rt.require_prelude("sandbox_order")
rt.require_prelude("sandbox_coroutine")
rt.require_prelude("sandbox_env")

return rt
