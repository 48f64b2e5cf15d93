-- watching: monitors and links of a process or function (in a workflow, children are monitored without being asked).
-- Returns { monitor, unmonitor, link, unlink }. Who watches whom is kept outside, where all ends are known; what comes in
-- says how the end is told: EXIT for monitors (and, for a link to a workflow, also for its normal end), LINK_DOWN for links.
local rt = ...
local raw = rt.raw
local rawtype, find = raw.type, raw.string.find
local pack_str = rt.pack_str

-- Pids that are not monitored any more, the last thousand or two: word of their end may be under way.
local let_go, before, count = {}, {}, 0
local function forget(pid)
  if count >= 1000 then let_go, before, count = {}, let_go, 0 end
  let_go[pid], count = true, count + 1
end

-- pid_of(what, dest) -> pid | nil, error: whose end it is, also where a name is given
local function pid_of(what, dest)
  if rawtype(dest) ~= "string" then rt.typeerror(1, what, "string", dest, 1) end
  if find(dest, "^{[^{}|]*|.+}$") then return dest end
  local pid = rt.perform("process.lookup", dest)
  if pid then return pid end
  return rt.fail("Internal", "could not resolve '" .. dest .. "' as PID or registered name")
end

-- WATCH: dest, how
local function ask(what)
  return function(dest)
    local pid, problem = pid_of(what, dest)
    if not pid then return nil, problem end
    if what == "monitor" then
      let_go[pid], before[pid] = nil, nil
    elseif what == "unmonitor" then
      forget(pid)
    end
    return rt.operation("process." .. what, dest, 78, 2, pack_str(pid) .. pack_str(what))
  end
end

local function event(kind, pid, ok, bytes)
  local result = {}
  if ok then result.value = (rt.unpack(bytes)) else result.error = rt.error_from(bytes) end
  local how = kind == "pid.exit" and "exit" or "down"
  rt.mailbox.event({ kind = kind, from = pid, at = rt.now_ms() // 1000, result = result }, { 14, pid, ok, bytes, how })
end

-- Whether broken links are trapped is what the code says once its tasks are quiet: it may just have begun.
local broken = {} -- { pid, bytes }
rt.on_quiet(function()
  if #broken == 0 then return end
  if not rt.traps_links() then
    local failure = rt.new_error({ message = "linked process failed", kind = "Internal" })
    return rt.finish(72, rt.pack_bin(rt.failure_bytes(failure)))
  end
  local found = broken
  broken = {}
  for i = 1, #found do event("pid.link.down", found[i][1], false, found[i][2]) end
  rt.mailbox.deliver()
end)

-- WATCHED_ENDED: pid, ok, value, how
rt.on_input(14, function(bytes, pos)
  local pid, ok, value, how
  pid, pos = rt.unpack_at(bytes, pos)
  ok, pos = rt.unpack_at(bytes, pos)
  value, pos = rt.unpack_at(bytes, pos)
  how = rt.unpack_at(bytes, pos)
  if how == "exit" then
    if not let_go[pid] and not before[pid] then event("pid.exit", pid, ok, value) end
    return
  end
  broken[#broken + 1] = { pid, value }
end)

return { monitor = ask("monitor"), unmonitor = ask("unmonitor"), link = ask("link"), unlink = ask("unlink") }
