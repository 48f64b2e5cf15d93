-- instants: points in time. Adds to the module time: now, unix, utc, localtz. What needs a calendar is in dates.lua.
-- Returns what dates.lua needs of it.
local rt = ...
local raw = rt.raw
local rawtype, tointeger = raw.type, raw.math.tointeger
local duration, time = rt.require_prelude("duration"), rt.time
local TIME <const>, LOCATION <const> = "time.Time", "time.Location"
local NS <const> = 1000000000
local YEAR_ONE <const> = -62135596800 -- seconds of 0001-01-01, Go's zero time

-- Arguments -----------------------------------------------------------------------------------------------------

-- Named as the caller of the library function sees it.
local function integer(value, n, fname, default)
  if value == nil and default then return default end
  local whole = rawtype(value) == "number" and tointeger(value)
  if not whole then rt.typeerror(n, fname, "integer", value, 1) end
  return whole
end

local function length(value, n, fname)
  local ns, problem = duration.to_ns(value)
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

-- Instants ------------------------------------------------------------------------------------------------------
-- State: { sec, nsec, loc }, seconds since 1970 and 0 to 999999999 nanoseconds.

local methods = rt.on_demand({}, "dates", "*")
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

new_time = rt.class(TIME, methods, {
  tostring = function(self) return rt.require_prelude("dates")(self) end,
  eq = function(a, b)
    local first, second = rt.state(a, TIME), rt.state(b, TIME)
    return first ~= nil and second ~= nil and same(first, second)
  end,
  lt = function(a, b) return earlier(time_of(a, 1, "compare"), time_of(b, 2, "compare")) end,
  le = function(a, b) return not earlier(time_of(b, 2, "compare"), time_of(a, 1, "compare")) end,
})

function time.now()
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

function methods.after(self, other) return earlier(time_of(other, 1, "after"), time_of(self, 1, "after")) end

function methods.before(self, other) return earlier(time_of(self, 1, "before"), time_of(other, 1, "before")) end

function methods.equal(self, other) return same(time_of(self, 1, "equal"), time_of(other, 1, "equal")) end

function methods.unix(self) return time_of(self, 1, "unix").sec end

function methods.unix_nano(self)
  local state = time_of(self, 1, "unix_nano")
  return state.sec * NS + state.nsec
end

function methods.nanosecond(self) return time_of(self, 1, "nanosecond").nsec end

function methods.is_zero(self)
  local state = time_of(self, 1, "is_zero")
  return state.sec == YEAR_ONE and state.nsec == 0
end

function time.unix(seconds, nanoseconds)
  local sec, ns = integer(seconds, 1, "unix"), integer(nanoseconds, 2, "unix", 0)
  return make(sec + ns // NS, ns % NS, localtz)
end

time.utc, time.localtz = utc, localtz
return {
  methods = methods, integer = integer, length = length, location_of = location_of, new_location = new_location, make = make,
  time_of = time_of, shifted = shifted,
}
