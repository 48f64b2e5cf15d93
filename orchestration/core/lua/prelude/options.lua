-- options: the option tables of calls and spawns, checked and put into the form that commands carry.
-- Returns { activity(table) -> map | nil, problem; workflow(table) -> map | nil, problem; values(table) -> context map }.
-- Every key may be written with or without the prefix "temporal."; without it wins. Durations are Go texts or numbers of
-- milliseconds and become whole milliseconds, rounded up. Fields are checked in the order of these lists.
local rt = ...
local raw = rt.raw
local rawtype, rawget, next, tonumber = raw.type, raw.rawget, raw.next, raw.tonumber
local math_type, floor, ceil = raw.math.type, raw.math.floor, raw.math.ceil
local match, sub, lower, gsub, format = raw.string.match, raw.string.sub, raw.string.lower, raw.string.gsub, raw.string.format

local UNITS <const> = {
  ns = 1, us = 1000, ["\xc2\xb5s"] = 1000, ["\xce\xbcs"] = 1000, ms = 1000000, s = 1000000000, m = 60000000000, h = 3600000000000,
}

-- Go duration text -> nanoseconds, or nil
local function parse_ns(text)
  if #text > 100 then return nil end
  local sign, rest = match(text, "^([+-]?)(.+)$")
  if not rest then return nil end
  if rest == "0" then return 0 end
  local total, at = 0, 1
  while at <= #rest do
    local whole, dot, fraction, unit, after = match(rest, "^(%d*)(%.?)(%d*)([a-z\xc2\xce\xb5\xbc]+)()", at)
    local size = UNITS[unit]
    if not size or (whole == "" and fraction == "") or (dot == "" and fraction ~= "") then return nil end
    local part = tonumber(whole == "" and "0" or whole) * size + 0.0
    if part > 9e18 then return nil end
    total = total + (math_type(tonumber(whole)) == "integer" and tonumber(whole) * size or 0)
    if fraction ~= "" then total = total + floor(tonumber("0." .. fraction) * size + 0.5) end
    if total < 0 then return nil end
    at = after
  end
  return sign == "-" and -total or total
end

local function type_of(value) return rt.is_opaque(value) and "userdata" or rawtype(value) end

local readers = {}

function readers.duration(value, key)
  local kind = rawtype(value)
  local ms
  if kind == "number" then
    ms = value
  elseif kind == "string" then
    local ns = parse_ns(value)
    if not ns then return nil, format('%s has invalid value "%s"', key, value) end
    ms = ns / 1000000
    if ns % 1000000 == 0 then ms = ns // 1000000 end
  else
    return nil, format("%s must be a duration, got %s", key, type_of(value))
  end
  if ms ~= ms or ms < 0 or ms > 9.2e12 then return nil, format('%s has invalid value "%s"', key, rt.tostring(value)) end
  return math_type(ms) == "integer" and ms or ceil(ms)
end
function readers.text(value, key)
  if rawtype(value) ~= "string" then return nil, format("%s must be a string, got %s", key, type_of(value)) end
  return value
end
function readers.name(value, key)
  if rawtype(value) ~= "string" then return nil, format("%s must be a string, got %s", key, type_of(value)) end
  if value == "" then return nil, key .. " cannot be empty" end
  return value
end
function readers.boolean(value, key)
  if rawtype(value) ~= "boolean" then return nil, format("%s must be a boolean, got %s", key, type_of(value)) end
  return value
end
function readers.table(value, key)
  if type_of(value) ~= "table" then return nil, format("%s must be a table, got %s", key, type_of(value)) end
  return value
end
function readers.number(value, key)
  if rawtype(value) ~= "number" then return nil, format("%s must be a number, got %s", key, type_of(value)) end
  return value
end
function readers.integer(value, key)
  local whole = rawtype(value) == "number" and raw.math.tointeger(value)
  if not whole then return nil, format("%s must be an integer, got %s", key, type_of(value)) end
  return whole
end
function readers.names(value, key)
  if type_of(value) ~= "table" then return nil, format("%s must be a list of strings, got %s", key, type_of(value)) end
  local list = {}
  for i = 1, raw.rawlen(value) do
    local item = rawget(value, i)
    if rawtype(item) ~= "string" then return nil, format("%s must be a list of strings, item %d is a %s", key, i, type_of(item)) end
    list[i] = item
  end
  return list
end
-- An enum: any case, '-' for '_', the long form with its prefix.
local function enum(long, ...)
  local known = {}
  for _, word in raw.ipairs({ ... }) do known[word] = true end
  return function(value, key)
    if rawtype(value) ~= "string" then return nil, format("%s must be a string, got %s", key, type_of(value)) end
    local word = gsub(lower(sub(value, 1, 100)), "-", "_")
    if sub(word, 1, #long) == long then word = sub(word, #long + 1) end
    if not known[word] then return nil, format('%s has invalid value "%s"', key, value) end
    return word
  end
end

local RETRY <const> = {
  { "initial_interval", "initialInterval", readers.duration, "initial_interval_ms" },
  { "backoff_coefficient", "backoffCoefficient", readers.number, "backoff_coefficient" },
  { "maximum_interval", "maximumInterval", readers.duration, "maximum_interval_ms" },
  { "maximum_attempts", "maximumAttempts", readers.integer, "maximum_attempts" },
  { "non_retryable_error_types", "nonRetryableErrorTypes", readers.names, "non_retryable_error_types" },
}

function readers.retry(value, key)
  if type_of(value) ~= "table" then return nil, format("%s must be a table, got %s", key, type_of(value)) end
  local policy = rt.as_map({})
  for i = 1, #RETRY do
    local field = RETRY[i]
    local given = rawget(value, field[1])
    if given == nil then given = rawget(value, field[2]) end
    if given ~= nil then
      local read, problem = field[3](given, key .. "." .. field[1])
      if read == nil then return nil, problem end
      policy[field[4]] = read
    end
  end
  local backoff, attempts = policy.backoff_coefficient, policy.maximum_attempts
  if backoff and not (backoff >= 1 and backoff < 1e6) then return nil, key .. ".backoff_coefficient must be at least 1" end
  if attempts and attempts < 0 then return nil, key .. ".maximum_attempts must not be negative" end
  return policy
end

local ACTIVITY <const> = {
  { "start_to_close_timeout", readers.duration, "start_to_close_timeout_ms" },
  { "schedule_to_close_timeout", readers.duration, "schedule_to_close_timeout_ms" },
  { "schedule_to_start_timeout", readers.duration, "schedule_to_start_timeout_ms" },
  { "heartbeat_timeout", readers.duration, "heartbeat_timeout_ms" },
  { "id", readers.name, "id" },
  { "task_queue", readers.name, "task_queue" },
  { "wait_for_cancellation", readers.boolean, "wait_for_cancellation" },
  { "disable_eager_execution", readers.boolean, nil },
  { "local", readers.boolean, "local" },
  { "retry_policy", readers.retry, "retry" },
}

local WORKFLOW <const> = {
  { "id", readers.name, "id" },
  { "task_queue", readers.name, "task_queue" },
  { "execution_timeout", readers.duration, "execution_timeout_ms" },
  { "run_timeout", readers.duration, "run_timeout_ms" },
  { "task_timeout", readers.duration, "task_timeout_ms" },
  { "id_conflict_policy", enum("workflow_id_conflict_policy_", "fail", "use_existing", "terminate_existing"), "id_conflict_policy" },
  { "id_reuse_policy", enum("workflow_id_reuse_policy_", "allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate",
    "terminate_if_running"), "id_reuse_policy" },
  { "execution_error_when_already_started", readers.boolean, "execution_error_when_already_started" },
  { "retry_policy", readers.retry, "retry" },
  { "cron_schedule", readers.text, "cron_schedule" },
  { "memo", readers.table, "memo" },
  { "search_attributes", readers.table, "search_attributes" },
  { "enable_eager_start", readers.boolean, nil },
  { "start_delay", readers.duration, "start_delay_ms" },
  { "cancel_grace", readers.duration, "cancel_grace_ms" },
  { "summary", readers.text, "summary", "static_summary" },
  { "details", readers.text, "details", "static_details" },
  { "namespace", readers.text, "namespace" },
  { "wait_for_cancellation", readers.boolean, "wait_for_cancellation" },
  { "parent_close_policy", enum("parent_close_policy_", "terminate", "abandon", "request_cancel"), "parent_close_policy" },
}

local function normalise(given, fields, prefix)
  local map = rt.as_map({})
  for i = 1, #fields do
    local field = fields[i]
    local key = prefix .. field[1]
    local value = rawget(given, key)
    if value == nil then value = rawget(given, "temporal." .. key) end
    if value == nil and field[4] then value = rawget(given, "temporal." .. prefix .. field[4]) end
    if value ~= nil then
      local read, problem = field[2](value, key)
      if read == nil then return nil, problem end
      if field[3] then map[field[3]] = read end
    end
  end
  return map
end

-- values(table, into) -> into: context values that can be carried; text keys only, the rest is left out
local function values(given, into)
  for key, value in next, given do
    local kind = rawtype(value)
    if rawtype(key) == "string" and raw.utf8.len(key) and
      (kind == "string" or kind == "number" or kind == "boolean" or (kind == "table" and not rt.class_of(value))) then
      local ok, bytes = rt.pcall(rt.pack, value)
      if ok then into[key] = (rt.unpack(bytes)) end
    end
  end
  return into
end

return {
  activity = function(given) return normalise(given, ACTIVITY, "activity.") end,
  workflow = function(given) return normalise(given, WORKFLOW, "workflow.") end,
  values = values,
  parse_ns = parse_ns,
}
