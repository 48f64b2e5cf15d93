-- codec: Lua values from the canonical msgpack of core/payload.py; to it in codec_pack.lua, byte for byte the same.
-- Adds to rt: unpack(bytes, pos?) -> value, next position; unpack_list(bytes) -> n, array; unpack_at. Only ever reads what our
-- own encoders wrote.
local rt = ...
local raw = rt.raw
local sunpack, byte, sub, setmetatable = raw.string.unpack, raw.string.byte, raw.string.sub, raw.setmetatable

-- Tables that came from a border keep what a Lua table cannot say: empty map, and the length of an array with nils.
local empty_maps, lengths = setmetatable({}, rt.weak), setmetatable({}, rt.weak)
rt.empty_maps, rt.lengths = empty_maps, lengths
rt.on_demand(rt, "codec_pack", "pack pack_list pack_int pack_str pack_bin")
rt.on_demand(rt, "codec_rare", "refuse_keys refuse_depth array_length map_bytes as_map unknown_stage")

local unpack_at -- (bytes, position) -> value, next position

local function read_array(s, pos, n)
  local t, hole = {}, false
  for i = 1, n do
    local v
    v, pos = unpack_at(s, pos)
    if v == nil then hole = true else t[i] = v end
  end
  if hole then lengths[t] = n end
  return t, pos
end

local function read_map(s, pos, n)
  local t, any = {}, false
  for _ = 1, n do
    local k, v
    local b = byte(s, pos)
    if b >= 0xa0 and b < 0xc0 then -- a short key, as nearly all are
      local stop = pos + b - 0xa0
      k, pos = sub(s, pos + 1, stop), stop + 1
    else
      k, pos = unpack_at(s, pos)
    end
    b = byte(s, pos)
    if b < 0x80 then v, pos = b, pos + 1 else v, pos = unpack_at(s, pos) end
    if v ~= nil then
      t[k] = v
      any = true
    end
  end
  -- A map whose values are all nil is an empty table again; it stays a map.
  if not any then empty_maps[t] = true end
  return t, pos
end

local FORMATS <const> = {
  [0xc4] = ">s1", [0xc5] = ">s2", [0xc6] = ">s4", [0xca] = ">f", [0xcb] = ">d", [0xcc] = ">I1", [0xcd] = ">I2", [0xce] = ">I4",
  [0xcf] = ">i8", [0xd0] = ">i1", [0xd1] = ">i2", [0xd2] = ">i4", [0xd3] = ">i8", [0xd9] = ">s1", [0xda] = ">s2", [0xdb] = ">s4",
}

function unpack_at(s, pos)
  local b = byte(s, pos)
  if b < 0x80 then return b, pos + 1 end
  if b >= 0xa0 then
    if b < 0xc0 then
      local stop = pos + b - 0xa0
      return sub(s, pos + 1, stop), stop + 1
    end
    if b >= 0xe0 then return b - 0x100, pos + 1 end
    if b == 0xc0 then return nil, pos + 1 end
    if b == 0xc3 then return true, pos + 1 end
    if b == 0xc2 then return false, pos + 1 end
    local form = FORMATS[b]
    if form then return sunpack(form, s, pos + 1) end
    if b < 0xdc then rt.unknown_stage() end
    local n, after = sunpack(b & 1 == 0 and ">I2" or ">I4", s, pos + 1)
    return (b < 0xde and read_array or read_map)(s, after, n)
  end
  if b >= 0x90 then return read_array(s, pos + 1, b - 0x90) end
  return read_map(s, pos + 1, b - 0x80)
end

-- unpack_list(bytes) -> n, table: the elements of an encoded array and how many there are, nils counted
local function unpack_list(s)
  local t = unpack_at(s, 1)
  return lengths[t] or #t, t
end

rt.unpack = function(s, pos) return unpack_at(s, pos or 1) end
rt.unpack_at, rt.unpack_list = unpack_at, unpack_list
return true
