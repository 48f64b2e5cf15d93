-- take_lease: become the one that advances a run, if it has something to read and nobody else is at it.
-- KEYS[1]  record   hash    <shard>:run:<run>
-- KEYS[2]  inbox    list    <shard>:inbox:<run>
-- KEYS[3]  ready    zset    <shard>:ready
-- KEYS[4]  history  list    <shard>:hist:<run>
-- ARGV[1]  run      string
-- ARGV[2]  owner    string  the process that asks
-- ARGV[3]  lease_ms int
-- ARGV[4]  limit    int     most inputs handed over
-- ARGV[5] known    int     events that the asker knows, -1 for none: it is sent the few after them
-- Returns  {"lease", fence, time, length, tries, tail, input...} | {"busy"} | {"idle"} | {"closed", status}
-- Holds    a lease only avoids wasted work; the fence of the commit keeps two holders apart
-- Cost     O(limit)
-- @include run
local record, inbox, ready = KEYS[1], KEYS[2], KEYS[3]
return grant(record, inbox, ready, ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), KEYS[4],
  tonumber(ARGV[5]))
