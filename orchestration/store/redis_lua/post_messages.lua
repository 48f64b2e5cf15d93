-- post_messages: put messages into the mail of the node that runs the processes they are for.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  living   hash   <actors>:living:<id>
-- KEYS[3]  mail     list   <actors>:mail:<id>
-- ARGV[1]  sender   string node that sends; empty: one that nothing fences
-- ARGV[2]  to       string node that they go to
-- ARGV[3]  most     int    messages that may wait there
-- ARGV[4+] messages bytes  in turn: process there (empty: the node itself), message
-- Returns  {"ok", status...} | {"gone"}
-- Holds    each message is answered with ok, not_found or full. Accepted means: the process lived, and the message is
--          there until its node has taken it. Sent again after a lost reply it is there twice; the node drops the copy
--          by the sender's number in it
-- Cost     O(messages)
-- @include fence
local nodes, living, mail = KEYS[1], KEYS[2], KEYS[3]
local sender, to, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not may_act(nodes, sender) then return {'gone'} end
local is_known = redis.call('ZSCORE', nodes, to)
local waiting = redis.call('LLEN', mail)
local answers, unique = {}, nil
for place, message in ipairs(ARGV) do
  if place > 3 and place % 2 == 0 then
    unique = message
  elseif place > 3 then
    local status = 'ok'
    if not is_known or (unique ~= '' and redis.call('HEXISTS', living, unique) == 0) then
      status = 'not_found'
    elseif waiting >= most then
      status = 'full'
    else
      redis.call('RPUSH', mail, message)
      waiting = waiting + 1
    end
    table.insert(answers, status)
  end
end
return {'ok', unpack(answers)}
