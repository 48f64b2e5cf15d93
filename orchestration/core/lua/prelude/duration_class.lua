-- duration_class: lengths of time as objects. Adds to duration.lua: new(ns), divide(a, b).
local rt = ...
local CLASS <const> = "time.Duration"
local duration = rt.require_prelude("duration")

-- divide(a, b) -> quotient cut towards zero
local function divide(a, b)
  local quotient = a // b
  if quotient < 0 and quotient * b ~= a then return quotient + 1 end
  return quotient
end

local methods = {}
local function ns_of(self, name)
  local ns = rt.state(self, CLASS)
  if not ns then rt.typeerror(1, name, "Duration", self, 1) end
  return ns
end
local function split(ns, size)
  local whole = divide(ns, size)
  return whole + (ns - whole * size) / size
end
function methods.nanoseconds(self) return ns_of(self, "nanoseconds") end
function methods.microseconds(self) return divide(ns_of(self, "microseconds"), 1000) end
function methods.milliseconds(self) return divide(ns_of(self, "milliseconds"), 1000000) end
function methods.seconds(self) return split(ns_of(self, "seconds"), 1000000000) end
function methods.minutes(self) return split(ns_of(self, "minutes"), 60000000000) end
function methods.hours(self) return split(ns_of(self, "hours"), 3600000000000) end

local function compare(fn)
  return function(a, b) return fn(ns_of(a, "compare"), ns_of(b, "compare")) end
end

duration.new = rt.class(CLASS, methods, {
  tostring = function(self) return duration.to_text(rt.state(self, CLASS)) end,
  eq = function(a, b)
    local ns = rt.state(a, CLASS)
    return ns ~= nil and ns == rt.state(b, CLASS)
  end,
  lt = compare(function(a, b) return a < b end),
  le = compare(function(a, b) return a <= b end),
})
duration.divide = divide
return true
