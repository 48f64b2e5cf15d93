-- sandbox_os: os.time(table) and os.date, in the zone of the run (rt.tz) and without the C library, whose answers depend
-- on the machine.
local rt = ...
local raw = rt.raw
local ctype, cerror = raw.type, raw.error
local format, gsub, sub, find = raw.string.format, raw.string.gsub, raw.string.sub, raw.string.find
local tointeger = raw.math.tointeger
local calendar = rt.require_prelude("calendar")
local days_from_civil = calendar.days_from_civil

local DAYS = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }
local MONTHS = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December" }

local function broken_down(second, is_summer)
  local year, month, day, hour, minute, rest, weekday, day_of_year = calendar.civil(second)
  return {
    year = year, month = month, day = day, hour = hour, min = minute, sec = rest,
    wday = weekday + 1, yday = day_of_year, isdst = is_summer,
  }
end

local function field(t, name, default)
  local v = t[name]
  if v == nil then
    if default then return default end
    cerror("field '" .. name .. "' missing in date table", 4)
  end
  local n = tointeger(v) or tointeger(raw.tonumber(v))
  if not n then cerror("field '" .. name .. "' is not an integer", 4) end
  if n > 1000000000 or n < -1000000000 then cerror("field '" .. name .. "' is out-of-bound", 4) end
  return n
end

local os = {}

function os.time(t)
  if ctype(t) ~= "table" or rt.is_opaque(t) then rt.typeerror(1, "time", "table", t) end
  local y, m, d = field(t, "year"), field(t, "month"), field(t, "day")
  local h, mi, s = field(t, "hour", 12), field(t, "min", 0), field(t, "sec", 0)
  local seconds = calendar.utc_of(rt.tz, calendar.second_of(y, m, d, h, mi, s))
  local offset, _, is_summer = calendar.offset(rt.tz, seconds)
  for name, value in raw.next, broken_down(seconds + offset, is_summer) do t[name] = value end
  return seconds
end

local function iso_week(t)
  local weekday = (t.wday + 5) % 7 -- Monday is 0
  local year, week = t.year, (t.yday - 1 - weekday + 10) // 7
  local function weeks(y)
    local first = (days_from_civil(y, 1, 1) + 3) % 7
    local leap = y % 4 == 0 and (y % 100 ~= 0 or y % 400 == 0)
    return (first == 3 or leap and first == 2) and 53 or 52
  end
  if week < 1 then return year - 1, weeks(year - 1) end
  if week > weeks(year) then return year + 1, 1 end
  return year, week
end

local function two(n) return format("%02d", n) end

local ITEMS
ITEMS = {
  a = function(t) return sub(DAYS[t.wday], 1, 3) end, A = function(t) return DAYS[t.wday] end,
  b = function(t) return sub(MONTHS[t.month], 1, 3) end, B = function(t) return MONTHS[t.month] end,
  c = function(t) return format("%s %s %2d %s %d", ITEMS.a(t), ITEMS.b(t), t.day, ITEMS.T(t), t.year) end,
  C = function(t) return two(t.year // 100) end, d = function(t) return two(t.day) end,
  D = function(t) return format("%02d/%02d/%02d", t.month, t.day, t.year % 100) end,
  e = function(t) return format("%2d", t.day) end,
  F = function(t) return format("%d-%02d-%02d", t.year, t.month, t.day) end,
  g = function(t) return two((iso_week(t)) % 100) end, G = function(t) return format("%d", (iso_week(t))) end,
  H = function(t) return two(t.hour) end, I = function(t) return two((t.hour + 11) % 12 + 1) end,
  j = function(t) return format("%03d", t.yday) end, m = function(t) return two(t.month) end,
  M = function(t) return two(t.min) end, n = function() return "\n" end,
  p = function(t) return t.hour < 12 and "AM" or "PM" end,
  r = function(t) return format("%s:%02d:%02d %s", ITEMS.I(t), t.min, t.sec, ITEMS.p(t)) end,
  R = function(t) return format("%02d:%02d", t.hour, t.min) end, S = function(t) return two(t.sec) end,
  t = function() return "\t" end, T = function(t) return format("%02d:%02d:%02d", t.hour, t.min, t.sec) end,
  u = function(t) return format("%d", (t.wday + 5) % 7 + 1) end, w = function(t) return format("%d", t.wday - 1) end,
  U = function(t) return two((t.yday + 7 - t.wday) // 7) end,
  V = function(t) local _, week = iso_week(t) return two(week) end,
  W = function(t) return two((t.yday + 6 - (t.wday + 5) % 7) // 7) end,
  y = function(t) return two(t.year % 100) end, Y = function(t) return format("%d", t.year) end,
  z = function(t)
    local minutes = t.offset // 60
    local sign = minutes < 0 and "-" or "+"
    if minutes < 0 then minutes = -minutes end
    return format("%s%02d%02d", sign, minutes // 60, minutes % 60)
  end,
  Z = function(t) return t.zone end, s = function(t) return format("%d", t.seconds) end,
}
ITEMS.h, ITEMS.x, ITEMS.X = ITEMS.b, ITEMS.D, ITEMS.T
ITEMS["%"] = function() return "%" end

function os.date(fmt, time)
  if fmt == nil then fmt = "%c" elseif ctype(fmt) ~= "string" then fmt = rt.text_argument(fmt, 1, "date") end
  local seconds = rt.now_ns() // 1000000000
  if time ~= nil then
    seconds = tointeger(time) or tointeger(raw.tonumber(time))
    if not seconds then
      if ctype(time) == "number" then rt.argerror(2, "date", "number has no integer representation") end
      rt.typeerror(2, "date", "number", time)
    end
    if seconds > 67767976233532799 or seconds < -67768040609740800 then
      cerror("date result cannot be represented in this installation", 2)
    end
  end
  local utc = sub(fmt, 1, 1) == "!"
  if utc then fmt = sub(fmt, 2) end
  local offset, zone, is_summer = calendar.offset(utc and "UTC" or rt.tz, seconds)
  local t = broken_down(seconds + offset, is_summer)
  if sub(fmt, 1, 2) == "*t" then return t end
  t.offset, t.zone, t.seconds = offset, utc and "GMT" or zone, seconds
  rt.charge(#fmt * 4)
  if find(gsub(fmt, "%%%%", ""), "%%$") then rt.argerror(1, "date", "invalid conversion specifier '%'") end
  local bad
  local text = gsub(fmt, "%%([EO]?.)", function(letter)
    local item = ITEMS[sub(letter, -1)]
    if not item then
      bad = letter
      return ""
    end
    return item(t)
  end)
  if bad then rt.argerror(1, "date", "invalid conversion specifier '%" .. bad .. "'") end
  return text
end

return os
