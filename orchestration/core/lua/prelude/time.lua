-- time: instants, durations, zones, and the verbs that wait. Instants have nanoseconds; the clock is the run's own.
--   now() unix(sec, nsec?) date(y, mo, d, h?, mi?, s?, ns?, loc?) parse(layout, text, loc?) -> Time
--   parse_duration(d) -> Duration; load_location(name), fixed_zone(name, offset) -> Location; utc, localtz
--   sleep(d); after(d) -> channel; timer(d) -> Timer; ticker(d) -> Ticker: durable timers of the run
-- A duration argument is a number of nanoseconds, Go's text ("1h30m") or a Duration. Kinds: Invalid, NotFound.
local rt = ...
local time = {
  NANOSECOND = 1, MICROSECOND = 1000, MILLISECOND = 1000000, SECOND = 1000000000, MINUTE = 60000000000, HOUR = 3600000000000,
}
rt.time = time
rt.on_demand(time, "sleep", "sleep")
rt.on_demand(time, "timers", "after timer ticker")
rt.on_demand(time, "instants", "now unix utc localtz")
rt.on_demand(time, "dates", "date parse parse_duration load_location fixed_zone")
rt.on_demand(time, "time_constants", "*")
return rt.readonly("time", time)
