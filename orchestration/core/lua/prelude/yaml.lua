-- yaml: one YAML document, read by the core schema of YAML 1.2.
--   encode(table) -> text    kind Invalid for anything but a table
--   decode(text) -> table    kind Invalid for no text at all, Internal for mistakes in it
local rt = ...
local rawtype, fail, charge = rt.raw.type, rt.fail, rt.charge
local try_host = rt.require_prelude("try_host")
local MOST_BYTES <const> = 1024 * 1024

local function encode(value)
  if rawtype(value) ~= "table" or rt.class_of(value) then return fail("Invalid", "yaml.encode: expected a table") end
  local text, problem = try_host("yaml.encode", value)
  if not text then return nil, problem end
  charge(#text * 20)
  return text
end

local function decode(text)
  if rawtype(text) ~= "string" then return fail("Invalid", "yaml.decode: expected a string") end
  if text == "" then return fail("Invalid", "yaml.decode: the text is empty") end
  if #text > MOST_BYTES then
    return fail("Invalid", "yaml.decode: the text has " .. #text .. " bytes, the most is " .. MOST_BYTES)
  end
  charge(#text * 40)
  return rt.host("yaml.decode", text)
end

return rt.readonly("yaml", { encode = encode, decode = decode })
