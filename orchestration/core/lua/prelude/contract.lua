-- contract: calls of functions through contracts that bindings implement. For functions and processes.
--   get(id) -> Contract: id(), methods(), method(name), implementations(), open(binding?, ctx?),
--     with_context(values), with_actor(actor), with_scope(scope), each of which makes a new one
--   open(binding_id, ctx?) -> Instance: instance:method(...) -> value, error; instance:method_async(...) -> future
--   find_implementations(id) -> ids of bindings; is(instance, id) -> boolean
-- A binding id may carry context values: "ns:binding?key=value". Later goes before earlier: those of the caller,
-- with_context, the binding id, ctx. Bindings are chosen in Python (modules/contract.py), calls are those of funcs.
local rt = ...
local raw = rt.raw
local rawtype, next, sub = raw.type, raw.next, raw.string.sub
local CONTRACT <const>, INSTANCE <const> = "contract.Contract", "contract.Instance"
local ASYNC <const> = "_async"
rt.require_prelude("operation")

local function text_argument(value, n, fname)
  if rawtype(value) ~= "string" then rt.typeerror(n, fname, "string", value, 1) end
end
local function table_argument(value, n, fname)
  if rawtype(value) ~= "table" or rt.class_of(value) then rt.typeerror(n, fname, "table", value, 1) end
end
local function add_values(values, into) return rt.require_prelude("options").values(values, into) end

-- Instances ----------------------------------------------------------------------------------------------------------

-- find(state, name) -> the id of a function, "call" or "async"; nil, error
local function find(state, name)
  local target = state.methods[name]
  if target then return target, "call" end
  local stem = sub(name, -#ASYNC) == ASYNC and sub(name, 1, -#ASYNC - 1) or nil
  target = stem and state.methods[stem]
  if target then return target, "async" end
  if state.unbound[name] or state.unbound[stem] then
    return rt.fail("NotFound", "the binding " .. state.id .. " has no function for the method " .. name)
  end
  return rt.fail("NotFound", "no contract of the binding " .. state.id .. " has a method " .. name)
end

local new_instance = rt.class(INSTANCE, function(_, name)
  if rawtype(name) ~= "string" then return nil end
  return function(self, ...)
    local state = rt.state(self, INSTANCE)
    if not state then rt.typeerror(1, name, "contract.Instance, called with a colon,", self, 1) end
    local target, how = find(state, name)
    if not target then return nil, how end
    return state.executor[how](state.executor, target, ...)
  end
end, { tostring = function(self) return INSTANCE .. "{" .. rt.state(self, INSTANCE).id .. "}" end })

local function set_of(list)
  local found = {}
  for i = 1, #list do found[list[i]] = true end
  return found
end

-- open(contract_id, executor, given, binding, ctx, fname): given are context values of with_context
local function open(contract_id, executor, given, binding, ctx)
  local values = add_values(ctx or {}, {})
  local names = {}
  for _, map in raw.ipairs { rt.context, given, values } do
    for name in next, map do names[#names + 1] = name end
  end
  local found, problem = rt.perform_now("contract.open", contract_id, binding, names)
  if not found then return nil, problem end
  local context = add_values(values, add_values(found.context, add_values(given, {})))
  if next(context) ~= nil then
    executor, problem = executor:with_context(context)
    if not executor then return nil, problem end
  end
  return (new_instance({
    id = found.id, executor = executor, methods = found.methods,
    contracts = set_of(found.contracts), unbound = set_of(found.unbound),
  })), nil
end

-- Contracts ----------------------------------------------------------------------------------------------------------

local methods = {}
local new_contract = rt.class(CONTRACT, methods, {
  tostring = function(self) return CONTRACT .. "{" .. rt.state(self, CONTRACT).id .. "}" end,
})
local function contract_of(self, fname)
  local state = rt.state(self, CONTRACT)
  if not state then rt.typeerror(1, fname, "contract.Contract, called with a colon,", self, 1) end
  return state
end

function methods.id(self) return contract_of(self, "id").id end
function methods.methods(self) return rt.perform_now("contract.methods", contract_of(self, "methods").id) end
function methods.method(self, name)
  local state = contract_of(self, "method")
  text_argument(name, 1, "method")
  local all, problem = rt.perform_now("contract.methods", state.id)
  if not all then return nil, problem end
  for i = 1, #all do
    if all[i].name == name then return all[i], nil end
  end
  return rt.fail("NotFound", "the contract " .. state.id .. " has no method " .. name)
end
function methods.implementations(self)
  return rt.perform_now("contract.implementations", contract_of(self, "implementations").id)
end

function methods.open(self, binding, ctx)
  local state = contract_of(self, "open")
  if binding ~= nil then text_argument(binding, 1, "open") end
  if binding == "" then return rt.fail("Invalid", "binding ID required") end
  if ctx ~= nil then table_argument(ctx, 2, "open") end
  return open(state.id, state.executor, state.given, binding, ctx)
end

function methods.with_context(self, values)
  local state = contract_of(self, "with_context")
  table_argument(values, 1, "with_context")
  return (new_contract({ id = state.id, executor = state.executor, given = add_values(values, add_values(state.given, {})) }))
end
local function with(fname)
  return function(self, value)
    local state = contract_of(self, fname)
    local executor, problem = state.executor[fname](state.executor, value)
    if not executor then return nil, problem end
    return (new_contract({ id = state.id, executor = executor, given = state.given }))
  end
end
methods.with_actor, methods.with_scope = with("with_actor"), with("with_scope")

-- The module ---------------------------------------------------------------------------------------------------------

local function named(value, fname, what)
  text_argument(value, 1, fname)
  if value == "" then return rt.fail("Invalid", what .. " ID required") end
  return true
end

return rt.readonly("contract", {
  get = function(id)
    local ok, problem = named(id, "get", "contract")
    if ok then ok, problem = rt.perform_now("contract.get", id) end
    if not ok then return nil, problem end
    return (new_contract({ id = id, executor = rt.require_prelude("funcs").new(), given = {} })), nil
  end,
  open = function(binding, ctx)
    local ok, problem = named(binding, "open", "binding")
    if not ok then return nil, problem end
    if ctx ~= nil then table_argument(ctx, 2, "open") end
    return open(nil, rt.require_prelude("funcs").new(), {}, binding, ctx)
  end,
  find_implementations = function(id)
    local ok, problem = named(id, "find_implementations", "contract")
    if not ok then return nil, problem end
    return rt.perform_now("contract.implementations", id)
  end,
  is = function(instance, id)
    text_argument(id, 2, "is")
    local state = rt.state(instance, INSTANCE)
    return state ~= nil and state.contracts[id] == true
  end,
})
