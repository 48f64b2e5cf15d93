-- watching: monitors and links of a process or function (in a workflow, children are monitored without being asked).
-- Returns { monitor, unmonitor, link, unlink }. Who watches whom is kept outside, where all ends are known; what comes in
-- says how the end is told: EXIT for monitors (and, for a link to a workflow, also for its normal end), LINK_DOWN for links.
local rt = ...
local raw = rt.raw
local rawtype = raw.type
local pack_str = rt.pack_str

local let_go = {} -- pids that are not monitored any more: word of their end may be under way

local function check(what, dest)
  if rawtype(dest) ~= "string" then rt.typeerror(1, what, "string", dest) end
end

-- WATCH: dest, how
local function begin(what)
  return function(dest)
    check(what, dest)
    if what == "monitor" then let_go[dest] = nil end
    return rt.operation("process." .. what, dest, 78, 2, pack_str(dest) .. pack_str(what))
  end
end

local function stop(name, what)
  return function(dest)
    check(name, dest)
    if what == "monitor" then let_go[dest] = true end
    return rt.operation("process." .. name, dest, 78, 2, pack_str(dest) .. pack_str(name))
  end
end

local function event(kind, pid, ok, bytes)
  local result = {}
  if ok then result.value = (rt.unpack(bytes)) else result.error = rt.error_from(bytes) end
  rt.mailbox.event({ kind = kind, from = pid, at = rt.now_ms() // 1000, result = result })
end

-- WATCHED_ENDED: pid, ok, value, how
rt.on_input(14, function(bytes, pos)
  local pid, ok, value, how
  pid, pos = rt.unpack_at(bytes, pos)
  ok, pos = rt.unpack_at(bytes, pos)
  value, pos = rt.unpack_at(bytes, pos)
  how = rt.unpack_at(bytes, pos)
  if how == "exit" then
    if not let_go[pid] then event("pid.exit", pid, ok, value) end
    return
  end
  if rt.traps_links() then return event("pid.link.down", pid, ok, value) end
  rt.finish(72, rt.pack_bin(rt.failure_bytes(rt.new_error({ message = "linked process failed", kind = "Internal" }))))
end)

return { monitor = begin("monitor"), unmonitor = stop("unmonitor", "monitor"), link = begin("link"), unlink = stop("unlink", "link") }
