"""The proleptic Gregorian calendar for any year, which ``datetime`` has only for 1 to 9999.

Source: H. Hinnant, "chrono-compatible low-level date algorithms".
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MONTHS", "WEEKDAYS", "Civil", "civil_from_seconds", "day_of_year", "days_from_civil", "days_in_month"]

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Civil(NamedTuple):
    """A date and a time of day.

    Attributes:
        weekday: 0 is Sunday.
    """

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    weekday: int


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """Tell how many days a month (1 to 12) has."""
    return 29 if month == 2 and _is_leap(year) else _LENGTHS[month - 1]


def days_from_civil(year: int, month: int, day: int) -> int:
    """Count days from 1970-01-01; the day may lie outside its month."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_in_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_in_year - 719_468


def civil_from_seconds(second: int) -> Civil:
    """Give date and time of a second counted from 1970-01-01 00:00:00, on the same clock."""
    days, rest = divmod(second, 86_400)
    shifted = days + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_in_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_in_year + 2) // 153
    day = day_in_year - (153 * month_index + 2) // 5 + 1
    month = month_index + (3 if month_index < 10 else -9)
    year = year_of_era + era * 400 + (month <= 2)
    return Civil(year, month, day, rest // 3_600, rest % 3_600 // 60, rest % 60, (days + 4) % 7)


def day_of_year(year: int, month: int, day: int) -> int:
    """Number a day within its year, from 1."""
    return days_from_civil(year, month, day) - days_from_civil(year, 1, 1) + 1
