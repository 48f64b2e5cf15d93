-- bar_start: see to it that a start which has not come yet never starts anything.
-- KEYS[1]  request   string  <shard>:req:<request id>
-- KEYS[2]  workflow  hash    <shard>:wf:<workflow id>
-- ARGV[1]  request   string  as it stands in a key's name
-- ARGV[2]  mark_ms   int     how long a request is remembered
-- Returns  {"barred"} | {"started", run}
-- Holds    after barred, start_run answers the request as a duplicate and starts nothing
local request, workflow = KEYS[1], KEYS[2]
local marked = redis.call('GET', request)
if marked and marked ~= '' then return {'started', marked} end
local current = redis.call('HMGET', workflow, 'run', 'request')
if current[1] and current[2] == ARGV[1] then return {'started', current[1]} end
redis.call('SET', request, '', 'PX', ARGV[2])
return {'barred'}
