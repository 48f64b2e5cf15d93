-- sandbox_os: os.time(table) and os.date, in the zone of the run, in the C locale. The clock is the run's own.
local rt = ...
local raw = rt.raw
local rawtype, tointeger, format, error = raw.type, raw.math.tointeger, raw.string.format, raw.error
local gsub, sub, byte, find = raw.string.gsub, raw.string.sub, raw.string.byte, raw.string.find
local calendar = rt.require_prelude("calendar")
local MOST_BYTES <const> = 4096

local DAYS <const> = { [0] = "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }
local MONTHS <const> = {
  "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
}

local function field(t, name, default)
  local value = t[name]
  if value == nil then
    if default then return default end
    error("field '" .. name .. "' missing in date table", 3)
  end
  local whole = tointeger(value) or rawtype(value) == "string" and tointeger(raw.tonumber(value))
  if not whole then error("field '" .. name .. "' is not an integer", 3) end
  if whole > 0x7fffffff or whole < -0x80000000 then error("field '" .. name .. "' is out-of-bound", 3) end
  return whole
end

-- time(table) -> seconds since 1970; the fields may be out of their ranges
local function time(t)
  if rawtype(t) ~= "table" or rt.class_of(t) then rt.typeerror(1, "time", "table", t, 1) end
  local year, month, day = field(t, "year"), field(t, "month"), field(t, "day")
  local hour, minute, second = field(t, "hour", 12), field(t, "min", 0), field(t, "sec", 0)
  return calendar.utc_of(rt.tz, calendar.second_of(year, month, day, hour, minute, second))
end

-- Weeks that begin on `first` (0 is Sunday), days before the first of them are in week 0.
local function week(now, first) return (now.yday + 6 - (now.wday - first) % 7) // 7 end

local function is_leap(year) return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) end

-- ISO 8601: year and number of the week
local function iso_week(now)
  local function weeks(year)
    local first = (calendar.days_from_civil(year, 1, 1) + 4) % 7
    return (first == 4 or first == 3 and is_leap(year)) and 53 or 52
  end
  local number = (now.yday - (now.wday + 6) % 7 + 9) // 7
  if number < 1 then return now.year - 1, weeks(now.year - 1) end
  if number > weeks(now.year) then return now.year + 1, 1 end
  return now.year, number
end

local function hour12(now) return (now.hour + 11) % 12 + 1 end
local function two(name) return function(now) return format("%02d", now[name]) end end

local write -- (format, now) -> text

local function as(pattern) return function(now) return write(pattern, now) end end

local CONVERSIONS <const> = {
  a = function(now) return sub(DAYS[now.wday], 1, 3) end,
  A = function(now) return DAYS[now.wday] end,
  b = function(now) return sub(MONTHS[now.month], 1, 3) end,
  B = function(now) return MONTHS[now.month] end,
  c = as("%a %b %e %H:%M:%S %Y"),
  C = function(now) return format("%02d", now.year // 100) end,
  d = two("day"),
  D = as("%m/%d/%y"),
  e = function(now) return format("%2d", now.day) end,
  F = as("%Y-%m-%d"),
  g = function(now) return format("%02d", (iso_week(now)) % 100) end,
  G = function(now) return format("%d", (iso_week(now))) end,
  H = two("hour"),
  I = function(now) return format("%02d", hour12(now)) end,
  j = function(now) return format("%03d", now.yday) end,
  m = two("month"),
  M = two("minute"),
  n = function() return "\n" end,
  p = function(now) return now.hour < 12 and "AM" or "PM" end,
  r = as("%I:%M:%S %p"),
  R = as("%H:%M"),
  s = function(now) return format("%d", now.epoch) end,
  S = two("second"),
  t = function() return "\t" end,
  T = as("%H:%M:%S"),
  u = function(now) return format("%d", (now.wday + 6) % 7 + 1) end,
  U = function(now) return format("%02d", week(now, 0)) end,
  V = function(now)
    local _, number = iso_week(now)
    return format("%02d", number)
  end,
  w = function(now) return format("%d", now.wday) end,
  W = function(now) return format("%02d", week(now, 1)) end,
  x = as("%m/%d/%y"),
  X = as("%H:%M:%S"),
  y = function(now) return format("%02d", now.year % 100) end,
  Y = function(now) return format("%d", now.year) end,
  z = function(now)
    local size = now.offset < 0 and -now.offset or now.offset
    return format("%s%02d%02d", now.offset < 0 and "-" or "+", size // 3600, size % 3600 // 60)
  end,
  Z = function(now) return now.zone end,
  ["%"] = function() return "%" end,
}
CONVERSIONS.h = CONVERSIONS.b

function write(pattern, now)
  return (gsub(pattern, "%%(.?)", function(name) return CONVERSIONS[name](now) end))
end

-- date(format?, time?) -> text, or a table for *t; "!" before the format is UTC
local function date(pattern, at)
  if pattern == nil then pattern = "%c" end
  if rawtype(pattern) ~= "string" then rt.typeerror(1, "date", "string", pattern, 1) end
  if #pattern > MOST_BYTES then rt.argerror(1, "date", "format too long", 1) end
  local second = at == nil and rt.now_ns() // 1000000000 or tointeger(at)
  if not second then
    if rawtype(at) ~= "number" then rt.typeerror(2, "date", "number", at, 1) end
    rt.argerror(2, "date", "number has no integer representation", 1)
  end
  if second > 0xffffffffffff or second < -0xffffffffffff then
    rt.argerror(2, "date", "time out-of-bounds", 1)
  end
  local zone = rt.tz
  if byte(pattern, 1) == 33 then
    pattern, zone = sub(pattern, 2), "UTC"
  end
  local offset, name, is_summer = calendar.offset(zone, second)
  local year, month, day, hour, minute, rest, weekday, day_of_year = calendar.civil(second + offset)
  if find(pattern, "^%*t") then
    return {
      year = year, month = month, day = day, hour = hour, min = minute, sec = rest,
      wday = weekday + 1, yday = day_of_year, isdst = is_summer,
    }
  end
  for conversion in raw.string.gmatch(pattern, "%%(.?)") do
    if not CONVERSIONS[conversion] then
      rt.argerror(1, "date", "invalid conversion specifier '%" .. conversion .. "'", 1)
    end
  end
  rt.charge(#pattern * 10)
  return write(pattern, {
    year = year, month = month, day = day, hour = hour, minute = minute, second = rest, wday = weekday, yday = day_of_year,
    epoch = second, offset = offset, zone = name,
  })
end

return { time = time, date = date }
