-- security: who the code runs for and what they may do. For functions and processes; policies are in Python
-- (modules/security.py, modules/permissions.py).
-- Returns { actor, scope, can, policy, named_scope, new_scope, new_actor, token_store }. Objects: Actor, Policy, Scope and
-- TokenStore; as arguments of calls and messages they become nil, identities travel by with_actor and with_scope alone.
local rt = ...
local raw = rt.raw
local rawtype, next, move = raw.type, raw.next, raw.table.move
rt.require_prelude("operation")
local ACTOR <const>, SCOPE <const>, POLICY <const> = "security.Actor", "security.Scope", "security.Policy"
local STORE <const> = "security.TokenStore"
local EMPTY <const> = rt.pack(rt.as_map({}))

local function state_of(object, class, fname)
  local state = rt.state(object, class)
  if not state then rt.typeerror(1, fname, class, object, 2) end
  return state
end

local function text(value, n, fname)
  if rawtype(value) ~= "string" then rt.typeerror(n, fname, "string", value, 1) end
  return value
end

-- meta_bytes(given, n, fname) -> bytes of a map with text keys; nil is an empty one
local function meta_bytes(given, n, fname)
  if given == nil then return EMPTY end
  if rawtype(given) ~= "table" or rt.class_of(given) then rt.typeerror(n, fname, "table", given, 1) end
  return rt.pack(rt.require_prelude("options").values(given, rt.as_map({})))
end

local function meta_of(given, n, fname) return (rt.unpack(meta_bytes(given, n, fname))) end

-- Raises what was refused.
local function must(ok, problem)
  if not ok then raw.error(problem, 0) end
end

-- Actors --------------------------------------------------------------------------------------------------------------

local actor = {}
local new_actor = rt.class(ACTOR, actor, {
  tostring = function(self) return "security.Actor{" .. rt.state(self, ACTOR).id .. "}" end,
})
function actor.id(self) return state_of(self, ACTOR, "id").id end
function actor.meta(self) return (rt.unpack(state_of(self, ACTOR, "meta").meta)) end

local function actor_from(fields)
  return (new_actor({ id = fields.id, meta = meta_bytes(fields.meta, 1, "actor") }))
end

-- Policies and scopes -------------------------------------------------------------------------------------------------

-- evaluate(ids, actor, action, resource, meta) -> "allow" | "deny" | "undefined"
local function evaluate(ids, who, action, resource, meta)
  local state = rt.state(who, ACTOR)
  if not state then rt.typeerror(2, "evaluate", "actor", who, 1) end
  local fields = { id = state.id, meta = (rt.unpack(state.meta)) }
  local decision, problem = rt.perform_now(
    "security.evaluate", ids, fields, text(action, 3, "evaluate"), text(resource, 4, "evaluate"), meta_of(meta, 5, "evaluate")
  )
  if not decision then raw.error(problem, 0) end
  return decision
end

local policy = {}
local new_policy = rt.class(POLICY, policy, {
  tostring = function(self) return "security.Policy{" .. rt.state(self, POLICY).id .. "}" end,
})
function policy.id(self) return state_of(self, POLICY, "id").id end
function policy.evaluate(self, ...) return evaluate({ state_of(self, POLICY, "evaluate").id }, ...) end

local scope = {}
local new_scope = rt.class(SCOPE, scope, {
  tostring = function(self) return "security.Scope{" .. raw.table.concat(rt.state(self, SCOPE).ids, ", ") .. "}" end,
})

local function place(ids, id)
  for i = 1, #ids do
    if ids[i] == id then return i end
  end
  return nil
end

-- id_of(value, n, fname) -> id of a policy that is given as an object or by its id
local function id_of(value, n, fname)
  local state = rt.state(value, POLICY)
  if state then return state.id end
  return text(value, n, fname)
end

scope["with"] = function(self, added)
  local ids = state_of(self, SCOPE, "with").ids
  local state = rt.state(added, POLICY)
  if not state then rt.typeerror(2, "with", "policy", added) end
  if place(ids, state.id) then return self end
  local more = move(ids, 1, #ids, 1, {})
  more[#more + 1] = state.id
  return (new_scope({ ids = more }))
end
function scope.without(self, removed)
  local ids = state_of(self, SCOPE, "without").ids
  local at = place(ids, id_of(removed, 2, "without"))
  if not at then return self end
  local rest = move(ids, 1, #ids, 1, {})
  raw.table.remove(rest, at)
  return (new_scope({ ids = rest }))
end
function scope.contains(self, wanted)
  return place(state_of(self, SCOPE, "contains").ids, id_of(wanted, 2, "contains")) ~= nil
end
function scope.policies(self)
  local ids, list = state_of(self, SCOPE, "policies").ids, {}
  for i = 1, #ids do list[i] = (new_policy({ id = ids[i] })) end
  return list
end
function scope.evaluate(self, ...) return evaluate(state_of(self, SCOPE, "evaluate").ids, ...) end

-- Tokens --------------------------------------------------------------------------------------------------------------

local store = {}
local new_store = rt.class(STORE, store, {
  tostring = function(self) return rt.state(self, STORE).closed and STORE .. "{closed}" or STORE .. "{}" end,
})

-- open_store(object, fname) -> id | nil, error
local function open_store(object, fname)
  local state = state_of(object, STORE, fname)
  if state.closed then return rt.fail("Invalid", "the token store is closed") end
  return state.id
end

function store.create(self, who, what, options)
  local id, problem = open_store(self, "create")
  if not id then return nil, problem end
  local actor_state, scope_state = rt.state(who, ACTOR), rt.state(what, SCOPE)
  if not actor_state then rt.typeerror(2, "create", "actor", who) end
  if not scope_state then rt.typeerror(3, "create", "scope", what) end
  if options ~= nil and rawtype(options) ~= "table" then rt.typeerror(4, "create", "table", options) end
  options = options or {}
  local expiration = options.expiration
  if expiration ~= nil and rawtype(expiration) ~= "number" and rawtype(expiration) ~= "string" then
    return rt.fail("Invalid", "expiration must be milliseconds or a duration")
  end
  return rt.perform(
    "security.create_token", id, { id = actor_state.id, meta = (rt.unpack(actor_state.meta)) }, scope_state.ids, expiration,
    meta_of(options.meta, 4, "create")
  )
end
function store.validate(self, token)
  local id, problem = open_store(self, "validate")
  if not id then return nil, nil, problem end
  local found
  found, problem = rt.perform("security.validate_token", id, text(token, 2, "validate"))
  if not found then return nil, nil, problem end
  return actor_from(found.actor), (new_scope({ ids = found.scope })), nil
end
function store.revoke(self, token)
  local id, problem = open_store(self, "revoke")
  if not id then return nil, problem end
  return rt.perform("security.revoke_token", id, text(token, 2, "revoke"))
end
function store.close(self)
  state_of(self, STORE, "close").closed = true
  return true, nil
end

-- The module ----------------------------------------------------------------------------------------------------------

local module = {}

function module.actor()
  local fields = rt.perform_now("security.actor")
  return fields and actor_from(fields) or nil
end
function module.scope()
  local ids = rt.perform_now("security.scope")
  return ids and (new_scope({ ids = ids })) or nil
end
function module.can(action, resource, meta)
  text(action, 1, "can")
  text(resource, 2, "can")
  return rt.perform_now("security.can", action, resource, meta_of(meta, 3, "can")) == true
end
function module.policy(id)
  local found, problem = rt.perform_now("security.policy", text(id, 1, "policy"))
  if not found then return nil, problem end
  return (new_policy({ id = found })), nil
end
function module.named_scope(id)
  local ids, problem = rt.perform_now("security.group", text(id, 1, "named_scope"))
  if not ids then return nil, problem end
  return (new_scope({ ids = ids })), nil
end
function module.new_scope(policies)
  if policies ~= nil and (rawtype(policies) ~= "table" or rt.class_of(policies)) then
    rt.typeerror(1, "new_scope", "table", policies)
  end
  local ids = {}
  for i = 1, policies and #policies or 0 do
    local state = rt.state(policies[i], POLICY)
    if not state then rt.argerror(1, "new_scope", "a list of policies expected") end
    if not place(ids, state.id) then ids[#ids + 1] = state.id end
  end
  must(rt.perform_now("security.require", "security.scope.create", "custom", ""))
  return (new_scope({ ids = ids }))
end
function module.new_actor(id, meta)
  text(id, 1, "new_actor")
  if id == "" then rt.argerror(1, "new_actor", "the id of an actor cannot be empty") end
  local bytes = meta_bytes(meta, 2, "new_actor")
  must(rt.perform_now("security.require", "security.actor.create", id, ""))
  return (new_actor({ id = id, meta = bytes }))
end
function module.token_store(id)
  local found, problem = rt.perform_now("security.token_store", text(id, 1, "token_store"))
  if not found then return nil, problem end
  return (new_store({ id = found })), nil
end

return rt.readonly("security", module)
