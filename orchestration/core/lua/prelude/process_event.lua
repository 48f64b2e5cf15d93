-- process_event: the kinds of events. Adds to the module process: event.
local rt = ...

rt.process.event = rt.readonly("process.event", {
  CANCEL = "pid.cancel", EXIT = "pid.exit", LINK_DOWN = "pid.link.down", OUTDATED = "pid.outdated",
})
return true
