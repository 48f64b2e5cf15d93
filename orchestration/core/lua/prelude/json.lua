-- json: JSON texts, and validation by JSON Schema.
--   encode(value) -> text            an empty table is []; sparse arrays, mixed keys and recursion are kind Internal
--   decode(text) -> value            null members vanish, null elements leave holes, {} is an empty table
--   validate(schema, data) -> true | false, err; validate_string(schema, text): the data as JSON text
-- A schema is a table or JSON text.
local rt = ...
local rawtype, fail, charge = rt.raw.type, rt.fail, rt.charge
local try_host = rt.require_prelude("try_host")
local MOST_BYTES <const> = 8 * 1024 * 1024

local function encode(value)
  local text, problem = try_host("json.encode", value)
  if not text then return nil, problem end
  charge(#text)
  return text
end

local function decode(text)
  if rawtype(text) ~= "string" then return fail("Invalid", "json.decode: expected a string") end
  if text == "" then return fail("Invalid", "json.decode: the text is empty") end
  if #text > MOST_BYTES then
    return fail("Invalid", "json.decode: the text has " .. #text .. " bytes, the most is " .. MOST_BYTES)
  end
  charge(#text * 4)
  return rt.host("json.decode", text)
end

local paid = rt.raw.setmetatable({}, { __mode = "k" }) -- schemas that were paid for; checking one again is cheap

local function invalid(text)
  return false, rt.new_error { message = text, kind = "Invalid", retryable = false }
end

local function check(name, schema, data, is_text)
  if schema == nil then return invalid(name .. ": a schema is required") end
  if data == nil then return invalid(name .. ": data is required") end
  if is_text and rawtype(data) ~= "string" then return invalid(name .. ": expected JSON text") end
  charge(5000 + (rawtype(data) == "string" and #data * 4 or 0) + (rawtype(schema) == "string" and #schema * 4 or 0))
  local found, problem = try_host("json.validate", schema, data, is_text)
  if not found then return invalid(problem:message()) end
  -- Twenty thousand instructions take about as long as checking one table of a schema, four hundred as one step.
  charge(found[2] * 400 + (paid[schema] and 0 or found[1] * 20000))
  paid[schema] = true
  if found[3] then return invalid(found[3]) end
  return true
end

return rt.readonly("json", {
  encode = encode,
  decode = decode,
  validate = function(schema, data) return check("json.validate", schema, data, false) end,
  validate_string = function(schema, text) return check("json.validate_string", schema, text, true) end,
})
