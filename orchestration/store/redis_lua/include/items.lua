-- Shared by the scripts of key-value stores. An item is "<version>:<value>" in the hash; all keys of the hash are in
-- `order`, those with an end in `ends` too. What has ended is not there for anybody, and goes when it is met.

-- The item of a key, or nil: there is none, or it has ended.
local function live_item(items, ends, key, now)
  local last = redis.call('ZSCORE', ends, key)
  if last and tonumber(last) <= now then return nil end
  return redis.call('HGET', items, key) or nil
end

-- Version and value of an item.
local function split_item(item)
  local colon = string.find(item, ':', 1, true)
  return string.sub(item, 1, colon - 1), string.sub(item, colon + 1)
end

local function forget_item(items, order, ends, key)
  redis.call('HDEL', items, key)
  redis.call('ZREM', order, key)
  redis.call('ZREM', ends, key)
end

-- Removes items that have ended, at most so many; returns how many.
local function purge_items(items, order, ends, now, limit)
  local over = redis.call('ZRANGEBYSCORE', ends, '-inf', int(now), 'LIMIT', 0, limit)
  for _, key in ipairs(over) do forget_item(items, order, ends, key) end
  return #over
end
