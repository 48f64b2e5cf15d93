-- hash: digests of strings. Anything but a string is refused with kind Invalid.
--   md5 sha1 sha256 sha512 (data, raw?)                      -> hexadecimal text, or the bytes
--   hmac_md5 hmac_sha1 hmac_sha256 hmac_sha512 (data, secret, raw?)
--   fnv32 fnv64 (data)                                       -> integer, FNV-1a; fnv64 wraps around below zero
local rt = ...
local rawtype, byte = rt.raw.type, rt.raw.string.byte
local host, fail, charge = rt.host, rt.fail, rt.charge

local module = {}

-- Python's share of the work is about four nanoseconds for each byte.
local function digest(name)
  return function(data, as_bytes)
    if rawtype(data) ~= "string" then return fail("Invalid", "hash." .. name .. ": data must be a string") end
    charge(#data // 4)
    return host("hash.digest", name, data, as_bytes and true or false)
  end
end

local function mac(name)
  return function(data, secret, as_bytes)
    if rawtype(data) ~= "string" then return fail("Invalid", "hash.hmac_" .. name .. ": data must be a string") end
    if rawtype(secret) ~= "string" then return fail("Invalid", "hash.hmac_" .. name .. ": secret must be a string") end
    charge((#data + #secret) // 4)
    return host("hash.mac", name, data, secret, as_bytes and true or false)
  end
end

for _, name in rt.raw.ipairs { "md5", "sha1", "sha256", "sha512" } do
  module[name] = digest(name)
  module["hmac_" .. name] = mac(name)
end

function module.fnv32(data)
  if rawtype(data) ~= "string" then return fail("Invalid", "hash.fnv32: data must be a string") end
  local sum = 0x811c9dc5
  for i = 1, #data do sum = ((sum ~ byte(data, i)) * 0x01000193) & 0xffffffff end
  return sum
end

function module.fnv64(data)
  if rawtype(data) ~= "string" then return fail("Invalid", "hash.fnv64: data must be a string") end
  local sum = 0xcbf29ce484222325
  for i = 1, #data do sum = (sum ~ byte(data, i)) * 0x100000001b3 end
  return sum
end

return rt.readonly("hash", module)
