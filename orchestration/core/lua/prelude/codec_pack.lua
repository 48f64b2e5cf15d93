-- codec_pack: Lua values to the canonical msgpack of core/payload.py, byte for byte the same.
-- Adds to rt: pack(value) -> bytes, pack_list(n, ...) -> bytes, pack_str(text), pack_int(n), pack_bin(bytes)
-- Errors are error objects of kind Internal.
local rt = ...
local raw = rt.raw
local rawtype, next, getmetatable = raw.type, raw.next, raw.getmetatable
local math_type, spack, char = raw.math.type, raw.string.pack, raw.string.char
local concat, sort, utf8len, move = raw.table.concat, raw.table.sort, raw.utf8.len, raw.table.move
local rawget, opaque, empty_maps, lengths = raw.rawget, rt.opaque, rt.empty_maps, rt.lengths

local NAN <const> = "\xcb\x7f\xf8\0\0\0\0\0\0" -- one bit pattern: machines differ in the sign of 0/0

local FIX <const>, FIXSTR <const>, FIXARRAY <const> = {}, {}, {} -- one-byte encodings, kept when they have been made

local function pack_int(v)
  if v >= -32 and v < 128 then
    local fix = char(v & 0xff)
    FIX[v] = fix
    return fix
  end
  if v >= 0 then
    if v < 0x100 then return spack(">BB", 0xcc, v) end
    if v < 0x10000 then return spack(">BI2", 0xcd, v) end
    if v < 0x100000000 then return spack(">BI4", 0xce, v) end
    return spack(">Bi8", 0xcf, v)
  end
  if v >= -0x80 then return spack(">Bi1", 0xd0, v) end
  if v >= -0x8000 then return spack(">Bi2", 0xd1, v) end
  if v >= -0x80000000 then return spack(">Bi4", 0xd2, v) end
  return spack(">Bi8", 0xd3, v)
end

local function pack_bin(v)
  local n = #v
  if n < 0x100 then return spack(">Bs1", 0xc4, v) end
  if n < 0x10000 then return spack(">Bs2", 0xc5, v) end
  return spack(">Bs4", 0xc6, v)
end

local function pack_str(v)
  local n = #v
  if not utf8len(v) then return pack_bin(v) end
  if n < 32 then
    local head = FIXSTR[n]
    if not head then
      head = char(0xa0 + n)
      FIXSTR[n] = head
    end
    return head .. v
  end
  if n < 0x100 then return spack(">Bs1", 0xd9, v) end
  if n < 0x10000 then return spack(">Bs2", 0xda, v) end
  return spack(">Bs4", 0xdb, v)
end

local function array_head(n)
  if n < 16 then
    local head = char(0x90 + n)
    FIXARRAY[n] = head
    return head
  end
  if n < 0x10000 then return spack(">BI2", 0xdc, n) end
  return spack(">BI4", 0xdd, n)
end

local function map_head(n)
  if n < 16 then return char(0x80 + n) end
  if n < 0x10000 then return spack(">BI2", 0xde, n) end
  return spack(">BI4", 0xdf, n)
end

local pack_into -- (value, buffer, n, depth) -> n

-- Packing runs no user code and never waits, so its working tables are used again; what an error leaves in them is
-- written over. Growing fresh ones took most of the time of a small value.
local scratch, scratch_keys = {}, {}

-- join(n) -> the first n pieces as one string
local function join(n)
  local buffer = scratch
  if n > 64 then
    rt.charge(n)
    if n > 1000 then scratch = {} end
  end
  return concat(buffer, "", 1, n)
end

-- Keys come again and again: their encodings are kept, up to a bound.
local key_bytes, key_count = {}, 0

local function encode_key(k)
  if not utf8len(k) then return nil end
  local bytes = pack_str(k)
  if key_count < 250 and #k < 64 then
    key_count = key_count + 1
    key_bytes[k] = bytes
  end
  return bytes
end

local function pack_table(t, buffer, n, depth)
  if depth > 128 then rt.refuse_depth() end
  -- What is refused is decided after the walk: the order of the walk must not show in an error text.
  local count, largest, keys, strings, low, other, bad = 0, 0, nil, 0, false, false, false
  for k in next, t do
    if rawtype(k) == "string" then
      if not (key_bytes[k] or utf8len(k)) then bad = true end
      if not keys then
        keys = scratch_keys[depth]
        if not keys then
          keys = {}
          scratch_keys[depth] = keys
        end
      end
      -- Few keys are put in their place at once, many are sorted afterwards.
      local i = strings
      if i == 8 then keys = move(keys, 1, 8, 1, {}) end
      strings = i + 1
      if i < 8 then
        while i > 0 and keys[i] > k do
          keys[i + 1] = keys[i]
          i = i - 1
        end
        keys[i + 1] = k
      else
        keys[strings] = k
      end
    elseif math_type(k) == "integer" then
      if k < 1 then low = true end
      count = count + 1
      if k > largest then largest = k end
    else
      other = true
    end
  end
  if other or bad or low or (keys and count > 0) then rt.refuse_keys(keys, count, bad, low, other) end
  n = n + 1
  if not keys then
    local remembered = lengths[t]
    if count == 0 and not remembered and empty_maps[t] then
      buffer[n] = "\x80"
      return n
    end
    local length = count
    if remembered or largest ~= count then length = rt.array_length(t, count, largest, remembered) end
    buffer[n] = FIXARRAY[length] or array_head(length)
    for i = 1, length do n = pack_into(rawget(t, i), buffer, n, depth) end
    return n
  end
  if strings > 8 then
    rt.charge(strings * 4)
    sort(keys) -- by bytes: a world refuses to start under another collation than C
  end
  buffer[n] = map_head(strings)
  for i = 1, strings do
    local k = keys[i]
    buffer[n + 1] = key_bytes[k] or encode_key(k)
    n = pack_into(rawget(t, k), buffer, n + 1, depth)
  end
  return n
end

function pack_into(v, buffer, n, depth)
  local kind = rawtype(v)
  n = n + 1
  if kind == "string" then
    buffer[n] = pack_str(v)
  elseif kind == "number" then
    if math_type(v) == "integer" then
      buffer[n] = FIX[v] or pack_int(v)
    elseif v ~= v then
      buffer[n] = NAN
    else
      buffer[n] = spack(">Bd", 0xcb, v)
    end
  elseif kind == "boolean" then
    buffer[n] = v and "\xc3" or "\xc2"
  elseif kind == "table" then
    local meta = getmetatable(v)
    local class = meta and opaque[meta]
    if not class then return pack_table(meta and rt.whole(v) or v, buffer, n - 1, depth + 1) end
    buffer[n] = class == "error" and pack_str(rt.error_text(v)) or "\xc0"
  else
    buffer[n] = "\xc0" -- nil; functions, threads and userdata have no form outside
  end
  return n
end

-- pack(value) -> bytes
local function pack(v)
  local kind = rawtype(v)
  if kind == "string" then return pack_str(v) end
  if v == nil then return "\xc0" end
  local n = pack_into(v, scratch, 0, 0)
  if n == 1 then return scratch[1] end
  return join(n)
end

-- pack_list(n, ...) -> bytes of an array of exactly n values, nils kept
local function pack_list(n, ...)
  if n == 0 then return "\x90" end
  local buffer = scratch
  buffer[1] = FIXARRAY[n] or array_head(n)
  if n == 1 then return join(pack_into((...), buffer, 1, 0)) end
  if n == 2 then
    local a, b = ...
    return join(pack_into(b, buffer, pack_into(a, buffer, 1, 0), 0))
  end
  local values, m = { ... }, 1
  for i = 1, n do m = pack_into(values[i], buffer, m, 0) end
  return join(m)
end

rt.pack, rt.pack_list = pack, pack_list
rt.pack_int, rt.pack_str, rt.pack_bin = pack_int, pack_str, pack_bin
return true
