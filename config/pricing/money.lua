-- Amounts are whole cents: no fractions, no rounding that differs between machines.
local money = {}

-- 1234 -> "12.34"
function money.format(cents)
    return string.format("%d.%02d", cents // 100, cents % 100)
end

-- True for a whole number of cents that is not negative.
function money.is_amount(value)
    return math.type(value) == "integer" and value >= 0
end

return money
