-- find_hosts: which living nodes serve a host.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  hosts    set    <actors>:host:<entry id>
-- Returns  {"ok", name...}
-- Holds    takes nodes out that have gone
-- Cost     O(nodes that serve it)
local nodes, hosts = KEYS[1], KEYS[2]
local found = {}
for _, name in ipairs(redis.call('SMEMBERS', hosts)) do
  if redis.call('ZSCORE', nodes, name) then
    table.insert(found, name)
  else
    redis.call('SREM', hosts, name)
  end
end
return {'ok', unpack(found)}
