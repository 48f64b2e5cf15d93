-- duration: lengths of time in whole nanoseconds, and how Go writes them ("1h30m45s").
-- Returns { new(ns), to_ns(value), to_text(ns), to_ms(ns), divide(a, b) }.
-- Source: Go time package, time.go (Duration.String) and format.go (ParseDuration).
local rt = ...
local raw = rt.raw
local rawtype, math_type, mininteger, maxinteger = raw.type, raw.math.type, raw.math.mininteger, raw.math.maxinteger
local match, format, gsub, sub = raw.string.match, raw.string.format, raw.string.gsub, raw.string.sub
local byte, tonumber = raw.string.byte, raw.tonumber
local CLASS <const> = "time.Duration"
local MOST_BYTES <const> = 256

local UNITS <const> = {
  ns = 1, us = 1000, ["\u{b5}s"] = 1000, ["\u{3bc}s"] = 1000, ms = 1000000,
  s = 1000000000, m = 60000000000, h = 3600000000000,
}

-- divide(a, b) -> quotient cut towards zero
local function divide(a, b)
  local quotient = a // b
  if quotient < 0 and quotient * b ~= a then return quotient + 1 end
  return quotient
end

-- parse(text) -> nanoseconds | nil
local function parse(text)
  if #text > MOST_BYTES then return nil end
  local sign, rest = match(text, "^([+-]?)(.*)$")
  if rest == "0" then return 0 end
  if rest == "" or rest == nil then return nil end
  local total = 0
  while rest ~= "" do
    local whole, point, fraction, unit, after = match(rest, "^(%d*)(%.?)(%d*)([^%d.]+)(.*)$")
    if not whole or (whole == "" and fraction == "") or (point == "" and fraction ~= "") then return nil end
    local size = UNITS[unit]
    if not size then return nil end
    whole = gsub(whole, "^0+", "")
    if #whole > 19 then return nil end
    local count = whole == "" and 0 or tonumber(whole)
    if math_type(count) ~= "integer" or count > maxinteger // size then return nil end
    local part = count * size
    local digits, scale = 0, 1.0
    for i = 1, #fraction do
      -- What does not fit is less than any nanosecond.
      if digits > maxinteger // 10 then break end
      local longer = digits * 10 + byte(fraction, i) - 48
      if longer < 0 then break end
      digits, scale = longer, scale * 10
    end
    part = part + ((digits * (size / scale) // 1) | 0)
    if part < 0 then return nil end
    total = total + part
    if total < 0 then return nil end
    rest = after
  end
  return sign == "-" and -total or total
end

-- to_text(ns) -> as Go writes it
local function to_text(ns)
  if ns == 0 then return "0s" end
  if ns == mininteger then return "-2562047h47m16.854775808s" end
  local sign = ns < 0 and "-" or ""
  if ns < 0 then ns = -ns end
  local function decimal(value, size, digits)
    local text = format("%d.%0" .. digits .. "d", value // size, value % size)
    return (gsub(gsub(text, "0+$", ""), "%.$", ""))
  end
  if ns < 1000 then return format("%s%dns", sign, ns) end
  if ns < 1000000 then return sign .. decimal(ns, 1000, 3) .. "\u{b5}s" end
  if ns < 1000000000 then return sign .. decimal(ns, 1000000, 6) .. "ms" end
  local seconds = ns // 1000000000
  local hours, minutes = seconds // 3600, seconds % 3600 // 60
  local text = decimal(ns % 60000000000, 1000000000, 9) .. "s"
  if hours > 0 then return format("%s%dh%dm%s", sign, hours, minutes, text) end
  if minutes > 0 then return format("%s%dm%s", sign, minutes, text) end
  return sign .. text
end

-- to_ns(value) -> nanoseconds | nil, why not: a number of nanoseconds, Go's text, or a Duration
local function to_ns(value)
  local kind = rawtype(value)
  if kind == "number" then
    if math_type(value) == "integer" then return value end
    if value ~= value or value >= 2.0 ^ 63 or value < -2.0 ^ 63 then return nil, "duration is out of range" end
    return (value < 0 and -(-value // 1) or value // 1) | 0
  elseif kind == "string" then
    local ns = parse(value)
    if ns then return ns end
    return nil, 'invalid duration "' .. sub(value, 1, 64) .. '"'
  end
  local ns = rt.state(value, CLASS)
  if ns then return ns end
  return nil, "duration must be a number of nanoseconds, a text such as \"1h30m\" or a Duration"
end

-- to_ms(ns) -> milliseconds, rounded up: a timer is never early
local function to_ms(ns)
  local ms = ns // 1000000
  if ms * 1000000 < ns then return ms + 1 end
  return ms
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

local new = rt.class(CLASS, methods, {
  tostring = function(self) return to_text(rt.state(self, CLASS)) end,
  eq = function(a, b)
    local ns = rt.state(a, CLASS)
    return ns ~= nil and ns == rt.state(b, CLASS)
  end,
  lt = compare(function(a, b) return a < b end),
  le = compare(function(a, b) return a <= b end),
})

return { new = new, to_ns = to_ns, to_text = to_text, to_ms = to_ms, divide = divide }
