-- base64: the standard alphabet with padding. Safe for any bytes; wrong arguments and bad data are kind Invalid.
local rt = ...
local rawtype, host, fail, charge = rt.raw.type, rt.host, rt.fail, rt.charge

-- encode(text) -> base64
local function encode(data)
  if rawtype(data) ~= "string" then return fail("Invalid", "base64.encode: expected a string") end
  charge(#data // 4)
  return host("base64.encode", data)
end

-- decode(base64) -> text; line ends in it are skipped
local function decode(text)
  if rawtype(text) ~= "string" then return fail("Invalid", "base64.decode: expected a string") end
  charge(#text // 4)
  return host("base64.decode", text)
end

return rt.readonly("base64", { encode = encode, decode = decode })
