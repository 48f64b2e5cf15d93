-- crypto: chance, HMAC, authenticated encryption, JWT, key derivation. Chance comes from rt.random: a workflow's replay
-- draws the same. Wrong arguments are kind Invalid, what does not decrypt or verify is Internal.
local rt = ...
local raw = rt.raw
local rawtype, byte, sub, concat = raw.type, raw.string.byte, raw.string.sub, raw.table.concat
local host, fail, charge = rt.host, rt.fail, rt.charge
local try_host = rt.require_prelude("try_host")

local MOST_RANDOM <const> = 1048576
local NONCE_BYTES <const> = 12
local LETTERS <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

local function invalid(text) return fail("Invalid", text) end

-- whole(value) -> integer | nil
local function whole(value) return rawtype(value) == "number" and raw.math.tointeger(value) or nil end

-- Chance --------------------------------------------------------------------------------------------------------

local random = {}

function random.bytes(n)
  local count = whole(n)
  if not count or count < 1 or count > MOST_RANDOM then
    return invalid("crypto.random.bytes: length must be 1 to " .. MOST_RANDOM)
  end
  charge(count // 4)
  return rt.random(count)
end

-- A byte that would favour the first characters is drawn again.
function random.string(n, charset)
  local count = whole(n)
  if not count or count < 1 or count > MOST_RANDOM then
    return invalid("crypto.random.string: length must be 1 to " .. MOST_RANDOM)
  end
  if charset == nil then charset = LETTERS end
  if rawtype(charset) ~= "string" or charset == "" then
    return invalid("crypto.random.string: charset must be a string that is not empty")
  end
  local size = #charset
  if size > 256 then return invalid("crypto.random.string: charset has at most 256 characters") end
  local limit = 256 - 256 % size
  local out, found = {}, 0
  while found < count do
    local wanted = count - found
    local bytes = rt.random(wanted < 4096 and wanted or 4096)
    for i = 1, #bytes do
      local value = byte(bytes, i)
      if value < limit then
        value = value % size + 1
        found = found + 1
        out[found] = sub(charset, value, value)
      end
    end
  end
  charge(count)
  return concat(out, "", 1, count)
end

function random.uuid() return rt.require_prelude("uuid").v4() end

-- HMAC ----------------------------------------------------------------------------------------------------------

local function mac(name)
  return function(key, data)
    if rawtype(key) ~= "string" or key == "" then return invalid("crypto.hmac." .. name .. ": key must be a string that is not empty") end
    if rawtype(data) ~= "string" then return invalid("crypto.hmac." .. name .. ": data must be a string") end
    charge((#key + #data) // 4)
    return host("hash.mac", name, data, key, false)
  end
end

-- Encryption ----------------------------------------------------------------------------------------------------

local function check_sealing(name, data, key, aad)
  if rawtype(data) ~= "string" then return "crypto." .. name .. ": data must be a string" end
  if rawtype(key) ~= "string" then return "crypto." .. name .. ": key must be a string" end
  if aad ~= nil and rawtype(aad) ~= "string" then return "crypto." .. name .. ": aad must be a string" end
  charge((#data + (aad and #aad or 0)) // 4)
end

local function encrypt(cipher)
  return function(data, key, aad)
    local problem = check_sealing("encrypt." .. cipher, data, key, aad)
    if problem then return invalid(problem) end
    return host("crypto.encrypt", cipher, data, key, rt.random(NONCE_BYTES), aad)
  end
end

local function decrypt(cipher)
  return function(data, key, aad)
    local problem = check_sealing("decrypt." .. cipher, data, key, aad)
    if problem then return invalid(problem) end
    return host("crypto.decrypt", cipher, data, key, aad)
  end
end

-- Tokens --------------------------------------------------------------------------------------------------------

local SIGNING_COST <const> = 300000 -- RSA with a long key

local function jwt_encode(claims, key, algorithm)
  if rawtype(claims) ~= "table" or rt.class_of(claims) then return invalid("crypto.jwt.encode: claims must be a table") end
  if rawtype(key) ~= "string" then return invalid("crypto.jwt.encode: key must be a string") end
  if algorithm == nil then algorithm = "HS256" end
  if algorithm == "RS256" then charge(SIGNING_COST) end
  return try_host("crypto.jwt_encode", claims, key, algorithm)
end

local function jwt_verify(token, key, algorithm, require_exp)
  if rawtype(token) ~= "string" then return fail("Internal", "crypto.jwt.verify: token must be a string") end
  if rawtype(key) ~= "string" then return fail("Internal", "crypto.jwt.verify: key must be a string") end
  if algorithm == nil then algorithm = "HS256" end
  if algorithm == "RS256" then charge(SIGNING_COST) end
  return try_host("crypto.jwt_verify", token, key, algorithm, require_exp ~= false, rt.now_ns() // 1000000000)
end

-- Key derivation --------------------------------------------------------------------------------------------------

local function pbkdf2(password, salt, iterations, length, algorithm)
  if rawtype(password) ~= "string" or rawtype(salt) ~= "string" then
    return invalid("crypto.pbkdf2: password and salt must be strings")
  end
  local rounds, bytes = whole(iterations), whole(length)
  if not rounds or rounds < 1 or rounds > 10000000 then return invalid("crypto.pbkdf2: iterations must be 1 to 10000000") end
  if not bytes or bytes <= 0 then return invalid("crypto.pbkdf2: length must be positive") end
  if algorithm == nil then algorithm = "sha256" end
  local key, problem = host("crypto.pbkdf2", password, salt, rounds, bytes, algorithm)
  -- One round takes about as long as forty instructions.
  if key then charge(rounds * (bytes // 32 + 1) * 40) end
  return key, problem
end

local function constant_time_compare(a, b)
  if rawtype(a) ~= "string" then rt.typeerror(1, "constant_time_compare", "string", a) end
  if rawtype(b) ~= "string" then rt.typeerror(2, "constant_time_compare", "string", b) end
  charge((#a + #b) // 4)
  return host("crypto.compare", a, b)
end

return rt.readonly("crypto", {
  random = rt.readonly("crypto.random", random),
  hmac = rt.readonly("crypto.hmac", { sha256 = mac("sha256"), sha512 = mac("sha512") }),
  encrypt = rt.readonly("crypto.encrypt", { aes = encrypt("aes"), chacha20 = encrypt("chacha20") }),
  decrypt = rt.readonly("crypto.decrypt", { aes = decrypt("aes"), chacha20 = decrypt("chacha20") }),
  jwt = rt.readonly("crypto.jwt", { encode = jwt_encode, verify = jwt_verify }),
  pbkdf2 = pbkdf2,
  constant_time_compare = constant_time_compare,
})
