-- take_turn: become, or stay, the one worker that sweeps.
-- KEYS[1]  turn     string  orc:<namespace>:turn
-- ARGV[1]  owner    string
-- ARGV[2]  turn_ms  int     after which another may take it
-- Returns  {"mine"} | {"other", owner}
local turn, owner = KEYS[1], ARGV[1]
local holder = redis.call('GET', turn)
if holder and holder ~= owner then return {'other', holder} end
redis.call('SET', turn, owner, 'PX', ARGV[2])
return {'mine'}
