-- duration_text: lengths of time as Go writes them. Adds to duration.lua: parse(text), to_text(ns).
-- Source: Go time package, time.go (Duration.String) and format.go (ParseDuration).
local rt = ...
local raw = rt.raw
local math_type, mininteger, maxinteger = raw.math.type, raw.math.mininteger, raw.math.maxinteger
local match, format, gsub, byte, tonumber = raw.string.match, raw.string.format, raw.string.gsub, raw.string.byte, raw.tonumber
local duration = rt.require_prelude("duration")
local MOST_BYTES <const> = 256

local UNITS <const> = {
  ns = 1, us = 1000, ["\u{b5}s"] = 1000, ["\u{3bc}s"] = 1000, ms = 1000000,
  s = 1000000000, m = 60000000000, h = 3600000000000,
}

-- parse(text) -> nanoseconds | nil
function duration.parse(text)
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
function duration.to_text(ns)
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
return true
