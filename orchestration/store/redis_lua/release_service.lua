-- release_service: write down where a service stands, and give its lease up.
-- KEYS[1]  nodes   zset   <actors>:nodes
-- KEYS[2]  record  hash   <actors>:service:<instance>
-- KEYS[3]  wishes  hash   <actors>:service-wishes
-- ARGV[1]  node    string id of the node that looks after it
-- ARGV[2]  fence   int    number of its lease
-- ARGV[3]  digest  string of its definition and code, when it has ended for good with them; empty: another node may go on
-- ARGV[4]  age     int    for how many milliseconds it has stood there
-- ARGV[5]  due     int    the next attempt in so many milliseconds; -1: none
-- ARGV[6+] fields  string name and value in turn
-- Returns  {"released"} | {"lost"} | {"gone"}
-- Holds    all nodes hear of it at their next heartbeat; safe to repeat; the last ten digests are kept
-- Cost     O(fields)
-- @include fence
-- @include run
-- @include service
local nodes, record, wishes = KEYS[1], KEYS[2], KEYS[3]
local node, fence, digest, age, due = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local fields = {}
for i, part in ipairs(ARGV) do
  if i > 5 then fields[i - 5] = part end
end
if not may_act(nodes, node) then return {'gone'} end
if not holds(record, node, fence) then return {'lost'} end
note(record, age, due, fields)
redis.call('HSET', record, 'owner', '')
if digest ~= '' then
  local over = {digest}
  for other in string.gmatch(redis.call('HGET', record, 'over') or '', '%S+') do
    if other ~= digest and #over < 10 then over[#over + 1] = other end
  end
  redis.call('HSET', record, 'over', table.concat(over, ' '))
end
redis.call('HINCRBY', wishes, '', 1)
return {'released'}
