-- timer_commands: the commands that start and cancel a timer. Adds to rt: start_timer, cancel_timer.
local rt = ...

-- start_timer(delay_ms, receiver) -> id: receiver as in on_result
function rt.start_timer(delay_ms, receiver)
  local number = rt.command(65, 1, rt.pack_int(delay_ms))
  rt.on_result(number, receiver)
  return number
end

-- cancel_timer(id) -> true if it had not fired
function rt.cancel_timer(number)
  rt.check_seal()
  if not rt.forget(number) then return false end
  rt.notice(66, number)
  return true
end
return true
