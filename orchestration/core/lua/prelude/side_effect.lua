-- side_effect: a value that is made once and recorded. Returns workflow.side_effect.
-- SIDE_EFFECT: number, how, value; how is "value", "error" (the function returned nil, error) or "raised".
local rt = ...
local raw = rt.raw
local rawtype, error = raw.type, raw.error
local pack_str, pack_bin = rt.pack_str, rt.pack_bin
local sealed = rt.require_prelude("seal")
local is_workflow <const> = rt.mode == "workflow"

-- make(number, fn) -> how, bytes. What it draws and how long it takes is nothing to the rest of the run: a replay has neither.
local function make(number, fn)
  local restore_random, restore_budget = rt.random_aside(number), rt.spend_aside()
  rt.in_side_effect = true
  local ok, value, problem = sealed("a side effect", fn)
  rt.in_side_effect = nil
  restore_budget()
  restore_random()
  if not ok then
    if value == "stack overflow" then rt.trip("depth") end
    return "raised", rt.failure_bytes(value)
  end
  local bytes
  ok, bytes = rt.outcome(value, problem)
  return ok and "value" or "error", bytes
end

return function(fn)
  if rawtype(fn) ~= "function" then rt.typeerror(1, "side_effect", "function", fn) end
  if not is_workflow then return rt.fail("Invalid", "workflow.side_effect only available in workflow context") end
  rt.check_seal()
  local number = rt.next_number()
  local known, how, bytes = rt.effects and rt.effects[number], "value", "\xc0"
  if known then
    rt.effects[number] = nil
    how, bytes = known[2], known[3]
  elseif not rt.replaying then
    how, bytes = make(number, fn)
  end -- else the history has something else here, and the replay will say so
  rt.command(77, 2, pack_str(how) .. pack_bin(bytes))
  rt.seed_random(raw.string.unpack("<i8i8", rt.random(16))) -- the function may have drawn numbers, a replay has not
  if how == "value" then return (rt.unpack(bytes)), nil end
  local problem = rt.error_from(bytes)
  if how == "raised" then error(problem, 0) end
  return nil, problem
end
