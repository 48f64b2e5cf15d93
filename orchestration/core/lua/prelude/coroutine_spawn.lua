-- coroutine_spawn: coroutine.spawn(fn) -> thread: the new task runs first, then the caller goes on.
local rt = ...

function rt.libs.coroutine.spawn(fn)
  if rt.raw.type(fn) ~= "function" then rt.typeerror(1, "spawn", "function", fn) end
  local caller = rt.waiter()
  local task = rt.launch(fn)
  rt.ready(caller)
  rt.raw.coroutine.yield(rt.block_token)
  return task.co
end
return true
