-- sandbox_env: what a chunk of user code finds in its global environment.
local rt = ...
local raw = rt.raw
local ctype, cnext, crawget, crawset, cerror = raw.type, raw.next, raw.rawget, raw.rawset, raw.error
local csetmetatable, getmetatable, gmatch, opaque = raw.setmetatable, raw.getmetatable, raw.string.gmatch, rt.opaque

function rt.type(v)
  local kind = ctype(v)
  if kind == "table" then
    local mt = getmetatable(v)
    if mt and opaque[mt] then return "userdata" end
  end
  return kind
end

-- 1. Libraries --------------------------------------------------------------------------------------------------------
-- What user code sees of them is read-only, so those whose functions are C's own may be the raw ones.

local on_demand, libs = rt.on_demand, rt.libs
libs.string = on_demand({}, "string_library", "len sub upper lower reverse byte char rep format pack packsize unpack")
on_demand(libs.string, "string_patterns", "find match gmatch gsub")
on_demand(rt, "string_library", "text_argument checked")
libs.table = on_demand({ pack = raw.table.pack }, "table_library", "insert remove move concat unpack")
on_demand(libs.table, "table_sort", "sort")
libs.math = on_demand(raw.math, "math_library", "pow log10 sinh cosh tanh atan2 mod ldexp frexp")
libs.os = on_demand({ platform = "wippy" }, "os_library", "time clock difftime date")
libs.utf8 = raw.utf8
libs.package = on_demand({}, "global_library", "path cpath config loadlib")
raw.string_meta.__index = libs.string
raw.string_meta.__metatable = false

local randomseed, seed_a, seed_b = raw.math.randomseed, 0, 0

-- The numbers that math.random starts from, also after math.randomseed().
function rt.seed_random(a, b)
  seed_a, seed_b = a, b
  randomseed(a, b)
end

function libs.math.randomseed(...)
  if raw.select("#", ...) == 0 then return randomseed(seed_a, seed_b) end
  return randomseed(...)
end

-- 2. Globals ----------------------------------------------------------------------------------------------------------

local COMMON <const> = {
  assert = raw.assert, error = raw.error, pcall = rt.pcall, select = raw.select, type = rt.type, tonumber = raw.tonumber,
  rawequal = raw.rawequal, getmetatable = raw.public_getmetatable, _VERSION = "Lua 5.4",
}
-- Put into an environment when they are first used.
local OTHERS <const> = "tostring pairs next ipairs setmetatable print xpcall rawget rawset unpack "
  .. "string table math os coroutine utf8 package"

local globals = on_demand({}, "global_library", "setmetatable ipairs print")
on_demand(globals, "string_library", "call_string")
on_demand(globals, "table_library", "unpack")
on_demand(globals, "coroutine_library", "xpcall")
on_demand(globals, "key_order", "pairs")
on_demand(globals, "key_lists", "next rawget rawset")
on_demand(globals, "object_text", "tostring")
rt.globals = globals

local function global(name)
  local value = globals[name]
  if value == nil then
    value = rt.readonly(name, libs[name], name == "string" and globals.call_string or nil)
    globals[name] = value
  end
  return value
end

-- 3. Environments -----------------------------------------------------------------------------------------------------

local unbound = csetmetatable({}, rt.weak) -- environment -> { name = loader } of what nobody has used yet

local function bind(env, name)
  local lazy = unbound[env]
  local load = lazy[name]
  if not load then return nil end
  local value = load(name) -- when this raises, the next use tries again
  lazy[name] = nil
  crawset(env, name, value)
  return value
end

-- A global that is set before it was used, maybe to nil, is not to come back.
local function assign(env, name, value)
  local lazy = unbound[env]
  if lazy[name] == global then lazy[name] = nil end
  crawset(env, name, value)
end

-- complete_env(t) -> t: an environment gets all its globals, whoever walks through it must find them; nothing else changes
function rt.complete_env(t)
  local lazy = unbound[t]
  if lazy then
    for name in gmatch(OTHERS, "%S+") do
      if lazy[name] == global then bind(t, name) end
    end
    getmetatable(t).__pairs = nil
  end
  return t
end
local function walk(env) return rt.pairs(rt.complete_env(env)) end

-- A fresh global environment. The modules named are bound when they are first used: `loader(name)` gives the value.
function rt.new_env(names, loader)
  local env, lazy = {}, {}
  for name, value in cnext, COMMON do env[name] = value end
  env._G = env
  for name in gmatch(OTHERS, "%S+") do lazy[name] = global end
  for _, name in raw.ipairs(names or {}) do lazy[name] = loader end
  function env.require(name)
    local value
    if ctype(name) == "string" then
      value = crawget(env, name)
      if value == nil and lazy[name] then value = env[name] end
    end
    if value == nil then cerror("module '" .. rt.tostring(name) .. "' not found", 2) end
    return value
  end
  unbound[env] = lazy
  return csetmetatable(env, { __metatable = false, __index = bind, __newindex = assign, __pairs = walk })
end

-- Compiles a prepared chunk of user code: the function, or nil and Lua's message.
function rt.load_user(source, chunkname, env)
  local chunk, problem = raw.load(source, chunkname, "t", env)
  if not chunk then return nil, problem end
  return chunk(rt.key)
end
return true
