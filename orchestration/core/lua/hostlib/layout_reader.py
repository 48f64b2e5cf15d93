"""Times read by an example, the other way round than `layouts`.

Source: Go ``time`` package, format.go (parse, skip, getnum, parseTimeZone, parseNanoseconds).
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from orchestration.core.lua.host import HostError, host_function
from orchestration.core.lua.hostlib.calendar import MONTHS, WEEKDAYS, day_of_year, days_from_civil, days_in_month
from orchestration.core.lua.hostlib.layouts import Piece, split_layout
from orchestration.core.lua.hostlib.values import LUA_INTEGER_MAX, LUA_INTEGER_MIN, Value, as_text
from orchestration.core.lua.hostlib.zones import load_zone, offset_at, offset_of_name

__all__ = ["Location", "ParsedTime", "parse_time"]

_MOST_TEXT_CHARACTERS = 1024
_SIGNED_HOURS = re.compile(r"[+-]([0-9]+)")
_UPPER = re.compile(r"[A-Z]{0,6}")
_OFFSETS = {
    "07:00:00": re.compile(r"([+-])([0-9]{2}):([0-9]{2}):([0-9]{2})"),
    "070000": re.compile(r"([+-])([0-9]{2})([0-9]{2})([0-9]{2})"),
    "07:00": re.compile(r"([+-])([0-9]{2}):([0-9]{2})"),
    "0700": re.compile(r"([+-])([0-9]{2})([0-9]{2})"),
    "07": re.compile(r"([+-])([0-9]{2})"),
}
_FIXED_TWO = re.compile(r"[0-9]{2}")
_ONE_OR_TWO = re.compile(r"[0-9]{1,2}")
_RANGES = {"month": (1, 12), "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}
_NUMBERS = {
    "1": "month",
    "01": "month",
    "2": "day",
    "_2": "day",
    "02": "day",
    "15": "hour",
    "3": "hour12",
    "03": "hour12",
    "4": "minute",
    "04": "minute",
    "5": "second",
    "05": "second",
}


class Location(NamedTuple):
    """Where a clock hangs: a zone by name, or a fixed offset when `offset` is given."""

    name: str
    offset: int | None = None

    def at(self, second: int) -> tuple[int, str]:
        """Give offset and abbreviation at a second since the epoch."""
        return offset_at(load_zone(self.name), second) if self.offset is None else (self.offset, self.name)

    def second_of(self, local_second: int) -> int:
        """Give the second since the epoch at which a clock hung here shows `local_second`.

        Source: Go ``time.Date``: in a gap or an overlap, one of the two readings, always the same.
        """
        first, _ = self.at(local_second)
        if first == 0:
            return local_second
        second, _ = self.at(local_second - first)
        return local_second - second


_UTC = Location("UTC")


class ParsedTime(NamedTuple):
    """A time that was read."""

    second: int
    nanosecond: int
    location: Location


class _Mismatch(Exception):  # noqa: N818 - never leaves this module
    """The text does not fit the element; the argument says more when the number is out of range."""


class _Reader:
    def __init__(self, layout: str, text: str) -> None:
        self._layout = layout
        self._whole = text
        self.rest = text
        self.fields: dict[str, int] = {}
        self.is_utc = False
        self.offset: int | None = None
        self.zone_name = ""
        self._half = ""

    def read(self) -> None:
        """Read the whole text."""
        pieces = split_layout(self._layout)
        for number, piece in enumerate(pieces):
            self._skip(piece.before)
            if not piece.element:
                if self.rest:
                    self._fail(f": extra text: {self.rest!r}")
                continue
            hold = self.rest
            try:
                self._element(piece, pieces[number + 1])
            except _Mismatch as error:
                if error.args:
                    self._fail(f": {error.args[0]} out of range")
                self._fail_at(hold, piece.element)
        if self._half.upper() == "PM" and self.fields.get("hour", 0) < 12:
            self.fields["hour"] = self.fields.get("hour", 0) + 12
        elif self._half.upper() == "AM" and self.fields.get("hour") == 12:
            self.fields["hour"] = 0

    def _fail(self, reason: str) -> NoReturn:
        raise HostError("Invalid", f"parsing time {self._whole!r}{reason}".replace("'", '"'))

    def _fail_at(self, rest: str, element: str) -> NoReturn:
        self._fail(f" as {self._layout!r}: cannot parse {rest!r} as {element!r}")

    def _skip(self, before: str) -> None:
        """Skip literal text; any number of spaces, even none at the end, fits any number of spaces."""
        hold = self.rest
        position = 0
        while position < len(before):
            character = before[position]
            if character == " ":
                if self.rest and self.rest[0] != " ":
                    self._fail_at(hold, before)
                position += len(before) - position - len(before[position:].lstrip(" "))
                self.rest = self.rest.lstrip(" ")
                continue
            if not self.rest.startswith(character):
                self._fail_at(hold, before)
            position += 1
            self.rest = self.rest[1:]

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.rest)
        if found is None:
            raise _Mismatch
        self.rest = self.rest[found.end() :]
        return found

    def _take_characters(self, count: int) -> str:
        if len(self.rest) < count:
            raise _Mismatch
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def _name(self, names: tuple[str, ...], *, short: bool) -> int:
        for number, name in enumerate(names):
            wanted = name[:3] if short else name
            if self.rest[: len(wanted)].lower() == wanted.lower():
                self.rest = self.rest[len(wanted) :]
                return number
        raise _Mismatch

    def _element(self, piece: Piece, following: Piece) -> None:  # noqa: PLR0912
        element = piece.element
        if element in _NUMBERS:
            self._number(element, following)
        elif element in ("January", "Jan"):
            self.fields["month"] = self._name(MONTHS, short=element == "Jan") + 1
        elif element in ("Monday", "Mon"):
            self._name(WEEKDAYS, short=element == "Mon")
        elif element == "2006":
            self.fields["year"] = int(self._take(re.compile("[0-9]{4}"))[0])
        elif element == "06":
            year = int(self._take(_FIXED_TWO)[0])
            self.fields["year"] = year + (1900 if year >= 69 else 2000)
        elif element in ("002", "__2"):
            if element == "__2":
                self.rest = self.rest[min(2, len(self.rest) - len(self.rest.lstrip(" "))) :]
            self.fields["yday"] = int(self._take(re.compile("[0-9]{3}" if element == "002" else "[0-9]{1,3}"))[0])
        elif element in ("PM", "pm"):
            self._half = self._take_characters(2)
            if self._half not in ((element, "AM") if element == "PM" else (element, "am")):
                raise _Mismatch
        elif piece.is_offset:
            self._read_offset(element)
        elif element == "MST":
            self._read_zone()
        else:
            self._read_fraction(element)

    def _number(self, element: str, following: Piece) -> None:
        if element == "_2" and self.rest.startswith(" "):
            self.rest = self.rest[1:]
        name = _NUMBERS[element]
        value = int(self._take(_FIXED_TWO if element.startswith("0") else _ONE_OR_TWO)[0])
        low, high = (0, 12) if name == "hour12" else _RANGES.get(name, (0, 99))
        field = "hour" if name == "hour12" else name
        if not low <= value <= high:
            raise _Mismatch(field)
        self.fields[field] = value
        if field == "second" and re.match(r"[.,][0-9]", self.rest):
            # The text has a fraction where the layout need not have one.
            if following.is_fraction and not following.before:
                return
            self._nanoseconds(self._take(re.compile(r"[.,][0-9]+"))[0])

    def _nanoseconds(self, text: str) -> None:
        if text[0] not in ".,":
            raise _Mismatch
        digits = text[1:10]
        if not digits.isascii() or not digits.isdigit():
            raise _Mismatch
        self.fields["nanosecond"] = int(digits.ljust(9, "0"))

    def _read_fraction(self, element: str) -> None:
        if element[1] == "0":
            self._nanoseconds(self._take_characters(len(element)))
        elif re.match(r"[.,][0-9]", self.rest):
            self._nanoseconds(self._take(re.compile(r"[.,][0-9]+"))[0])

    def _read_offset(self, element: str) -> None:
        if element.startswith("Z") and self.rest.startswith("Z"):
            self.rest = self.rest[1:]
            self.is_utc = True
            return
        found = self._take(_OFFSETS[element[1:]])
        hours, minutes, seconds = (int(part) for part in (*found.groups()[1:], "0", "0")[:3])
        if hours > 24:
            raise _Mismatch("time zone offset hour")
        if minutes > 60:
            raise _Mismatch("time zone offset minute")
        if seconds > 60:
            raise _Mismatch("time zone offset second")
        size = (hours * 60 + minutes) * 60 + seconds
        self.offset = -size if found[1] == "-" else size

    def _read_zone(self) -> None:
        if self.rest.startswith("UTC"):
            self.rest = self.rest[3:]
            self.is_utc = True
            return
        length = _zone_length(self.rest)
        if length == 0:
            raise _Mismatch
        self.zone_name = self._take_characters(length)

    def local_second(self) -> int:
        """Give what the clock showed, as seconds."""
        year, month, day = self.fields.get("year", 0), self.fields.get("month"), self.fields.get("day")
        if "yday" in self.fields:
            month, day = self._from_day_of_year(year, month, day)
        month, day = month or 1, 1 if day is None else day
        if not 1 <= day <= days_in_month(year, month):
            self._fail(": day out of range")
        clock = (self.fields.get("hour", 0) * 60 + self.fields.get("minute", 0)) * 60 + self.fields.get("second", 0)
        return days_from_civil(year, month, day) * 86_400 + clock

    def _from_day_of_year(self, year: int, month: int | None, day: int | None) -> tuple[int, int]:
        rest = self.fields["yday"]
        if not 1 <= rest <= day_of_year(year, 12, 31):
            self._fail(": day-of-year out of range")
        found = 1
        while rest > days_in_month(year, found):
            rest -= days_in_month(year, found)
            found += 1
        if month is not None and month != found:
            self._fail(": day-of-year does not match month")
        if day is not None and day != rest:
            self._fail(": day-of-year does not match day")
        return found, rest


def _zone_length(text: str) -> int:
    """Tell how many characters at the start look like the name of a zone; 0 when none do."""
    if len(text) < 3:
        return 0
    if text[:4] in ("ChST", "MeST"):
        return 4
    if text.startswith("GMT"):
        return 3 + _signed_length(text[3:])
    if text[0] in "+-":
        return _signed_length(text)
    found = _UPPER.match(text)
    upper = found.end() if found else 0
    if upper == 3 or (upper == 4 and (text[3] == "T" or text[:4] == "WITA")) or (upper == 5 and text[4] == "T"):
        return upper
    return 0


def _signed_length(text: str) -> int:
    found = _SIGNED_HOURS.match(text)
    return found.end() if found and len(found[1]) < 6 and int(found[1]) <= 23 else 0


def parse_time(layout: str, text: str, *, default: Location, local: Location) -> ParsedTime:
    """Read a time that is written as the layout shows.

    Args:
        layout: The example, such as ``2006-01-02 15:04:05``.
        text: The time.
        default: Where the clock hangs when the text does not say.
        local: The place whose zone is kept when the text's offset or abbreviation fits it.

    Raises:
        HostError: ``Invalid``, with what does not fit.
    """
    if len(text) > _MOST_TEXT_CHARACTERS:
        raise HostError("Invalid", f"parsing time: more than {_MOST_TEXT_CHARACTERS} characters")
    reader = _Reader(layout, text)
    reader.read()
    clock = reader.local_second()
    nanosecond = reader.fields.get("nanosecond", 0)
    if reader.is_utc:
        return ParsedTime(clock, nanosecond, _UTC)
    if reader.offset is not None:
        second = clock - reader.offset
        offset, name = local.at(second)
        is_local = offset == reader.offset and reader.zone_name in ("", name)
        return ParsedTime(second, nanosecond, local if is_local else Location(reader.zone_name, reader.offset))
    if reader.zone_name:
        known = _known_offset(local, reader.zone_name, clock)
        if known is not None:
            return ParsedTime(clock - known, nanosecond, local)
        offset = 0
        if reader.zone_name.startswith("GMT") and len(reader.zone_name) > 3:
            offset = int(reader.zone_name[3:]) * 3_600
        return ParsedTime(clock - offset, nanosecond, Location(reader.zone_name, offset))
    return ParsedTime(default.second_of(clock), nanosecond, default)


def _known_offset(local: Location, name: str, clock: int) -> int | None:
    if local.offset is not None:
        return local.offset if local.name == name else None
    return offset_of_name(load_zone(local.name), name, clock)


def _location(value: Value) -> Location:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], int):
        return Location(str(value[0]), value[1])
    return Location(str(value[0] if isinstance(value, list) else value))


@host_function("time.parse")
def _parse(layout: Value, text: Value, default: Value, local: Value) -> Value:
    """Give ``[second, nanosecond, zone]`` or, when only the offset is known, ``[second, nanosecond, name, offset]``."""
    found = parse_time(
        as_text(layout, "layout"), as_text(text, "value"), default=_location(default), local=_location(local)
    )
    place: list[Value] = [found.location.name]
    if found.location.offset is not None:
        place.append(found.location.offset)
    return [found.second, found.nanosecond, *place]


@host_function("time.second_of")
def _second_of(name: Value, local_second: Value) -> Value:
    """Give the second since the epoch at which a clock in the named zone shows `local_second`."""
    second = Location(str(name)).second_of(local_second if isinstance(local_second, int) else 0)
    return max(LUA_INTEGER_MIN, min(second, LUA_INTEGER_MAX))
