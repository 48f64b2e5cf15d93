-- machine: puts one run together: the parts of the library that each run needs. The code of the user is loaded by
-- machine_start.lua; rt.mode is set before. What core/machine.py asks for seldom is in machine_questions.lua.
-- Returns { apply, more_commands, usage, places, apply_traced, trace, open_commands, set_versions, set_effects, ask }
local rt = ...

rt.require_prelude("codec")
rt.on_demand(rt, "error_objects", "new_error fail error_text error_from failure_bytes")
rt.on_demand(rt, "payload", "new_payload")
rt.on_demand(rt, "libraries", "library")
rt.on_demand(rt, "machine_print", "on_print")
rt.on_demand(rt, "places", "places")
rt.on_demand(rt.libs.coroutine, "coroutine_spawn", "spawn")
rt.on_demand(rt, "operation", "try_pack_list operation perform perform_now")
rt.on_demand(rt, "process", "process")
rt.on_demand(rt, "process_self", "traps_links")
rt.on_demand(rt, "spawn", "exec_child")
rt.require_prelude("scheduler")
rt.require_prelude("channel")
rt.require_prelude("mailbox")

rt.machine = { apply = rt.apply, apply_live = rt.apply_live, more_commands = rt.more_commands, usage = rt.usage }
rt.on_demand(rt.machine, "places", "places")
return rt.on_demand(rt.machine, "machine_questions", "*")
