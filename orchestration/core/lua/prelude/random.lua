-- random: bytes of chance. Adds to rt: random(n), random_aside(number).
local rt = ...
local sub = rt.raw.string.sub
local random_buffer, random_at, random_block = "", 1, 0

if rt.mode == "function" then
  function rt.random(n) return rt.host("machine.random", n) end
else
  -- Bytes derived from the run's seed, in blocks, so that a uuid costs no call out of Lua.
  function rt.random(n)
    if n > 256 then
      random_block = random_block + 1
      return (rt.host("machine.derive", rt.seed, random_block, n))
    end
    if #random_buffer - random_at + 1 < n then
      random_block = random_block + 1
      random_buffer, random_at = rt.host("machine.derive", rt.seed, random_block, 512), 1
    end
    random_at = random_at + n
    return sub(random_buffer, random_at - n, random_at - 1)
  end
end

-- random_aside(number) -> restore: a stream of its own for what a replay may leave out
function rt.random_aside(number)
  local buffer, at, block = random_buffer, random_at, random_block
  random_buffer, random_at, random_block = "", 1, number << 24
  return function() random_buffer, random_at, random_block = buffer, at, block end
end
return true
