-- store: values by key, shared by all functions and processes of the deployment. For functions and processes.
--   get(id) -> Store: get(key), set(key, value, ttl_seconds?), has(key), delete(key), entry(key),
--   put(key, value, { ttl?, only_if_absent?, if_version? }), list { prefix?, after?, limit? }, info(), release()
--   backend, consistency: the words of info()
-- Values are copied and keep their types. The work is done in Python (modules/store.py).
local rt = ...
local raw = rt.raw
local rawtype = raw.type
local CLASS <const> = "store.Store"
rt.require_prelude("operation")

local methods = {}
local new = rt.class(CLASS, methods, {
  tostring = function(self) return rt.state(self, CLASS).released and CLASS .. "{released}" or CLASS .. "{}" end,
})

-- open(self, fname) -> state | nil, error: a store that has not been released
local function open(self, fname)
  local state = rt.state(self, CLASS)
  if not state then rt.typeerror(1, fname, "store.Store, called with a colon,", self, 1) end
  if state.released then return rt.fail("Invalid", "the store has been released") end
  return state
end

local function table_argument(value, n, fname)
  if value ~= nil and (rawtype(value) ~= "table" or rt.class_of(value)) then rt.typeerror(n, fname, "table", value, 1) end
end

-- on_key(fname, verb) -> method(self, key, ...): what is done to one key
local function on_key(fname, verb)
  return function(self, key, ...)
    local state, problem = open(self, fname)
    if not state then return nil, problem end
    if rawtype(key) ~= "string" then rt.typeerror(1, fname, "string", key, 1) end
    return rt.perform(verb, state.id, key, ...)
  end
end

local has, delete, read, entry = on_key("has", "store.has"), on_key("delete", "store.delete"),
  on_key("get", "store.read"), on_key("entry", "store.entry")
function methods.get(self, key) return read(self, key) end
function methods.has(self, key) return has(self, key) end
function methods.delete(self, key) return delete(self, key) end
function methods.entry(self, key) return entry(self, key) end

local set, put = on_key("set", "store.put"), on_key("put", "store.put")
function methods.set(self, key, value, ttl)
  if ttl ~= nil and rawtype(ttl) ~= "number" then rt.typeerror(3, "set", "number", ttl) end
  local version, problem = set(self, key, value, { ttl = ttl })
  if not version then return nil, problem end
  return true, nil
end
function methods.put(self, key, value, options)
  table_argument(options, 3, "put")
  local version, problem = put(self, key, value, options)
  if not version then return nil, problem end
  return { key = key, value = (rt.unpack(rt.pack(value))), version = version }, nil
end

function methods.list(self, options)
  local state, problem = open(self, "list")
  if not state then return nil, problem end
  table_argument(options, 1, "list")
  return rt.perform("store.list", state.id, options)
end
function methods.info(self)
  local state, problem = open(self, "info")
  if not state then return nil, problem end
  return rt.perform_now("store.info", state.id)
end
function methods.release(self)
  local state = rt.state(self, CLASS)
  if not state then rt.typeerror(1, "release", "store.Store, called with a colon,", self, 1) end
  state.released = true
  return true
end

local function get(id)
  if rawtype(id) ~= "string" then rt.typeerror(1, "get", "string", id) end
  if id == "" then return rt.fail("Invalid", "store ID required") end
  local ok, problem = rt.perform_now("store.get", id)
  if not ok then return nil, problem end
  return (new({ id = id })), nil
end

return rt.readonly("store", {
  get = get,
  backend = rt.readonly("store.backend", {
    MEMORY = "memory", SQL = "sql", KV_RAFT = "kv.raft", KV_CRDT = "kv.crdt", UNKNOWN = "unknown",
  }),
  consistency = rt.readonly("store.consistency", {
    LINEARIZABLE = "linearizable", EVENTUAL = "eventual", LOCAL = "local", UNKNOWN = "unknown",
  }),
})
