-- process: the run as an actor: its address, its mailbox, messages to others.
-- Returns the module. In a workflow every effect on others is a recorded command that waits until it was accepted. Most of
-- it is loaded when it is first used, from the files named below.
local rt = ...
local mailbox = rt.mailbox
local is_workflow <const> = rt.mode == "workflow"

local process = {}
rt.process = process
rt.on_demand(process, "process_self", "pid id listen unlisten get_options set_options upgrade")
rt.on_demand(process, "process_event", "event")
rt.on_demand(process, "process_sends", "send cancel terminate")
rt.on_demand(process, "process_bonds", "monitor unmonitor link unlink registry")
rt.on_demand(process, "spawn", "*")

-- expose(): this process or function is about to be known to others, who must be able to find it
function rt.expose()
  if is_workflow or rt.meta.public then return end
  rt.meta.public = true
  rt.host_bytes("verb.process.expose", "\x90") -- no arguments
end

function process.inbox()
  rt.expose()
  return mailbox.inbox()
end
function process.events()
  rt.expose()
  return mailbox.events()
end
return rt.readonly("process", process)
