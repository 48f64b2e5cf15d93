-- seal: calls functions that may look at the run but have no effect on it: query handlers, validators, side effects,
-- conditions. Returns sealed(label, fn, ...) -> ok, value, problem: as pcall, with two values of the function.
-- What is refused inside (to wait, spawn, yield, give a command, touch the mailbox) raises an error of kind Invalid, and
-- is the outcome of the whole call even where the function has caught it.
local rt = ...
local raw = rt.raw
local error, running = raw.error, raw.coroutine.running

return function(label, fn, ...)
  local refused
  local outer = rt.set_seal(function()
    local frame = rt.user_frames(running(), 2, 1)[1]
    local text = "refused inside " .. label .. ": code here can only look, not wait, spawn, yield or call what the history records"
    refused = refused or rt.new_error({
      message = frame and frame.source .. ":" .. frame.line .. ": " .. text or text, kind = "Invalid", retryable = false,
    })
    error(refused, 0)
  end)
  local ok, value, problem
  do
    local _ <close> = rt.forbid_block(label)
    ok, value, problem = rt.pcall(fn, ...)
  end
  rt.set_seal(outer)
  if refused then return false, refused end
  return ok, value, problem
end
