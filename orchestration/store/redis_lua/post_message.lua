-- post_message: put a message into the mail of the node that runs a process.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  living   hash   <actors>:living:<id>
-- KEYS[3]  mail     list   <actors>:mail:<id>
-- ARGV[1]  sender   string node that sends; empty: one that nothing fences
-- ARGV[2]  to       string node that it goes to
-- ARGV[3]  unique   string process there; empty: the node itself
-- ARGV[4]  message  bytes
-- ARGV[5]  most     int    messages that may wait there
-- Returns  {"ok"} | {"not_found"} | {"gone"} | {"full"}
-- Holds    accepted means: the process lived, and the message is there until its node has taken it. Sent again after
--          a lost reply it is there twice; the node drops the copy by the sender's number in it
-- Cost     O(1)
-- @include fence
local nodes, living, mail = KEYS[1], KEYS[2], KEYS[3]
local sender, to, unique, message, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if not may_act(nodes, sender) then return {'gone'} end
if not redis.call('ZSCORE', nodes, to) then return {'not_found'} end
if unique ~= '' and redis.call('HEXISTS', living, unique) == 0 then return {'not_found'} end
if redis.call('LLEN', mail) >= most then return {'full'} end
redis.call('RPUSH', mail, message)
return {'ok'}
