-- duration: lengths of time in whole nanoseconds, as numbers, as Go writes them ("1h30m45s"), and as objects.
-- Returns { to_ns(value), to_ms(ns), parse(text), to_text(ns), new(ns), divide(a, b) }.
local rt = ...
local raw = rt.raw
local rawtype, math_type = raw.type, raw.math.type
local duration = {}
rt.on_demand(duration, "duration_text", "parse to_text")
rt.on_demand(duration, "duration_class", "new divide")

-- to_ns(value) -> nanoseconds | nil, why not: a number of nanoseconds, Go's text, or a Duration
function duration.to_ns(value)
  local kind = rawtype(value)
  if kind == "number" then
    if math_type(value) == "integer" then return value end
    if value ~= value or value >= 2.0 ^ 63 or value < -2.0 ^ 63 then return nil, "duration is out of range" end
    return (value < 0 and -(-value // 1) or value // 1) | 0
  elseif kind == "string" then
    local ns = duration.parse(value)
    if ns then return ns end
    return nil, 'invalid duration "' .. raw.string.sub(value, 1, 64) .. '"'
  end
  local ns = rt.state(value, "time.Duration")
  if ns then return ns end
  return nil, "duration must be a number of nanoseconds, a text such as \"1h30m\" or a Duration"
end

-- to_ms(ns) -> milliseconds, rounded up: a timer is never early
function duration.to_ms(ns)
  local ms = ns // 1000000
  if ms * 1000000 < ns then return ms + 1 end
  return ms
end

return duration
