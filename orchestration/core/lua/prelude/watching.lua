-- watching: monitors and links of a function (in a workflow, children are monitored without being asked).
-- Returns { monitor, unmonitor, link, unlink }; adds to rt: watching.add(how, pid).
-- The end of what is watched comes as one input, whatever it is watched for: EXIT for monitors (and, for a link to a
-- workflow, also for its normal end), LINK_DOWN for links when it was not.
local rt = ...
local raw = rt.raw
local rawtype, find = raw.type, raw.string.find
local pack_str = rt.pack_str

local watched = { monitor = {}, link = {} } -- by pid

-- WATCH: pid; the driver answers, and tells of the end later
local function watch(what, pid)
  if watched.monitor[pid] or watched.link[pid] then return true, nil end
  return rt.operation("process." .. what, pid, 78, 1, pack_str(pid))
end

local function check(what, pid)
  if rawtype(pid) ~= "string" then rt.typeerror(1, what, "string", pid) end
  if not find(pid, "^{[^{}|]*|.+}$") then
    return rt.fail("NotFound", "could not resolve '" .. pid .. "' as PID or registered name")
  end
  return true
end

local function begin(what)
  return function(pid)
    local ok, problem = check(what, pid)
    if ok then ok, problem = watch(what, pid) end
    if not ok then return nil, problem end
    watched[what][pid] = true
    return true, nil
  end
end

local function stop(what, name)
  return function(pid)
    local ok, problem = check(name, pid)
    if not ok then return nil, problem end
    watched[what][pid] = nil
    return true, nil
  end
end

local function event(kind, pid, ok, bytes)
  local result = {}
  if ok then result.value = (rt.unpack(bytes)) else result.error = rt.error_from(bytes) end
  rt.mailbox.event({ kind = kind, from = pid, at = rt.now_ms() // 1000, result = result })
end

-- WATCHED_ENDED: pid, ok, value
rt.on_input(14, function(bytes, pos)
  local pid, ok, value
  pid, pos = rt.unpack_at(bytes, pos)
  ok, pos = rt.unpack_at(bytes, pos)
  value = rt.unpack_at(bytes, pos)
  local monitored, linked = watched.monitor[pid], watched.link[pid]
  watched.monitor[pid], watched.link[pid] = nil, nil
  if monitored or (linked and ok) then event("pid.exit", pid, ok, value) end
  if not linked or ok then return end
  if rt.traps_links() then return event("pid.link.down", pid, ok, value) end
  rt.finish(72, rt.pack_bin(rt.failure_bytes(rt.new_error({ message = "linked process failed", kind = "Internal" }))))
end)

rt.watching = {
  add = function(how, pid)
    watch(how, pid)
    watched[how][pid] = true
  end,
}
return { monitor = begin("monitor"), unmonitor = stop("monitor", "unmonitor"), link = begin("link"), unlink = stop("link", "unlink") }
