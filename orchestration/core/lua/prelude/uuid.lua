-- uuid: v1, v4, v7 from the run's own clock and chance (a replay makes the same), v3 and v5 from names, and reading them.
-- Whatever is wrong is kind Invalid; validate never fails.
local rt = ...
local raw = rt.raw
local rawtype = raw.type
local byte, char, format, gsub, lower, match, rep, sub =
  raw.string.byte, raw.string.char, raw.string.format, raw.string.gsub, raw.string.lower, raw.string.match, raw.string.rep, raw.string.sub
local pack, unpack = raw.string.pack, raw.string.unpack
local fail = rt.fail

local LAYOUT <const> = "%08x-%04x-%04x-%04x-%012x"
local GREGORIAN <const> = 0x01B21DD213814000 -- 100 ns steps between 1582-10-15 and 1970-01-01

-- write(16 bytes, version) -> text, with version and variant put in
local function write(bytes, version)
  local a, b, c, d, e = unpack(">I4I2I2I2I6", bytes)
  return format(LAYOUT, a, b, c & 0x0fff | version << 12, d & 0x3fff | 0x8000, e)
end

-- read(text) -> 16 bytes | nil: 36 characters, also with urn:uuid: or braces, or 32 hexadecimal digits
local function read(text)
  if rawtype(text) ~= "string" or #text > 45 then return nil end
  local body = lower(text)
  if #body == 45 then body = match(body, "^urn:uuid:(.*)$") elseif #body == 38 then body = match(body, "^{(.*)}$") end
  if not body then return nil end
  local digits
  if #body == 36 then
    local a, b, c, d, e = match(body, "^(%x+)%-(%x+)%-(%x+)%-(%x+)%-(%x+)$")
    if not a or #a ~= 8 or #b ~= 4 or #c ~= 4 or #d ~= 4 then return nil end
    digits = a .. b .. c .. d .. e
  elseif #body == 32 and match(body, "^%x+$") then
    digits = body
  else
    return nil
  end
  return (gsub(digits, "%x%x", function(pair) return char(raw.tonumber(pair, 16)) end))
end

local node, clock_sequence
local last_tick, last_ms, counter = 0, 0, 0

local function v1()
  if not node then
    local bytes = rt.random(8)
    node = char(byte(bytes, 1) | 1) .. sub(bytes, 2, 6) -- the multicast bit says that it is no real address
    clock_sequence = unpack(">I2", bytes, 7)
  end
  local tick = rt.now_ns() // 100 + GREGORIAN
  if tick <= last_tick then tick = last_tick + 1 end
  last_tick = tick
  return write(pack(">I4I2I2I2", tick & 0xffffffff, tick >> 32 & 0xffff, tick >> 48, clock_sequence) .. node, 1)
end

local function v4() return write(rt.random(16), 4) end

-- Within a millisecond a counter keeps them in order.
local function v7()
  local bytes = rt.random(10)
  local ms = rt.now_ns() // 1000000
  if ms > last_ms then
    last_ms, counter = ms, unpack(">I2", bytes) & 0x7ff
  else
    counter = counter + 1
    if counter > 0xfff then last_ms, counter = last_ms + 1, 0 end
  end
  return write(pack(">I6I2", last_ms, counter) .. sub(bytes, 3), 7)
end

local function named(version, algorithm)
  return function(namespace, name)
    local bytes = read(namespace)
    if not bytes then return fail("Invalid", "uuid.v" .. version .. ": the namespace is no UUID") end
    if rawtype(name) ~= "string" then return fail("Invalid", "uuid.v" .. version .. ": the name must be a string") end
    rt.charge(#name // 4)
    local digest, problem = rt.host("hash.digest", algorithm, bytes .. name, true)
    if not digest then return nil, problem end
    return write(sub(digest, 1, 16), version)
  end
end

local function version_of(bytes) return byte(bytes, 7) >> 4 end

local function variant_of(bytes)
  local bits = byte(bytes, 9)
  if bits & 0x80 == 0 then return "NCS" end
  if bits & 0xc0 == 0x80 then return "RFC4122" end
  if bits & 0xe0 == 0xc0 then return "Microsoft" end
  return "Invalid"
end

-- reader(name, fn): a function of the bytes, for a text
local function reader(name, fn)
  return function(text, ...)
    local bytes = read(text)
    if not bytes then return fail("Invalid", "uuid." .. name .. ": not a UUID") end
    return fn(bytes, ...)
  end
end

local function parse(bytes)
  local version = version_of(bytes)
  local found = { version = version, variant = variant_of(bytes) }
  if version == 1 then
    local low, middle, high = unpack(">I4I2I2", bytes)
    local tick = low | middle << 32 | (high & 0x0fff) << 48
    found.timestamp = (tick - GREGORIAN) // 10000000
    found.node = format("%012x", (unpack(">I6", bytes, 11)))
  elseif version == 7 then
    found.timestamp = unpack(">I6", bytes) // 1000
  end
  return found
end

local function styled(bytes, how)
  local a, b, c, d, e = unpack(">I4I2I2I2I6", bytes)
  local text = format(LAYOUT, a, b, c, d, e)
  if how == nil or how == "standard" then return text end
  if how == "simple" then return (gsub(text, "-", "")) end
  if how == "urn" then return "urn:uuid:" .. text end
  return fail("Invalid", "uuid.format: unknown format: use standard, simple or urn")
end

return rt.readonly("uuid", {
  v1 = v1, v3 = named(3, "md5"), v4 = v4, v5 = named(5, "sha1"), v7 = v7,
  validate = function(value) return read(value) ~= nil end,
  version = reader("version", version_of),
  variant = reader("variant", variant_of),
  parse = reader("parse", parse),
  format = reader("format", styled),
})
