-- worker_ages: how long ago each process was heard of.
-- KEYS[1]  workers  zset   orc:<namespace>:workers
-- Returns  {owner, age in ms, ...}
-- Cost     O(workers)
-- @include run
local workers = KEYS[1]
local now, reply = now_ms(), {}
local found = redis.call('ZRANGE', workers, 0, 999, 'WITHSCORES')
for i = 1, #found, 2 do
  reply[i], reply[i + 1] = found[i], int(now - tonumber(found[i + 1]))
end
return reply
