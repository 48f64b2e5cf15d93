-- calendar: the Gregorian calendar for any year, and the zones of clocks, for the modules time and os.
-- Source: H. Hinnant, "chrono-compatible low-level date algorithms".
local rt = ...
local calendar = {}

-- days_from_civil(year, month, day) -> days since 1970-01-01; the day may lie outside its month
local function days_from_civil(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
end
calendar.days_from_civil = days_from_civil

-- civil_from_days(days) -> year, month, day
local function civil_from_days(days)
  days = days + 719468
  local era = days // 146097
  local day_of_era = days - era * 146097
  local year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
  local day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local index = (5 * day_of_year + 2) // 153
  local month = index + (index < 10 and 3 or -9)
  return year_of_era + era * 400 + (month <= 2 and 1 or 0), month, day_of_year - (153 * index + 2) // 5 + 1
end
calendar.civil_from_days = civil_from_days

-- civil(second) -> year, month, day, hour, minute, second, weekday (0 is Sunday), day of the year (from 1)
function calendar.civil(second)
  local days = second // 86400
  local rest = second - days * 86400
  local year, month, day = civil_from_days(days)
  return year, month, day, rest // 3600, rest % 3600 // 60, rest % 60, (days + 4) % 7,
    days - days_from_civil(year, 1, 1) + 1
end

-- second_of(year, month, day, hour, minute, second) -> seconds, as if in UTC; every part may be out of its range
function calendar.second_of(year, month, day, hour, minute, second)
  local index = month - 1
  return days_from_civil(year + index // 12, index % 12 + 1, day) * 86400 + hour * 3600 + minute * 60 + second
end

-- offset(zone, second) -> seconds east of UTC, abbreviation, whether it is summer time
function calendar.offset(zone, second)
  if zone == "UTC" then return 0, "UTC", false end
  rt.charge(500)
  local found, problem = rt.host("time.offset", zone, second)
  if not found then rt.raw.error(problem, 0) end
  return found[1], found[2], found[3]
end

-- utc_of(zone, second) -> the second at which a clock in the zone shows it
function calendar.utc_of(zone, second)
  if zone == "UTC" then return second end
  rt.charge(1000)
  local found, problem = rt.host("time.second_of", zone, second)
  if not found then rt.raw.error(problem, 0) end
  return found
end

return calendar
