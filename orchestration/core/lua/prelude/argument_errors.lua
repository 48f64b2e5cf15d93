-- argument_errors: what is raised about wrong arguments, with the position of the user code that gave them.
-- Adds to rt: user_frames(thread, level, most), raise(text), argerror(n, fname, text), typeerror(n, fname, expected, value).
local rt = ...
local raw = rt.raw
local rawtype, rawget, error, getmetatable = raw.type, raw.rawget, raw.error, raw.getmetatable
local getinfo, running, format, sub = raw.getinfo, raw.coroutine.running, raw.string.format, raw.string.sub

-- user_frames(thread, level, most) -> list of {source, line, name, type}: frames of user code, innermost first.
-- Frames of the library are left out: its lines may move between releases, and an error text is part of a history.
function rt.user_frames(thread, level, most)
  local frames, n = {}, 0
  while n < most and level < 200 do
    local info = getinfo(thread, level, "Sln")
    if not info then break end
    if sub(info.source, 1, 1) == "@" then
      n = n + 1
      frames[n] = {
        source = info.short_src,
        line = info.currentline,
        name = info.what == "main" and "main chunk" or info.name or format("function <%d>", info.linedefined),
        type = info.what == "main" and "main" or "Lua",
      }
    end
    level = level + 1
  end
  return frames
end

-- An error with the position of the user code that led here, also where a tail call has left no frame of it at a fixed
-- level. Without any user frame there is no position: a line of the library would not stay the same.
function rt.raise(text)
  local frame = rt.user_frames(running(), 2, 1)[1]
  error(frame and frame.source .. ":" .. frame.line .. ": " .. text or text, 0)
end

function rt.argerror(n, fname, text) return rt.raise("bad argument #" .. n .. " to '" .. fname .. "' (" .. text .. ")") end

function rt.typeerror(n, fname, expected, value)
  local mt = getmetatable(value)
  local got = value == nil and "no value"
    or mt and rawtype(mt) == "table" and rawtype(rawget(mt, "__name")) == "string" and mt.__name or rawtype(value)
  return rt.argerror(n, fname, expected .. " expected, got " .. got)
end
return true
