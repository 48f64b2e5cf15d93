-- math_library: what Lua's math library had once and a run still finds there.
local rt = ...
local raw = rt.raw
local math = rt.libs.math
local exp, log, floor, fmod = raw.math.exp, raw.math.log, raw.math.floor, raw.math.fmod

function math.pow(x, y) return x ^ y end
function math.log10(x) return log(x, 10) end
function math.sinh(x) return (exp(x) - exp(-x)) / 2 end
function math.cosh(x) return (exp(x) + exp(-x)) / 2 end
function math.tanh(x)
  if x > 20 then return 1.0 elseif x < -20 then return -1.0 end
  local e = exp(2 * x)
  return (e - 1) / (e + 1)
end
function math.atan2(y, x) return raw.math.atan(y, x) end
math.mod = fmod
function math.ldexp(m, e) return m * 2.0 ^ e end
function math.frexp(x)
  if x == 0 or x ~= x or x == 1 / 0 or x == -1 / 0 then return x, 0 end
  local e = floor(log(x < 0 and -x or x, 2)) + 1
  local m = x / 2.0 ^ e
  if m >= 1 or m <= -1 then m, e = m / 2, e + 1 elseif m < 0.5 and m > -0.5 then m, e = m * 2, e - 1 end
  return m, e
end
return true
