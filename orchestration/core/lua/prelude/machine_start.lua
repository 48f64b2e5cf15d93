-- machine_start: loads the user's code. Run once, called with (rt, program, payload_limit); program is an encoded map:
--   entry = unit, libraries = { id = unit }, method; unit = { id, name, source, modules, imports = { alias = id } }
local rt, bytes, payload_limit = ...
local program = rt.unpack(bytes)
rt.payload_limit, rt.program = payload_limit, program
rt.main_chunk = rt.run_prelude("compile", program.entry)
program.entry.source = nil
