-- dates: instants as clocks and calendars show them, in zones. Adds methods to Time, and to the module time: date, parse,
-- parse_duration, load_location, fixed_zone. Returns text(Time).
local rt = ...
local raw = rt.raw
local rawtype, format, fail, time = raw.type, raw.string.format, rt.fail, rt.time
local duration, calendar, instants = rt.require_prelude("duration"), rt.require_prelude("calendar"), rt.require_prelude("instants")
local civil, second_of = calendar.civil, calendar.second_of
local methods, integer, length, location_of = instants.methods, instants.integer, instants.length, instants.location_of
local new_location, make, time_of, shifted = instants.new_location, instants.make, instants.time_of, instants.shifted
local utc, localtz = time.utc, time.localtz
local TIME <const>, LOCATION <const> = "time.Time", "time.Location"
local NS <const> = 1000000000
local YEAR_ONE <const> = -62135596800 -- seconds of 0001-01-01, Go's zero time
local RFC3339 <const> = "2006-01-02T15:04:05Z07:00"

local function text(value, n, fname)
  if rawtype(value) ~= "string" then rt.typeerror(n, fname, "string", value, 1) end
  return value
end

-- Locations -----------------------------------------------------------------------------------------------------

-- offset_of(location, second) -> seconds east of UTC, abbreviation
local function offset_of(location, second)
  local state = rt.state(location, LOCATION)
  if state.offset then return state.offset, state.label end
  return calendar.offset(state.zone, second)
end

local function utc_of(location, second)
  local state = rt.state(location, LOCATION)
  if state.offset then return second - state.offset end
  return calendar.utc_of(state.zone, second)
end

function time.load_location(name)
  if rawtype(name) ~= "string" then return fail("Invalid", "time.load_location: the name must be a string") end
  if name == "" then return fail("Invalid", "time.load_location: the name is empty") end
  if name == "UTC" then return utc end
  if name == "Local" then return localtz end
  rt.charge(2000)
  local found, problem = rt.host("time.zone", name)
  if not found then return nil, problem end
  return (new_location({ label = name, zone = name }))
end

function time.fixed_zone(name, offset)
  text(name, 1, "fixed_zone")
  local seconds = integer(offset, 2, "fixed_zone")
  if seconds > 1000000 or seconds < -1000000 then rt.argerror(2, "fixed_zone", "offset is out of range") end
  return (new_location({ label = name, offset = seconds }))
end

-- for the host: what `layout_reader` calls a location
local function described(location)
  local state = rt.state(location, LOCATION)
  if state.offset then return { state.label, state.offset } end
  return { state.zone }
end

-- Instants ------------------------------------------------------------------------------------------------------

-- shown(state) -> year, month, day, hour, minute, second, weekday, day of the year: what the clock there shows
local function shown(state)
  return civil(state.sec + (offset_of(state.loc, state.sec)))
end

local function written(state, layout)
  local offset, name = offset_of(state.loc, state.sec)
  rt.charge(#layout * 10 + 500)
  return rt.host("time.format", layout, state.sec, state.nsec, offset, name)
end

function methods.add_date(self, years, months, days)
  local state = time_of(self, 1, "add_date")
  local year, month, day, hour, minute, second = shown(state)
  local sec = second_of(year + integer(years, 1, "add_date"), month + integer(months, 2, "add_date", 0),
    day + integer(days, 3, "add_date", 0), hour, minute, second)
  return make(utc_of(state.loc, sec), state.nsec, state.loc)
end

function methods.format(self, layout)
  return written(time_of(self, 1, "format"), text(layout, 1, "format"))
end

function methods.format_rfc3339(self)
  local state = time_of(self, 1, "format_rfc3339")
  local offset = offset_of(state.loc, state.sec)
  local year, month, day, hour, minute, second = civil(state.sec + offset)
  if year < 0 then return (written(state, RFC3339)) end
  local zone = "Z"
  if offset ~= 0 then
    local size = offset < 0 and -offset or offset
    zone = format("%s%02d:%02d", offset < 0 and "-" or "+", size // 3600, size % 3600 // 60)
  end
  return format("%04d-%02d-%02dT%02d:%02d:%02d%s", year, month, day, hour, minute, second, zone)
end

function methods.date(self)
  local year, month, day = shown(time_of(self, 1, "date"))
  return year, month, day
end

function methods.clock(self)
  local _, _, _, hour, minute, second = shown(time_of(self, 1, "clock"))
  return hour, minute, second
end

for place, name in raw.ipairs { "year", "month", "day", "hour", "minute", "second", "weekday", "year_day" } do
  methods[name] = function(self) return (raw.select(place, shown(time_of(self, 1, name)))) end
end

function methods.in_location(self, location)
  local state = time_of(self, 1, "in_location")
  location_of(location, 1, "in_location")
  return make(state.sec, state.nsec, location)
end

function methods.location(self) return time_of(self, 1, "location").loc end

function methods.utc(self)
  local state = time_of(self, 1, "utc")
  return make(state.sec, state.nsec, utc)
end

function methods.in_local(self)
  local state = time_of(self, 1, "in_local")
  return make(state.sec, state.nsec, localtz)
end

-- remainder(state, ns) -> nanoseconds since Go's zero time, modulo ns: the product would not fit, so it is doubled up
local function remainder(state, ns)
  local ult = raw.math.ult
  local function add(a, b)
    local sum = a + b
    if not ult(sum, ns) then sum = sum - ns end
    return sum
  end
  local factor, result = (state.sec - YEAR_ONE) % ns, 0
  local bits = NS
  while bits > 0 do
    if bits & 1 == 1 then result = add(result, factor) end
    factor = add(factor, factor)
    bits = bits >> 1
  end
  return add(result, state.nsec % ns)
end

function methods.truncate(self, d)
  local state, ns = time_of(self, 1, "truncate"), length(d, 1, "truncate")
  if ns <= 0 then return self end
  return shifted(state, -remainder(state, ns))
end

function methods.round(self, d)
  local state, ns = time_of(self, 1, "round"), length(d, 1, "round")
  if ns <= 0 then return self end
  local rest = remainder(state, ns)
  return shifted(state, rest < ns - rest and -rest or ns - rest)
end

-- Functions -----------------------------------------------------------------------------------------------------

function time.date(year, month, day, hour, minute, second, nanosecond, location)
  if location ~= nil then location_of(location, 8, "date") end
  local sec = second_of(integer(year, 1, "date"), integer(month, 2, "date"), integer(day, 3, "date"),
    integer(hour, 4, "date", 0), integer(minute, 5, "date", 0), integer(second, 6, "date", 0))
  local ns = integer(nanosecond, 7, "date", 0)
  local place = location or localtz
  return make(utc_of(place, sec + ns // NS), ns % NS, place)
end

function time.parse(layout, value, location)
  text(layout, 1, "parse")
  text(value, 2, "parse")
  if location ~= nil then location_of(location, 3, "parse") end
  rt.charge((#layout + #value) * 20 + 1000)
  local near = location or localtz
  local found, problem = rt.host("time.parse", layout, value, described(location or utc), described(near))
  if not found then return nil, problem end
  local sec, nsec, zone, offset = found[1], found[2], found[3], found[4]
  if offset then
    local state = rt.state(near, LOCATION)
    if state.offset == offset and state.label == zone then return make(sec, nsec, near) end
    return make(sec, nsec, (new_location({ label = zone, offset = offset })))
  end
  local is_near = zone ~= "UTC" or location and rt.state(location, LOCATION).zone == "UTC"
  return make(sec, nsec, is_near and near or utc)
end

function time.parse_duration(value)
  local ns, problem = duration.to_ns(value)
  if not ns then return fail("Invalid", "time.parse_duration: " .. problem) end
  return (duration.new(ns))
end

return function(instant)
  return (written(rt.state(instant, TIME), "2006-01-02 15:04:05.999999999 -0700 MST"))
end
