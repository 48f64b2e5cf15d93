-- time: instants, durations, zones, and the verbs that wait. Instants have nanoseconds; the clock is the run's own.
--   now() unix(sec, nsec?) date(y, mo, d, h?, mi?, s?, ns?, loc?) parse(layout, text, loc?) -> Time
--   parse_duration(d) -> Duration; load_location(name), fixed_zone(name, offset) -> Location; utc, localtz
--   sleep(d); after(d) -> channel; timer(d) -> Timer; ticker(d) -> Ticker: durable timers of the run
-- A duration argument is a number of nanoseconds, Go's text ("1h30m") or a Duration. Kinds: Invalid, NotFound.
local rt = ...
local raw = rt.raw
local rawtype, tointeger, format = raw.type, raw.math.tointeger, raw.string.format
local fail = rt.fail
local calendar, duration = rt.require_prelude("calendar"), rt.require_prelude("duration")
local civil, second_of = calendar.civil, calendar.second_of
local to_ns = duration.to_ns

local TIME <const>, LOCATION <const> = "time.Time", "time.Location"
local NS <const> = 1000000000
local YEAR_ONE <const> = -62135596800 -- seconds of 0001-01-01, Go's zero time
local RFC3339 <const> = "2006-01-02T15:04:05Z07:00"

-- Arguments -----------------------------------------------------------------------------------------------------

-- Named as the caller of the library function sees it.
local function integer(value, n, fname, default)
  if value == nil and default then return default end
  local whole = rawtype(value) == "number" and tointeger(value)
  if not whole then rt.typeerror(n, fname, "integer", value, 1) end
  return whole
end

local function text(value, n, fname)
  if rawtype(value) ~= "string" then rt.typeerror(n, fname, "string", value, 1) end
  return value
end

local function length(value, n, fname)
  local ns, problem = to_ns(value)
  if not ns then rt.argerror(n, fname, problem, 1) end
  return ns
end

-- Locations -----------------------------------------------------------------------------------------------------
-- State: { label, zone } for a zone of the tz database, { label, offset } for a fixed offset.

local location_methods = {}
local new_location = rt.class(LOCATION, location_methods, {
  tostring = function(self) return rt.state(self, LOCATION).label end,
})

local function location_of(value, n, fname)
  local state = rt.state(value, LOCATION)
  if not state then rt.typeerror(n, fname, "Location", value, 1) end
  return state
end

function location_methods.string(self) return location_of(self, 1, "string").label end

local utc = new_location({ label = "UTC", zone = "UTC" })
local localtz = new_location({ label = "Local", zone = rt.tz })

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

local function load_location(name)
  if rawtype(name) ~= "string" then return fail("Invalid", "time.load_location: the name must be a string") end
  if name == "" then return fail("Invalid", "time.load_location: the name is empty") end
  if name == "UTC" then return utc end
  if name == "Local" then return localtz end
  rt.charge(2000)
  local found, problem = rt.host("time.zone", name)
  if not found then return nil, problem end
  return (new_location({ label = name, zone = name }))
end

local function fixed_zone(name, offset)
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
-- State: { sec, nsec, loc }, seconds since 1970 and 0 to 999999999 nanoseconds.

local methods = {}
local new_time

local function make(sec, nsec, loc) return (new_time({ sec = sec, nsec = nsec, loc = loc })) end

local function time_of(value, n, fname)
  local state = rt.state(value, TIME)
  if not state then rt.typeerror(n, fname, "Time", value, 1) end
  return state
end

local function same(a, b) return a.sec == b.sec and a.nsec == b.nsec end
local function earlier(a, b) return a.sec < b.sec or a.sec == b.sec and a.nsec < b.nsec end

-- shifted(state, ns) -> Time
local function shifted(state, ns)
  local nsec = state.nsec + ns % NS
  return make(state.sec + ns // NS + nsec // NS, nsec % NS, state.loc)
end

-- shown(state) -> year, month, day, hour, minute, second, weekday, day of the year: what the clock there shows
local function shown(state)
  return civil(state.sec + (offset_of(state.loc, state.sec)))
end

local function written(state, layout)
  local offset, name = offset_of(state.loc, state.sec)
  rt.charge(#layout * 10 + 500)
  return rt.host("time.format", layout, state.sec, state.nsec, offset, name)
end

new_time = rt.class(TIME, methods, {
  tostring = function(self) return (written(rt.state(self, TIME), "2006-01-02 15:04:05.999999999 -0700 MST")) end,
  eq = function(a, b)
    local first, second = rt.state(a, TIME), rt.state(b, TIME)
    return first ~= nil and second ~= nil and same(first, second)
  end,
  lt = function(a, b) return earlier(time_of(a, 1, "compare"), time_of(b, 2, "compare")) end,
  le = function(a, b) return not earlier(time_of(b, 2, "compare"), time_of(a, 1, "compare")) end,
})

local function now()
  local ns = rt.now_ns()
  return make(ns // NS, ns % NS, localtz)
end

function methods.add(self, d) return shifted(time_of(self, 1, "add"), length(d, 1, "add")) end

function methods.sub(self, other)
  local a, b = time_of(self, 1, "sub"), time_of(other, 1, "sub")
  local seconds = a.sec - b.sec
  -- As in Go, what does not fit is the longest duration there is.
  if seconds > 9223372035 then return (duration.new(raw.math.maxinteger)) end
  if seconds < -9223372035 then return (duration.new(raw.math.mininteger)) end
  return (duration.new(seconds * NS + a.nsec - b.nsec))
end

function methods.add_date(self, years, months, days)
  local state = time_of(self, 1, "add_date")
  local year, month, day, hour, minute, second = shown(state)
  local sec = second_of(year + integer(years, 1, "add_date"), month + integer(months, 2, "add_date", 0),
    day + integer(days, 3, "add_date", 0), hour, minute, second)
  return make(utc_of(state.loc, sec), state.nsec, state.loc)
end

function methods.after(self, other) return earlier(time_of(other, 1, "after"), time_of(self, 1, "after")) end
function methods.before(self, other) return earlier(time_of(self, 1, "before"), time_of(other, 1, "before")) end
function methods.equal(self, other) return same(time_of(self, 1, "equal"), time_of(other, 1, "equal")) end

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

function methods.unix(self) return time_of(self, 1, "unix").sec end

function methods.unix_nano(self)
  local state = time_of(self, 1, "unix_nano")
  return state.sec * NS + state.nsec
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

function methods.nanosecond(self) return time_of(self, 1, "nanosecond").nsec end

function methods.is_zero(self)
  local state = time_of(self, 1, "is_zero")
  return state.sec == YEAR_ONE and state.nsec == 0
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

local function date(year, month, day, hour, minute, second, nanosecond, location)
  if location ~= nil then location_of(location, 8, "date") end
  local sec = second_of(integer(year, 1, "date"), integer(month, 2, "date"), integer(day, 3, "date"),
    integer(hour, 4, "date", 0), integer(minute, 5, "date", 0), integer(second, 6, "date", 0))
  local ns = integer(nanosecond, 7, "date", 0)
  local place = location or localtz
  return make(utc_of(place, sec + ns // NS), ns % NS, place)
end

local function unix(seconds, nanoseconds)
  local sec, ns = integer(seconds, 1, "unix"), integer(nanoseconds, 2, "unix", 0)
  return make(sec + ns // NS, ns % NS, localtz)
end

local function parse(layout, value, location)
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

local function parse_duration(value)
  local ns, problem = to_ns(value)
  if not ns then return fail("Invalid", "time.parse_duration: " .. problem) end
  return (duration.new(ns))
end

local timers = rt.require_prelude("timers")(now)

return rt.readonly("time", {
  NANOSECOND = 1, MICROSECOND = 1000, MILLISECOND = 1000000, SECOND = NS, MINUTE = 60 * NS, HOUR = 3600 * NS,
  RFC3339 = RFC3339, RFC3339NANO = "2006-01-02T15:04:05.999999999Z07:00",
  RFC822 = "02 Jan 06 15:04 MST", RFC822Z = "02 Jan 06 15:04 -0700", RFC850 = "Monday, 02-Jan-06 15:04:05 MST",
  RFC1123 = "Mon, 02 Jan 2006 15:04:05 MST", RFC1123Z = "Mon, 02 Jan 2006 15:04:05 -0700", KITCHEN = "3:04PM",
  STAMP = "Jan _2 15:04:05", STAMP_MILLI = "Jan _2 15:04:05.000", STAMP_MICRO = "Jan _2 15:04:05.000000",
  STAMP_NANO = "Jan _2 15:04:05.000000000",
  DATE_TIME = "2006-01-02 15:04:05", DATE_ONLY = "2006-01-02", TIME_ONLY = "15:04:05",
  JANUARY = 1, FEBRUARY = 2, MARCH = 3, APRIL = 4, MAY = 5, JUNE = 6,
  JULY = 7, AUGUST = 8, SEPTEMBER = 9, OCTOBER = 10, NOVEMBER = 11, DECEMBER = 12,
  SUNDAY = 0, MONDAY = 1, TUESDAY = 2, WEDNESDAY = 3, THURSDAY = 4, FRIDAY = 5, SATURDAY = 6,
  utc = utc, localtz = localtz,
  now = now, date = date, unix = unix, parse = parse, parse_duration = parse_duration,
  load_location = load_location, fixed_zone = fixed_zone,
  sleep = timers.sleep, after = timers.after, timer = timers.timer, ticker = timers.ticker,
})
