-- http_client: requests to HTTP servers. For functions and processes.
--   get, post, put, patch, delete, head, options (url, options?) and request(method, url, options?)
--     -> {status_code, headers, body, body_size, url}; whatever the status is, it is no error
--   encode_uri(text), decode_uri(text)
-- Options: headers, query, form, cookies (by name), body (string), json (any value), timeout (seconds or "10s"),
--   auth ({user, pass} or {token}), allow_redirects, max_response_bytes.
local rt = ...
local raw = rt.raw
local rawtype, next = raw.type, raw.next
local format, byte, gsub = raw.string.format, raw.string.byte, raw.string.gsub
rt.require_prelude("operation")

local function request(method, url, options, n, fname)
  if rawtype(url) ~= "string" then rt.typeerror(n, fname, "string", url, 1) end
  if url == "" then return rt.fail("Invalid", "the URL is empty") end
  if options ~= nil and (rawtype(options) ~= "table" or rt.class_of(options)) then
    rt.typeerror(n + 1, fname, "table", options, 1)
  end
  local given = {}
  for name, value in next, options or {} do
    if rawtype(name) ~= "string" then return rt.fail("Invalid", "options have names") end
    given[name] = value
  end
  if given.json ~= nil then
    if given.body ~= nil then return rt.fail("Invalid", "a request has a body or json, not both") end
    local text, problem = rt.require_prelude("json").encode(given.json)
    if not text then return nil, problem end
    local headers, has_type = {}, false
    if rawtype(given.headers) == "table" then
      for name, value in next, given.headers do
        headers[name] = value
        if rawtype(name) == "string" and raw.string.lower(name) == "content-type" then has_type = true end
      end
    end
    if not has_type then headers["Content-Type"] = "application/json" end
    given.body, given.headers, given.json = text, headers, nil
  end
  return rt.perform("http_client.request", method, url, given)
end

local module = {
  request = function(method, url, options)
    if rawtype(method) ~= "string" then rt.typeerror(1, "request", "string", method) end
    return request(method, url, options, 2, "request")
  end,
}
for _, name in raw.ipairs { "get", "post", "put", "patch", "delete", "head", "options" } do
  local method = raw.string.upper(name)
  module[name] = function(url, options) return request(method, url, options, 1, name) end
end

function module.encode_uri(text)
  if rawtype(text) ~= "string" then rt.typeerror(1, "encode_uri", "string", text) end
  rt.charge(#text)
  return (gsub(text, "[^%w%-._~]", function(c) return format("%%%02X", byte(c)) end))
end

function module.decode_uri(text)
  if rawtype(text) ~= "string" then rt.typeerror(1, "decode_uri", "string", text) end
  rt.charge(#text)
  if raw.string.find(gsub(text, "%%%x%x", ""), "%", 1, true) then
    return rt.fail("Invalid", "a % is not followed by two hexadecimal digits")
  end
  return (gsub(gsub(text, "+", " "), "%%(%x%x)", function(hex) return raw.string.char(raw.tonumber(hex, 16)) end))
end

return rt.readonly("http_client", module)
