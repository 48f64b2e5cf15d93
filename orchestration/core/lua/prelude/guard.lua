-- guard: what code has to be permitted for, as far as it must be known before a command is given.
-- Adds to rt: is_guarded() -> boolean; refusal(action, resource, text) -> error object | nil; actor_of(value, fname) and
--   scope_of(value, fname) -> what a command carries of them.
-- Policies are asked in Python, by whoever performs a command (modules/permissions.py). Here is asked only what functions and
-- processes are told at once; a workflow cannot be: its refusals are recorded answers to its commands.
local rt = ...
local raw = rt.raw
local is_workflow <const> = rt.mode == "workflow"
local CHECKED_IDENTITY <const> = 2 -- flag

-- Whether anything can be refused to this code: its start names an actor and a scope, or (of functions and processes) says
-- that whoever lacks one of them may do nothing.
function rt.is_guarded()
  local meta = rt.meta
  return meta.actor ~= nil and meta.scope ~= nil or meta.strict == true
end

function rt.refusal(action, resource, text)
  if is_workflow or not rt.is_guarded() then return nil end
  rt.require_prelude("operation")
  local _, problem = rt.perform_now("security.require", action, resource, text or "")
  return problem
end

local function checked(class, what)
  return function(value, fname)
    if value == nil then rt.raise(what .. " cannot be nil") end
    local state = rt.state(value, class)
    if state then return state end
    if is_workflow and not rt.has_flag(CHECKED_IDENTITY) then return nil end
    rt.typeerror(1, fname, what, value, 1)
  end
end
local actor_state, scope_state = checked("security.Actor", "actor"), checked("security.Scope", "scope")

function rt.actor_of(value, fname)
  local state = actor_state(value, fname)
  return state and { id = state.id, meta = (rt.unpack(state.meta)) }
end
function rt.scope_of(value, fname)
  local state = scope_state(value, fname)
  return state and raw.table.move(state.ids, 1, #state.ids, 1, {})
end
return true
