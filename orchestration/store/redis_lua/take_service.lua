-- take_service: let a node look after a service, unless another that lives does, or nobody is to.
-- KEYS[1]  nodes     zset   <actors>:nodes
-- KEYS[2]  services  set    <actors>:services
-- KEYS[3]  record    hash   <actors>:service:<instance>
-- KEYS[4]  wishes    hash   <actors>:service-wishes
-- ARGV[1]  node      string id of the node
-- ARGV[2]  service   string id of its entry
-- ARGV[3]  instance  string the same, or with the node it belongs to
-- ARGV[4]  digest    string of its definition and code
-- Returns  {"taken", fence, now, former owner, is asked for: 0 or 1, {field, value...}} | {"held", owner}
--          | {"over"} | {"unwanted"} | {"gone"}
-- Holds    where the former owner left it is in was and due, and no more seen as where it stands;
--          the fence grows with each lease; a node that is not in nodes any more has lost its leases; safe to repeat.
--          What has ended for good with this definition is started again only when an operator asks
-- Cost     O(1)
-- @include fence
-- @include run
local nodes, services, record, wishes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local node, service, instance, digest = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if node == '' or not may_act(nodes, node) then return {'gone'} end
local asked, want = string.match(redis.call('HGET', wishes, service) or '0:', '^(%d+):(%a*)')
if want == 'stop' then return {'unwanted'} end
local known = redis.call('HMGET', record, 'owner', 'fence', 'seen', 'over', 'state')
local owner, over = known[1] or '', known[4] or ''
local is_asked = tonumber(asked) > tonumber(known[3] or '0')
if owner == node then return {'taken', known[2], int(now_ms()), owner, 0, redis.call('HGETALL', record)} end
if owner ~= '' and redis.call('ZSCORE', nodes, owner) then return {'held', owner} end
if is_asked then
  over = ''
elseif string.find(' ' .. over .. ' ', ' ' .. digest .. ' ', 1, true) then
  return {'over'}
end
local fence = redis.call('HINCRBY', record, 'fence', 1)
redis.call('HSET', record, 'service', service, 'owner', node, 'seen', asked, 'over', over, 'was', known[5] or 'unknown',
  'state', 'starting', 'reason', 'is being taken up', 'pid', '', 'since', int(now_ms()))
redis.call('SADD', services, instance)
return {'taken', int(fence), int(now_ms()), owner, is_asked and 1 or 0, redis.call('HGETALL', record)}
