-- main(entry, host, count, abreast): starts so many processes, so many at a time.
local function main(entry, host, count, abreast)
  local done, left = channel.new(abreast), count
  for _ = 1, abreast do
    coroutine.spawn(function()
      while left > 0 do
        left = left - 1
        assert(process.spawn(entry, host))
      end
      done:send(true)
    end)
  end
  for _ = 1, abreast do done:receive() end
  return count
end

return { main = main }
