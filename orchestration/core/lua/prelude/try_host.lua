-- try_host: like rt.host, but a value that cannot be carried to the host comes back as `nil, err`, too.
local rt = ...
local pcall, error = rt.raw.pcall, rt.raw.error

-- answer(ok, value, problem) -> value, problem: sort out what pcall caught
local function answer(ok, value, problem)
  if ok then return value, problem end
  rt.rethrow(value) -- a limit that was reached must go on up
  if rt.is_error(value) then return nil, value end
  error(value, 0)
end

-- try_host(name, ...) -> value | nil, err
return function(name, ...) return answer(pcall(rt.host, name, ...)) end
