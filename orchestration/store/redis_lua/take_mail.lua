-- take_mail: throw away the messages that a node has read, and hand over those that come next.
-- KEYS[1]  mail     list   <actors>:mail:<id>
-- ARGV[1]  read     int    how many have been read
-- ARGV[2]  first    bytes  beginning of the first of them
-- ARGV[3]  most     int    most messages handed over, at most 1,000
-- ARGV[4]  size     int    bytes after which no more are added
-- Returns  {"ok", message...}
-- Holds    safe to repeat: what has been thrown away already is not looked for again
-- Cost     O(read + most)
local mail, read, first = KEYS[1], tonumber(ARGV[1]), ARGV[2]
local most, size = tonumber(ARGV[3]), tonumber(ARGV[4])
if read > 0 then
  local head = redis.call('LINDEX', mail, 0)
  if head and string.sub(head, 1, #first) == first then redis.call('LTRIM', mail, read, -1) end
end
local found, bytes, at = {}, 0, 0
while at < most and bytes < size do
  local page = redis.call('LRANGE', mail, at, at + 19)
  for _, message in ipairs(page) do
    table.insert(found, message)
    bytes = bytes + #message
  end
  if #page < 20 then break end
  at = at + 20
end
return {'ok', unpack(found)}
