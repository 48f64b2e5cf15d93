-- end_process: forget a process that has ended, and free its names.
-- KEYS[1]  living   hash   <actors>:living:<id>
-- KEYS[2]  names    hash   <actors>:names
-- KEYS[3]  named    set    <actors>:named:<id>
-- ARGV[1]  unique   string number of the process
-- ARGV[2]  pid      string its address
-- ARGV[3+] names    string each name that it may have
-- Returns  {"ok"}
-- Holds    safe to repeat; a name that has been taken by another meanwhile is left to it
-- Cost     O(names)
local living, names, named = KEYS[1], KEYS[2], KEYS[3]
local unique, pid = ARGV[1], ARGV[2]
redis.call('HDEL', living, unique)
for place, name in ipairs(ARGV) do
  if place > 2 and redis.call('HGET', names, name) == pid then
    redis.call('HDEL', names, name)
    redis.call('SREM', named, name)
  end
end
return {'ok'}
