local errors = require("errors")
local time = require("time")

local function import_row(row)
  if type(row) ~= "table" or not row.id then
    return nil, errors.new { message = "a row needs an id", kind = errors.INVALID, retryable = false }
  end
  time.sleep(row.takes or "5ms")
  return row.id
end
return { import_row = import_row }
