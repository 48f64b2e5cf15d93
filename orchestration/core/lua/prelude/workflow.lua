-- workflow: what a run can know and say about itself.
-- Returns { info, history_length, history_size, version, exec, attrs, cancel_pending, query, update, side_effect, wait, saga,
--   now_line, where }; outside workflows it gives the outside answers.
local rt = ...
local raw = rt.raw
local rawtype, find, select = raw.type, raw.string.find, raw.select
local is_workflow <const> = rt.mode == "workflow"

local workflow = {}

function workflow.info()
  if not is_workflow then return nil, nil end
  local meta, length, size = rt.meta, rt.history()
  return {
    workflow_id = meta.workflow_id, run_id = meta.run_id, workflow_type = meta.type, task_queue = meta.task_queue,
    namespace = meta.namespace, attempt = meta.attempt, history_length = length, history_size = size,
  }, nil
end
function workflow.history_length() return is_workflow and (rt.history()) or 0, nil end
function workflow.history_size() return is_workflow and select(2, rt.history()) or 0, nil end

local versions = {} -- change id -> the number this run has taken

-- The markers of the history are known before it is replayed. A change that is not among them was passed by older code.
function workflow.version(change_id, min, max)
  if rawtype(change_id) ~= "string" then rt.typeerror(1, "version", "string", change_id) end
  min, max = raw.math.tointeger(min), raw.math.tointeger(max)
  if not min then rt.argerror(2, "version", "integer expected") end
  if not max then rt.argerror(3, "version", "integer expected") end
  if change_id == "" then return rt.fail("Invalid", "change ID required") end
  if min > max then return rt.fail("Invalid", "min version is larger than max version") end
  if not is_workflow then return max, nil end
  local version = versions[change_id]
  if not version then
    rt.check_seal()
    version = rt.markers and rt.markers[change_id]
    if not version and rt.replaying then
      version = -1
    else
      version = version or max
      rt.command(70, 2, rt.pack_str(change_id) .. rt.pack_int(version))
    end
    versions[change_id] = version
  end
  if version < min or version > max then
    rt.fatal("version " .. version .. " of change '" .. change_id .. "', which this code takes from " .. min .. " to " .. max .. " only")
  end
  return version, nil
end

function workflow.exec(id, ...)
  if rawtype(id) ~= "string" then rt.typeerror(1, "exec", "string", id) end
  if not is_workflow then return rt.fail("Invalid", "workflow.exec outside workflow context not yet supported") end
  if id == "" then return rt.fail("Invalid", "workflow ID required") end
  if not find(id, "^[^:]+:.") then return rt.fail("Invalid", "invalid workflow ID format (namespace:name required)") end
  rt.require_prelude("process")
  return rt.exec_child(nil, "workflow.exec", id, "", ...)
end

function workflow.attrs(given)
  if rawtype(given) ~= "table" then rt.typeerror(1, "attrs", "table", given) end
  if not is_workflow then return rt.fail("Invalid", "workflow.attrs only available in workflow context") end
  local search, memo = given.search, given.memo
  if search == nil and memo == nil then return rt.fail("Invalid", "at least one of search or memo required") end
  if search ~= nil and rawtype(search) ~= "table" then return rt.fail("Invalid", "search must be a table") end
  if memo ~= nil and rawtype(memo) ~= "table" then return rt.fail("Invalid", "memo must be a table") end
  local problem = rt.require_prelude("attributes")(search, memo)
  if problem then return rt.fail("Invalid", problem) end
  local ok, bytes = rt.pcall(function()
    return (search and rt.map_bytes(search) or "\xc0") .. (memo and rt.map_bytes(memo) or "\xc0")
  end)
  if not ok then
    return rt.fail("Invalid", "attributes cannot be carried: " .. rt.tostring(bytes))
  end
  rt.command(74, 2, bytes)
  return true, nil
end

-- cancel_pending() -> n: take back what the run waits for. Calls and sleeps end with an error of the kind Canceled, the
-- channels of futures and timers close, children are asked to end and answered for when they have.
function workflow.cancel_pending()
  if not is_workflow then return rt.fail("Invalid", "workflow.cancel_pending only available in workflow context") end
  return rt.cancel_pending(), nil
end

-- What has a file of its own, loaded when it is first used.
local function late(name, file)
  workflow[name] = function(...)
    local module = rt.require_prelude(file)
    local fn = rawtype(module) == "table" and module[name] or module
    workflow[name] = fn
    return fn(...)
  end
end
late("query", "handlers")
late("update", "handlers")
late("side_effect", "side_effect")
late("wait", "wait")
late("saga", "saga")

-- now_line() -> "file:line" of the caller
function workflow.now_line()
  local frame = rt.user_frames(raw.coroutine.running(), 1, 1)[1]
  return frame and frame.source .. ":" .. frame.line or "", nil
end

-- where() -> list of { file, line, name }: the calls that led here in this coroutine, innermost first
function workflow.where()
  local frames = rt.user_frames(raw.coroutine.running(), 1, 64)
  for i = 1, #frames do frames[i] = { file = frames[i].source, line = frames[i].line, name = frames[i].name } end
  return frames, nil
end

return rt.readonly("workflow", workflow)
