-- machine_print: where printed lines go. Adds to rt: on_print.
local rt = ...

function rt.on_print(line)
  if not rt.replaying then rt.host("machine.log", "info", line, {}) end
end
return true
