-- sql: relational databases of the definitions. For functions and processes.
--   get(id) -> DB: type(), query(sql, params?) -> rows, execute(sql, params?) -> {rows_affected, last_insert_id?},
--     prepare(sql) -> Statement, begin(options?) -> Transaction, release()
--   Transaction: query, execute, prepare, commit, rollback, savepoint(name), rollback_to(name), release(name)
--   Statement: query(params?), execute(params?), close()
--   NULL: a value that is null; constants type.*, isolation.*
-- Params are a list for ? and $1, or have names for :name. A column that is null is absent from its row.
local rt = ...
local raw = rt.raw
local rawtype, next = raw.type, raw.next
local DB <const>, TX <const>, STATEMENT <const> = "sql.DB", "sql.Transaction", "sql.Statement"
rt.require_prelude("operation")

local NULL = rt.class("sql.NULL", {}, { tostring = function() return "NULL" end })({})

local function wrapped(value)
  if value == NULL or value == nil then return {} end
  return { value }
end

-- A list may have holes: they are null. Values go over one by one in a list each, empty for null.
local function values_of(params, fname)
  if params == nil then return {} end
  if rawtype(params) ~= "table" or rt.class_of(params) then rt.typeerror(2, fname, "table", params, 1) end
  local most, named, found = 0, 0, {}
  for key, value in next, params do
    if raw.math.type(key) == "integer" and key >= 1 and key <= 65535 then
      if key > most then most = key end
    elseif rawtype(key) == "string" then
      named = named + 1
      found[key] = wrapped(value)
    else
      return rt.fail("Invalid", "parameters are a list, or have names")
    end
  end
  if named > 0 and most > 0 then return rt.fail("Invalid", "parameters are a list, or have names; not both") end
  for i = 1, most do found[i] = wrapped(params[i]) end
  return found
end

local function statement_of(statement, fname)
  if rawtype(statement) ~= "string" then rt.typeerror(1, fname, "string", statement, 1) end
  if not raw.string.find(statement, "%S") then return rt.fail("Invalid", "the statement is empty") end
  return statement
end

local function state_of(self, class, fname)
  local state = rt.state(self, class)
  if not state then rt.typeerror(1, fname, class .. ", called with a colon,", self, 1) end
  if state.owner then state.closed = state.closed or state.owner.closed end
  if state.closed then return rt.fail("Invalid", state.closed) end
  return state
end

local new_statement
local db, tx, statement = {}, {}, {}

for _, what in raw.ipairs { "query", "execute" } do
  local function run(class)
    return function(self, text, params)
      local state, problem = state_of(self, class, what)
      if not state then return nil, problem end
      text, problem = statement_of(text, what)
      if not text then return nil, problem end
      params, problem = values_of(params, what)
      if not params then return nil, problem end
      return rt.perform("sql." .. what, state.where, text, params)
    end
  end
  db[what], tx[what] = run(DB), run(TX)
  statement[what] = function(self, params)
    local state, problem = state_of(self, STATEMENT, what)
    if not state then return nil, problem end
    params, problem = values_of(params, what)
    if not params then return nil, problem end
    return rt.perform("sql." .. what, state.where, state.text, params)
  end
end

local function prepare(class)
  return function(self, text)
    local state, problem = state_of(self, class, "prepare")
    if not state then return nil, problem end
    text, problem = statement_of(text, "prepare")
    if not text then return nil, problem end
    return new_statement({ where = state.where, text = text, owner = state })
  end
end
db.prepare, tx.prepare = prepare(DB), prepare(TX)

function statement.close(self)
  local state = rt.state(self, STATEMENT)
  if not state then rt.typeerror(1, "close", STATEMENT, self) end
  state.closed = "statement closed"
  return true
end
new_statement = rt.class(STATEMENT, statement, { tostring = function() return STATEMENT .. "{}" end })

local function finish(how)
  return function(self)
    local state, problem = state_of(self, TX, how)
    if not state then return nil, problem end
    state.closed = "the transaction is over"
    return rt.perform("sql.end", state.where, how)
  end
end
tx.commit, tx.rollback = finish("commit"), finish("rollback")

for name, how in next, { savepoint = "set", rollback_to = "rollback", release = "release" } do
  tx[name] = function(self, point)
    local state, problem = state_of(self, TX, name)
    if not state then return nil, problem end
    if rawtype(point) ~= "string" then rt.typeerror(1, name, "string", point) end
    if point == "" then return rt.fail("Invalid", "the savepoint has no name") end
    return rt.perform("sql.savepoint", state.where, how, point)
  end
end
local new_tx = rt.class(TX, tx, { tostring = function() return TX .. "{}" end })

function db.type(self)
  local state, problem = state_of(self, DB, "type")
  if not state then return nil, problem end
  return state.dialect
end

function db.begin(self, options)
  local state, problem = state_of(self, DB, "begin")
  if not state then return nil, problem end
  if options ~= nil and rawtype(options) ~= "table" then rt.typeerror(1, "begin", "table", options) end
  local isolation = options and options.isolation
  if isolation ~= nil and rawtype(isolation) ~= "string" then return rt.fail("Invalid", "isolation must be a string") end
  local number
  number, problem = rt.perform("sql.begin", state.where, isolation)
  if not number then return nil, problem end
  return new_tx({ where = number, owner = nil })
end

function db.release(self)
  local state = rt.state(self, DB)
  if not state then rt.typeerror(1, "release", DB .. ", called with a colon,", self) end
  state.closed = "database released"
  return true
end
local new_db = rt.class(DB, db, {
  tostring = function(self) return DB .. "{" .. (rt.state(self, DB).closed and "released" or "") .. "}" end,
})

local function get(id)
  if rawtype(id) ~= "string" then rt.typeerror(1, "get", "string", id) end
  if id == "" then return rt.fail("Invalid", "database ID required") end
  local dialect, problem = rt.perform_now("sql.get", id)
  if not dialect then return nil, problem end
  return new_db({ where = id, dialect = dialect })
end

return rt.readonly("sql", {
  get = get,
  NULL = NULL,
  type = rt.readonly("sql.type", { SQLITE = "sqlite", POSTGRES = "postgres", MYSQL = "mysql" }),
  isolation = rt.readonly("sql.isolation", {
    READ_UNCOMMITTED = "READ UNCOMMITTED", READ_COMMITTED = "READ COMMITTED", REPEATABLE_READ = "REPEATABLE READ",
    SERIALIZABLE = "SERIALIZABLE",
  }),
})
