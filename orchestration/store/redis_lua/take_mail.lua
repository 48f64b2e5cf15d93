-- take_mail: throw away the messages that a node has read, and hand over those that come next.
-- KEYS[1]  mail     list   <actors>:mail:<id>
-- ARGV[1]  read     int    how many have been read
-- ARGV[2]  first    bytes  beginning of the first of them
-- ARGV[3]  most     int    most messages handed over
-- Returns  {"ok", message...}
-- Holds    safe to repeat: what has been thrown away already is not looked for again
-- Cost     O(read + most)
local mail, read, first, most = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
if read > 0 then
  local head = redis.call('LINDEX', mail, 0)
  if head and string.sub(head, 1, #first) == first then redis.call('LTRIM', mail, read, -1) end
end
return {'ok', unpack(redis.call('LRANGE', mail, 0, most - 1))}
