-- metrics: numbers about the code, for whoever collects them. For functions and processes.
--   counter_inc(name, labels?), counter_add(name, value, labels?), gauge_set(name, value, labels?),
--   gauge_inc(name, labels?), gauge_dec(name, labels?), histogram(name, value, labels?) -> true
-- Labels have string keys and values; a value that is no string is left out.
local rt = ...
local raw = rt.raw
local rawtype, next = raw.type, raw.next
rt.require_prelude("operation")

local function check(name, labels, n, fname)
  if rawtype(name) ~= "string" then rt.typeerror(1, fname, "string", name, 1) end
  if labels == nil then return nil end
  if rawtype(labels) ~= "table" or rt.class_of(labels) then rt.typeerror(n, fname, "table", labels, 1) end
  local kept
  for key, value in next, labels do
    if rawtype(key) == "string" and rawtype(value) == "string" then
      kept = kept or {}
      kept[key] = value
    end
  end
  return kept
end

local function number(value, fname)
  if rawtype(value) ~= "number" then rt.typeerror(2, fname, "number", value, 1) end
  return value
end

return rt.readonly("metrics", {
  counter_inc = function(name, labels)
    labels = check(name, labels, 2, "counter_inc")
    return rt.perform_now("metrics.counter", name, 1, labels)
  end,
  counter_add = function(name, value, labels)
    labels = check(name, labels, 3, "counter_add")
    return rt.perform_now("metrics.counter", name, number(value, "counter_add"), labels)
  end,
  gauge_set = function(name, value, labels)
    labels = check(name, labels, 3, "gauge_set")
    return rt.perform_now("metrics.gauge", name, "set", number(value, "gauge_set"), labels)
  end,
  gauge_inc = function(name, labels)
    labels = check(name, labels, 2, "gauge_inc")
    return rt.perform_now("metrics.gauge", name, "inc", 1, labels)
  end,
  gauge_dec = function(name, labels)
    labels = check(name, labels, 2, "gauge_dec")
    return rt.perform_now("metrics.gauge", name, "dec", 1, labels)
  end,
  histogram = function(name, value, labels)
    labels = check(name, labels, 3, "histogram")
    return rt.perform_now("metrics.histogram", name, number(value, "histogram"), labels)
  end,
})
