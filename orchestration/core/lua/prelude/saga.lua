-- saga: compensations, kept while work is done and run in reverse when it cannot be finished. Returns workflow.saga.
-- Plain code over the tasks: what the compensations do is recorded, the list itself is not. Works in functions too.
local rt = ...
local raw = rt.raw
local rawtype, select, unpack = raw.type, raw.select, raw.table.unpack
local CLASS <const> = "workflow.Saga"

local methods = {}
local new_saga = rt.class(CLASS, methods, {
  tostring = function(self) return "workflow.Saga{" .. #rt.state(self, CLASS).steps .. "}" end,
})

local function saga_of(self, name)
  local state = rt.state(self, CLASS)
  if not state then rt.typeerror(1, name, "saga", self, 1) end
  return state
end

-- add(name?, fn, ...): keep a compensation with its arguments; the name is for the report
function methods.add(self, ...)
  local state = saga_of(self, "add")
  if state.over then rt.raise("the saga is over: it has been " .. state.over) end
  local name, at = ..., 1
  if rawtype(name) == "string" then at = 2 else name = nil end
  local fn = select(at, ...)
  if rawtype(fn) ~= "function" then rt.typeerror(at, "add", "function", fn) end
  local n = select("#", ...) - at
  state.steps[#state.steps + 1] = { name = name, fn = fn, n = n, select(at + 1, ...) }
end

-- What a compensation failed with, as an error object; nil when it did not.
local function problem_of(ok, value, problem)
  if not ok then problem = value end
  if ok and problem == nil then return nil end
  if rt.is_error(problem) then return problem end
  local kind = rawtype(problem)
  local text = (kind == "string" or kind == "number") and rt.tostring(problem) or "(error value is a " .. kind .. ")"
  return rt.new_error({ message = text, kind = "Internal", retryable = false })
end

-- compensate() -> true, nil | false, { { index =, name =, error = }, ... }: runs what was added, the last one first, and
-- goes on past those that fail. Called again, or meanwhile, it runs nothing and gives the same answer.
function methods.compensate(self)
  local state = saga_of(self, "compensate")
  if state.running then
    local task = rt.waiter()
    if task == state.task then rt.raise("a compensation cannot wait for its own saga") end
    state.waiting[#state.waiting + 1] = task
    rt.block("saga:compensate")
  elseif not state.over then
    state.over, state.running, state.waiting, state.failures = "compensated", true, {}, {}
    state.task = rt.current()
    for i = #state.steps, 1, -1 do
      local step = state.steps[i]
      local problem = problem_of(rt.pcall(step.fn, unpack(step, 1, step.n)))
      if problem then state.failures[#state.failures + 1] = { index = i, name = step.name, error = problem } end
    end
    state.steps, state.running, state.task = {}, false, nil
    for i = 1, #state.waiting do rt.wake(state.waiting[i]) end
  end
  local failures = {}
  for i = 1, #(state.failures or {}) do
    local found = state.failures[i]
    failures[i] = { index = found.index, name = found.name, error = found.error }
  end
  if #failures > 0 then return false, failures end
  return true, nil
end

-- close(): the work is done, nothing is to be undone any more
function methods.close(self)
  local state = saga_of(self, "close")
  if not state.over then state.over, state.steps = "closed", {} end
end

function methods.size(self) return #saga_of(self, "size").steps end

return function() return (new_saga({ steps = {} })) end
