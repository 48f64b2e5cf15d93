-- handlers: what others can ask of a run: queries look at it, updates change it and have an answer.
-- Returns { query, update } for the module workflow, and for the machine { ask, handlers, admit, validate }.
-- Queries and validators are called on a machine that is thrown away afterwards; an update is an input, handled by a task.
local rt = ...
local raw = rt.raw
local rawtype, sub, next, unpack, rawget = raw.type, raw.string.sub, raw.next, raw.table.unpack, raw.rawget
local unpack_at, pack_str, pack_bin = rt.unpack_at, rt.pack_str, rt.pack_bin
local sealed = rt.require_prelude("seal")
local is_workflow <const> = rt.mode == "workflow"
local MOST_NAMED <const> = 20

local queries = {} -- name -> function
local updates = {} -- name -> { handle =, validate = }

local function names_of(handlers)
  local names = {}
  for name in next, handlers do names[#names + 1] = name end
  raw.table.sort(names)
  return names
end

-- unknown(what, name, handlers) -> bytes of a failure that lists the names there are
local function unknown(what, name, handlers)
  local names = names_of(handlers)
  local list = raw.table.concat(names, ", ", 1, #names < MOST_NAMED and #names or MOST_NAMED)
  if #names > MOST_NAMED then list = list .. ", and " .. #names - MOST_NAMED .. " more" end
  return rt.failure_bytes(rt.new_error({
    message = "no " .. what .. " handler is registered for '" .. name .. "' (registered: " .. (#names > 0 and list or "none") .. ")",
    kind = "NotFound",
    retryable = false,
  }))
end

-- Registration -----------------------------------------------------------------------------------------------------

local function check(fname, name)
  if not is_workflow then return rt.fail("Invalid", "workflow." .. fname .. " only available in workflow context") end
  rt.check_seal()
  if name == "" then return rt.fail("Invalid", fname .. " name required") end
  if sub(name, 1, 1) == "@" then return rt.fail("Invalid", fname .. " names cannot begin with @") end
  return true
end

local function query(name, fn)
  if rawtype(name) ~= "string" then rt.typeerror(1, "query", "string", name) end
  if rawtype(fn) ~= "function" then rt.typeerror(2, "query", "function", fn) end
  local ok, problem = check("query", name)
  if not ok then return nil, problem end
  queries[name] = fn
  return true, nil
end

local function update(name, fn, options)
  if rawtype(name) ~= "string" then rt.typeerror(1, "update", "string", name) end
  if rawtype(fn) ~= "function" then rt.typeerror(2, "update", "function", fn) end
  if options ~= nil and (rawtype(options) ~= "table" or rt.class_of(options)) then rt.typeerror(3, "update", "table", options) end
  local validate = options and rawget(options, "validate")
  if validate ~= nil and rawtype(validate) ~= "function" then
    rt.argerror(3, "update", "validate: function expected, got " .. rt.type(validate))
  end
  local ok, problem = check("update", name)
  if not ok then return nil, problem end
  local unknown -- the first by name: the order of a table must not decide what the code is told
  for key in next, options or {} do
    local text = key ~= "validate" and rt.tostring(key)
    if text and (not unknown or text < unknown) then unknown = text end
  end
  if unknown then return rt.fail("Invalid", "option " .. unknown .. " is not supported") end
  updates[name] = { handle = fn, validate = validate }
  return true, nil
end

-- Questions from outside -----------------------------------------------------------------------------------------------

local function handlers()
  return { queries = names_of(queries), updates = names_of(updates) }
end

local built_in = {
  ["@handlers"] = handlers,
  ["@places"] = function() return rt.places() end,
}

-- ask(name, args) -> ok, bytes: call a query handler; the result, or the failure
local function ask(name, args)
  local fn = queries[name] or built_in[name]
  if not fn then return false, unknown("query", name, queries) end
  rt.replaying = false
  local n, values = rt.unpack_list(args)
  local ok, value, problem = sealed("the query '" .. name .. "'", fn, unpack(values, 1, n))
  if not ok then return false, rt.failure_bytes(value) end
  return rt.outcome(value, problem)
end

-- admit(name) -> status, bytes: what an update meets: "plain", "validated", or "unknown" and the failure
local function admit(name)
  local handler = updates[name]
  if not handler then return "unknown", unknown("update", name, updates) end
  return handler.validate and "validated" or "plain"
end

-- validate(name, args) -> bytes of a failure, or nil: a validator refuses by raising, or by `false` or `nil, error`
local function validate(name, args)
  local handler = updates[name]
  if not handler or not handler.validate then return nil end
  rt.replaying = false
  local n, values = rt.unpack_list(args)
  local ok, value, problem = sealed("the validator of '" .. name .. "'", handler.validate, unpack(values, 1, n))
  if not ok then return rt.failure_bytes(value) end
  if problem == nil and value ~= false then return nil end
  if problem ~= nil and not rt.is_error(problem) then problem = rt.tostring(problem) end
  return rt.failure_bytes(rt.is_error(problem) and problem or rt.new_error({
    message = problem or "refused by the validator of '" .. name .. "'", kind = "Invalid", retryable = false,
  }))
end

-- Updates --------------------------------------------------------------------------------------------------------------

-- UPDATE: id, name, args, from
rt.on_input(13, function(event, pos)
  local id, name, args
  id, pos = unpack_at(event, pos)
  name, pos = unpack_at(event, pos)
  args = unpack_at(event, pos)
  local handler = updates[name]
  if not handler then return rt.misfit("a handler of the update '" .. name .. "', and the code has none") end
  rt.launch(function()
    local n, values = rt.unpack_list(args)
    local ok, value, problem = rt.pcall(handler.handle, unpack(values, 1, n))
    if not ok and value == "stack overflow" then rt.trip("depth") end -- a limit, as in the main function
    local bytes
    if ok then ok, bytes = rt.outcome(value, problem) else bytes = rt.failure_bytes(value) end
    rt.note(76, 3, pack_str(id) .. (ok and "\xc3" or "\xc2") .. pack_bin(bytes))
  end)
end)

-- Somebody may still ask: a run with a handler is not deadlocked.
rt.has_waits(function() return next(updates) ~= nil end)

return {
  query = query, update = update, ask = ask, admit = admit, validate = validate,
  handlers = function() return rt.pack(handlers()) end,
}
