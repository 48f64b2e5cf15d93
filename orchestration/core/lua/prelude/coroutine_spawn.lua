-- coroutine_spawn: coroutine.spawn(fn), a task of its own.
local rt = ...

function rt.libs.coroutine.spawn(fn)
  if rt.raw.type(fn) ~= "function" then rt.typeerror(1, "spawn", "function", fn) end
  return rt.spawn(fn)
end
return true
