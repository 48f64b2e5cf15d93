-- wish_service: say what an operator wants of a service.
-- KEYS[1]  wishes   hash   <actors>:service-wishes
-- ARGV[1]  service  string id of its entry
-- ARGV[2]  want     string run, stop or restart
-- ARGV[3]  request  string unique to this wish
-- Returns  {"ok", number}
-- Holds    the number grows with each wish; the same request is answered as the first time
-- Cost     O(1)
-- @include run
local wishes, service, want, request = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local asked, _, last = string.match(redis.call('HGET', wishes, service) or '0::', '^(%d+):(%a*):(.*)$')
if last ~= request then
  asked = int(tonumber(asked) + 1)
  redis.call('HSET', wishes, service, asked .. ':' .. want .. ':' .. request)
  redis.call('HINCRBY', wishes, '', 1)
end
return {'ok', asked}
