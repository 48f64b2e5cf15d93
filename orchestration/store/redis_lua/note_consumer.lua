-- note_consumer: a worker with the extension says which queues it takes tasks from, and hears of the others.
-- KEYS[1]  consumers  hash  orc:<namespace>:consumers
-- ARGV[1]  node       string its node name
-- ARGV[2]  queues     bytes  msgpack: names of its queues; empty: it goes
-- ARGV[3]  silent_ms  int    who has been silent for longer is forgotten
-- Returns  {node, queues...}
-- Cost     O(workers)
-- @include run
local consumers, node, queues, silent_ms = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = now_ms()
if queues == '' then
  redis.call('HDEL', consumers, node)
else
  redis.call('HSET', consumers, node, cmsgpack.pack({int(now), queues}))
end
local reply, all = {}, redis.call('HGETALL', consumers)
for i = 1, #all, 2 do
  local said = cmsgpack.unpack(all[i + 1])
  if now - tonumber(said[1]) > silent_ms then
    redis.call('HDEL', consumers, all[i])
  else
    reply[#reply + 1] = all[i]
    reply[#reply + 1] = said[2]
  end
end
return reply
