-- note_service: write down where a service stands.
-- KEYS[1]  nodes   zset   <actors>:nodes
-- KEYS[2]  record  hash   <actors>:service:<instance>
-- ARGV[1]  node    string id of the node that looks after it
-- ARGV[2]  fence   int    number of its lease
-- ARGV[3]  age     int    for how many milliseconds it has stood there
-- ARGV[4]  due     int    the next attempt in so many milliseconds; -1: none
-- ARGV[5+] fields  string name and value in turn
-- Returns  {"noted"} | {"lost"} | {"gone"}
-- Holds    only who has the lease writes; safe to repeat
-- Cost     O(fields)
-- @include fence
-- @include run
-- @include service
local nodes, record = KEYS[1], KEYS[2]
local node, fence, age, due = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local fields = {}
for i, part in ipairs(ARGV) do
  if i > 4 then fields[i - 4] = part end
end
if not may_act(nodes, node) then return {'gone'} end
if not holds(record, node, fence) then return {'lost'} end
note(record, age, due, fields)
return {'noted'}
