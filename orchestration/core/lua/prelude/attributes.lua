-- attributes: what may be a search attribute and what a memo; the same limits as orchestration/store/indexing.py.
-- Returns problem(search, memo) -> text or nil: why these tables cannot be taken.
local rt = ...
local raw = rt.raw
local rawtype, next, rawlen = raw.type, raw.next, raw.rawlen
local find, utf8len = raw.string.find, raw.utf8.len

local MOST <const>, NAME_BYTES <const>, VALUE_BYTES <const> = 100, 128, 1024

local function bad_text(value)
  if #value > VALUE_BYTES then return "a text of " .. #value .. " bytes is too long, " .. VALUE_BYTES .. " is the most" end
  if find(value, "\0", 1, true) then return "it has a NUL character" end
  if not utf8len(value) then return "it is not valid UTF-8" end
end

local function bad_list(list)
  local length, count = rawlen(list), 0
  for _ in next, list do count = count + 1 end
  if count ~= length then return "a table is a list of texts" end
  if length > MOST then return "a list of " .. length .. " is too long, " .. MOST .. " is the most" end
  for i = 1, length do
    local item = list[i]
    if rawtype(item) ~= "string" then return "a list has texts only, not " .. rawtype(item) end
    local problem = bad_text(item)
    if problem then return problem end
  end
end

local function bad_value(value)
  local kind = rawtype(value)
  if kind == "string" then return bad_text(value) end
  if kind == "table" then return bad_list(value) end
  if kind == "number" then return value ~= value and "NaN cannot be searched for" or nil end
  if kind ~= "boolean" then return "it is text, a number, a boolean or a list of texts, not " .. kind end
end

-- The first problem by the name's order: the order of a table must not decide what a workflow is told.
local function first_problem(what, values, check)
  local first, problem, count = nil, nil, 0
  for name, value in next, values do
    count = count + 1
    if rawtype(name) ~= "string" then return "the names in " .. what .. " are text" end
    local found = name == "" and "its name is empty" or check(value)
    if #name > NAME_BYTES then found = "its name is longer than " .. NAME_BYTES .. " bytes" end
    if find(name, "\0", 1, true) then found = "its name has a NUL character" end
    if found and (not first or name < first) then first, problem = name, found end
  end
  if count > MOST then return what .. " has " .. count .. " names, " .. MOST .. " is the most" end
  if first then return what .. " '" .. first .. "': " .. problem end
end

return function(search, memo)
  return search and first_problem("search", search, bad_value)
    or memo and first_problem("memo", memo, function() end)
    or nil
end
