-- codec_rare: what few values need of the codec. Adds to rt: refuse_keys, refuse_depth, unknown_stage (errors),
--   array_length, map_bytes(table) -> bytes of a map, also when it is empty; as_map(table) -> the same table, which stays a
--   map when it is empty.
local rt = ...
local raw = rt.raw
local next, rawget, error = raw.next, raw.rawget, raw.error

local function refuse(text)
  error(rt.new_error({ message = text, kind = "Internal", retryable = false }), 0)
end

function rt.refuse_depth() refuse("cannot encode table: more than 128 levels, or it contains itself") end

function rt.refuse_keys(strings, count, bad, low, other)
  if other then refuse("cannot encode table with mixed keys: a key is neither text nor an integer") end
  if strings and count > 0 then refuse("cannot encode table with mixed keys: text and integers") end
  if bad then refuse("cannot encode table key: not valid UTF-8") end
  if low then refuse("cannot encode sparse array: an index is less than 1") end
end

-- How long an array is; remembered is the length it had when it was decoded with nils in it.
function rt.array_length(t, count, largest, remembered)
  if remembered then
    if largest > remembered then
      for i = remembered + 1, largest do
        if rawget(t, i) == nil then refuse("cannot encode sparse array: element " .. i .. " is missing") end
      end
      return largest
    end
    return remembered
  end
  if largest ~= count then
    refuse("cannot encode sparse array: " .. count .. " elements, the last has the index " .. largest)
  end
  return count
end

function rt.map_bytes(t)
  if next(t) == nil then return "\x80" end
  return rt.pack(t)
end

function rt.as_map(t)
  rt.empty_maps[t] = true
  return t
end

function rt.unknown_stage() error("payload stage is not known to this release", 0) end
return true
