-- machine_questions: what is asked of a run seldom, or by those who look into it. Adds to what machine.lua returns:
--   apply_traced, trace, open_commands, set_versions, set_effects, ask.
local rt = ...
local raw = rt.raw
local next, machine = raw.next, rt.machine

-- Tracing: the line of user code that gave each command, for reports about replays that differ.
local lines

function machine.trace()
  rt.set_on_command(function()
    local frame = rt.user_frames(raw.coroutine.running(), 0, 1)[1]
    lines[#lines + 1] = frame and frame.source .. ":" .. frame.line or ""
  end)
end

function machine.apply_traced(event)
  lines = {}
  rt.apply(event, true)
  return rt.pack(lines)
end

function machine.open_commands() return rt.pack(rt.open_commands()) end

function machine.set_versions(bytes)
  local found = rt.unpack(bytes)
  rt.markers = rt.markers or {}
  for id, version in next, found do rt.markers[id] = version end
end

function machine.set_effects(bytes)
  local found = rt.unpack(bytes)
  rt.effects = rt.effects or {}
  for i = 1, #found do rt.effects[found[i][1]] = found[i] end
end

-- Questions from outside the history: handlers.lua says which there are.
function machine.ask(what, ...)
  rt.reset_budget()
  return rt.require_prelude("handlers")[what](...)
end
return true
