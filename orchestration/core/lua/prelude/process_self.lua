-- process_self: what a run says about itself, its topics and options. Adds to the module process: pid, id, listen,
--   unlisten, get_options, set_options, upgrade; to rt: traps_links.
local rt = ...
local raw = rt.raw
local rawtype, next, process = raw.type, raw.next, rt.process

function process.pid()
  local pid = rt.meta and rt.meta.pid
  if not pid then return rt.fail("Internal", "no process PID") end
  rt.expose()
  return pid
end
function process.id()
  local id = rt.program and rt.program.entry.id
  if not id then return rt.fail("Internal", "no context found") end
  return id
end

function process.listen(topic, options)
  if rawtype(topic) ~= "string" then rt.typeerror(1, "listen", "string", topic) end
  if options ~= nil and rawtype(options) ~= "table" then rt.typeerror(2, "listen", "table", options) end
  rt.expose()
  return rt.mailbox.listen(topic, options ~= nil and options.message == true)
end
function process.unlisten(channel) return rt.mailbox.unlisten(channel) end

local own_options = { trap_links = false, upgradable = false }
function rt.traps_links() return own_options.trap_links end

function process.get_options() return { trap_links = own_options.trap_links } end
function process.set_options(given)
  rt.check_seal()
  if rawtype(given) ~= "table" or rt.class_of(given) then
    return false, rt.new_error({ message = "options parameter must be a table", kind = "Invalid", retryable = false })
  end
  local problem
  for i = 1, 2 do
    local name = i == 1 and "trap_links" or "upgradable"
    local value = raw.rawget(given, name)
    if value ~= nil and rawtype(value) ~= "boolean" then
      problem = name .. " must be a boolean"
    elseif value ~= nil then
      own_options[name] = value
    end
  end
  local unknown
  for key in next, given do
    local text = rt.tostring(key)
    if own_options[key] == nil and (not unknown or text < unknown) then unknown = text end
  end
  if unknown and not problem then problem = "option " .. unknown .. " is not supported" end
  if problem then return false, rt.new_error({ message = problem, kind = "Invalid", retryable = false }) end
  return true, nil
end

-- upgrade(id?, ...): the run goes on as a new one; does not return
function process.upgrade(id, ...)
  rt.waiter()
  local bytes, problem = rt.try_pack_list(...)
  if not bytes then raw.error(problem, 0) end
  local kind = rawtype(id) == "string" and rt.pack_str(id) or "\xc0"
  local options, unread = rt.as_map({}), rt.mailbox.unread()
  if next(rt.context) ~= nil then options.ctx = rt.context end
  if #unread > 0 then options.unread = unread end
  if rt.mode ~= "workflow" then options.numbers = rt.next_number() - 1 end
  rt.finish(73, kind .. rt.pack_bin(bytes) .. rt.map_bytes(options), 3)
  while true do rt.block("process.upgrade") end
end
return true
