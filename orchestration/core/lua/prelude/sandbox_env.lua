-- sandbox_env: what a chunk of user code finds in its global environment.
local rt = ...
local raw = rt.raw
local ctype, cnext, crawget, crawset, cerror = raw.type, raw.next, raw.rawget, raw.rawset, raw.error
local csetmetatable, is_opaque, opaque = raw.setmetatable, rt.is_opaque, rt.opaque
local getmetatable = raw.getmetatable

-- 1. Base functions ---------------------------------------------------------------------------------------------------

function rt.type(v)
  local kind = ctype(v)
  if kind == "table" then
    local mt = getmetatable(v)
    if mt and opaque[mt] then return "userdata" end
  end
  return kind
end

function rt.setmetatable(t, mt)
  if ctype(t) ~= "table" then rt.typeerror(1, "setmetatable", "table", t) end
  local old = getmetatable(t)
  if old and crawget(old, "__metatable") ~= nil then cerror("cannot change a protected metatable", 2) end
  if mt ~= nil then
    if ctype(mt) ~= "table" then rt.typeerror(2, "setmetatable", "nil or table", mt) end
    if crawget(mt, "__gc") ~= nil or crawget(mt, "__mode") ~= nil then
      cerror("setmetatable refuses __gc and __mode: finalizers and weak tables show the garbage collector", 2)
    end
  end
  return csetmetatable(t, mt)
end

function rt.ipairs(t)
  if t == nil or is_opaque(t) then rt.typeerror(1, "ipairs", "table", t) end
  return raw.ipairs(t)
end

-- `rt.on_print(text)` takes the line.
function rt.print(...)
  local n = raw.select("#", ...)
  local parts = { ... }
  for i = 1, n do parts[i] = rt.tostring(parts[i]) end
  local line = raw.table.concat(parts, " ", 1, n)
  if rt.on_print then rt.on_print(line) end
end

-- 2. math, os, package ------------------------------------------------------------------------------------------------

local math = {}
rt.libs.math = math
for name, value in cnext, raw.math do math[name] = value end
local exp, log, floor, fmod = raw.math.exp, raw.math.log, raw.math.floor, raw.math.fmod

function math.pow(x, y) return x ^ y end
function math.log10(x) return log(x, 10) end
function math.sinh(x) return (exp(x) - exp(-x)) / 2 end
function math.cosh(x) return (exp(x) + exp(-x)) / 2 end
function math.tanh(x)
  if x > 20 then return 1.0 elseif x < -20 then return -1.0 end
  local e = exp(2 * x)
  return (e - 1) / (e + 1)
end
function math.atan2(y, x) return raw.math.atan(y, x) end
math.mod = fmod
function math.ldexp(m, e) return m * 2.0 ^ e end
function math.frexp(x)
  if x == 0 or x ~= x or x == 1 / 0 or x == -1 / 0 then return x, 0 end
  local e = floor(log(x < 0 and -x or x, 2)) + 1
  local m = x / 2.0 ^ e
  if m >= 1 or m <= -1 then m, e = m / 2, e + 1 elseif m < 0.5 and m > -0.5 then m, e = m * 2, e - 1 end
  return m, e
end

local seed_a, seed_b = 0, 0

-- The numbers that math.random starts from, also after math.randomseed().
function rt.seed_random(a, b)
  seed_a, seed_b = a, b
  raw.math.randomseed(a, b)
end

function math.randomseed(...)
  if raw.select("#", ...) == 0 then return raw.math.randomseed(seed_a, seed_b) end
  return raw.math.randomseed(...)
end

local os = { platform = "wippy" }
rt.libs.os = os
function os.time(t)
  if t ~= nil then
    local seconds = rt.require_prelude("sandbox_os").time(t)
    return seconds
  end
  return rt.now_ns() // 1000000000
end
function os.clock() return rt.now_ns() / 1e9 end
function os.difftime(a, b) return (a or 0) - (b or 0) + 0.0 end
function os.date(format, t)
  local text = rt.require_prelude("sandbox_os").date(format, t)
  return text
end

local package = {
  path = "", cpath = "", config = "/\n;\n?\n!\n-\n",
  loadlib = function() return nil, "dynamic libraries not enabled", "absent" end,
}

rt.libs.utf8 = {}
for name, value in cnext, raw.utf8 do rt.libs.utf8[name] = value end

-- 3. Environments -----------------------------------------------------------------------------------------------------

local globals = {
  assert = raw.assert, error = raw.error, pcall = rt.pcall, xpcall = rt.xpcall, select = raw.select, type = rt.type,
  tostring = rt.tostring, tonumber = raw.tonumber, pairs = rt.pairs, ipairs = rt.ipairs, next = rt.next, rawget = rt.rawget,
  rawset = rt.rawset, rawequal = raw.rawequal, setmetatable = rt.setmetatable, getmetatable = raw.public_getmetatable,
  unpack = rt.libs.table.unpack, print = rt.print, _VERSION = "Lua 5.4",
  table = rt.readonly("table", rt.libs.table), math = rt.readonly("math", math), os = rt.readonly("os", os),
  coroutine = rt.readonly("coroutine", rt.libs.coroutine), utf8 = rt.readonly("utf8", rt.libs.utf8),
  package = rt.readonly("package", package),
  string = rt.readonly("string", rt.libs.string, function(_, v)
    if ctype(v) ~= "string" then cerror("expected string, got " .. rt.type(v), 2) end
    return v
  end),
}

-- Adds a global to every environment made from now on.
function rt.set_global(name, value) globals[name] = value end

local bindings = csetmetatable({}, { __mode = "k" })

-- A fresh global environment. The modules named are bound when they are first used: `loader(name)` gives the value.
function rt.new_env(names, loader)
  local env, lazy = {}, {}
  for name, value in cnext, globals do env[name] = value end
  env._G = env
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
  bindings[env] = lazy
  return csetmetatable(env, {
    __metatable = false,
    __index = function(_, name)
      local load = lazy[name]
      if not load then return nil end
      local value = load(name) -- when this raises, the next use tries again
      lazy[name] = nil
      crawset(env, name, value)
      return value
    end,
  })
end

-- Binds one more name, lazily.
function rt.bind_module(env, name, loader)
  crawset(env, name, nil)
  bindings[env][name] = loader
end

-- Compiles a prepared chunk of user code: the function, or nil and Lua's message.
function rt.load_user(source, chunkname, env)
  local chunk, problem = raw.load(source, chunkname, "t", env)
  if not chunk then return nil, problem end
  return chunk(rt.key)
end
return true
