"""Times written by an example: the layouts of Go, where ``2006-01-02 15:04:05`` shows the wanted form.

Source: Go ``time`` package, format.go (nextStdChunk, appendFormat).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from orchestration.core.lua.host import HostError, host_function
from orchestration.core.lua.hostlib.calendar import MONTHS, WEEKDAYS, Civil, civil_from_seconds, day_of_year
from orchestration.core.lua.hostlib.values import Value, as_text

__all__ = ["MOST_LAYOUT_CHARACTERS", "Piece", "format_time", "split_layout"]

MOST_LAYOUT_CHARACTERS = 1024

_ELEMENT = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST"
    r"|002|01|02|03|04|05|06|15"
    r"|2006|__2|_2(?!006)|_(?=2006)|1(?!5)|2(?!006)|3|4|5"
    r"|PM|pm"
    r"|-07:00:00|-070000|-07:00|-0700|-07"
    r"|Z07:00:00|Z070000|Z07:00|Z0700|Z07"
    r"|[.,](?:0+|9+)(?![0-9])"
)
_ZONE_FORMS = frozenset(f"{sign}{form}" for sign in "-Z" for form in ("07:00:00", "070000", "07:00", "0700", "07"))


class Piece(NamedTuple):
    """One part of a layout: literal text before an element, and the element (empty at the end)."""

    before: str
    element: str

    @property
    def is_fraction(self) -> bool:
        """Whether the element is a fraction of a second."""
        return self.element[:1] in (".", ",")

    @property
    def is_offset(self) -> bool:
        """Whether the element is a numeric offset from UTC."""
        return self.element in _ZONE_FORMS


@functools.lru_cache(maxsize=256)
def split_layout(layout: str) -> tuple[Piece, ...]:
    """Cut a layout at its elements.

    Raises:
        HostError: ``Invalid`` when it is too long to be a layout.
    """
    if len(layout) > MOST_LAYOUT_CHARACTERS:
        raise HostError("Invalid", f"time: a layout has at most {MOST_LAYOUT_CHARACTERS} characters")
    pieces: list[Piece] = []
    begin = 0
    for found in _ELEMENT.finditer(layout):
        if found[0] == "_":  # "_2006" is an underscore and a year
            continue
        pieces.append(Piece(layout[begin : found.start()], found[0]))
        begin = found.end()
    pieces.append(Piece(layout[begin:], ""))
    return tuple(pieces)


def _hour12(civil: Civil) -> int:
    return civil.hour % 12 or 12


def _year(year: int) -> str:
    return f"{year:04d}" if year >= 0 else f"-{-year:04d}"


_WRITERS: dict[str, Callable[[Civil], str]] = {
    "January": lambda civil: MONTHS[civil.month - 1],
    "Jan": lambda civil: MONTHS[civil.month - 1][:3],
    "1": lambda civil: str(civil.month),
    "01": lambda civil: f"{civil.month:02d}",
    "Monday": lambda civil: WEEKDAYS[civil.weekday],
    "Mon": lambda civil: WEEKDAYS[civil.weekday][:3],
    "2": lambda civil: str(civil.day),
    "_2": lambda civil: f"{civil.day:2d}",
    "02": lambda civil: f"{civil.day:02d}",
    "__2": lambda civil: f"{day_of_year(civil.year, civil.month, civil.day):3d}",
    "002": lambda civil: f"{day_of_year(civil.year, civil.month, civil.day):03d}",
    "15": lambda civil: f"{civil.hour:02d}",
    "3": lambda civil: str(_hour12(civil)),
    "03": lambda civil: f"{_hour12(civil):02d}",
    "4": lambda civil: str(civil.minute),
    "04": lambda civil: f"{civil.minute:02d}",
    "5": lambda civil: str(civil.second),
    "05": lambda civil: f"{civil.second:02d}",
    "2006": lambda civil: _year(civil.year),
    "06": lambda civil: f"{civil.year % 100:02d}",
    "PM": lambda civil: "PM" if civil.hour >= 12 else "AM",
    "pm": lambda civil: "pm" if civil.hour >= 12 else "am",
}


def _offset_text(form: str, offset: int) -> str:
    if form.startswith("Z") and offset == 0:
        return "Z"
    sign, size = ("-", -offset) if offset < 0 else ("+", offset)
    hours, minutes, seconds = size // 3_600, size % 3_600 // 60, size % 60
    colon = ":" if ":" in form else ""
    text = f"{sign}{hours:02d}"
    if len(form) > 3:
        text += f"{colon}{minutes:02d}"
    if len(form) > 6:
        text += f"{colon}{seconds:02d}"
    return text


def _abbreviation(name: str, offset: int) -> str:
    if name:
        return name
    sign, size = ("-", -offset) if offset < 0 else ("+", offset)
    return f"{sign}{size // 3_600:02d}{size % 3_600 // 60:02d}"


def _fraction(element: str, nanosecond: int) -> str:
    digits = f"{nanosecond:09d}"[: len(element) - 1]
    if element[1] == "9":
        digits = digits.rstrip("0")
        return element[0] + digits if digits else ""
    return element[0] + digits


def format_time(layout: str, second: int, nanosecond: int, *, offset: int, abbreviation: str) -> str:
    """Write a time in the form that a layout shows.

    Args:
        layout: The example, such as ``Mon Jan _2 15:04:05 2006``.
        second: Seconds since the epoch.
        nanosecond: Part of that second, 0 to 999999999.
        offset: Seconds east of UTC.
        abbreviation: Name of the zone at that time; empty for none.
    """
    civil = civil_from_seconds(second + offset)
    out: list[str] = []
    for piece in split_layout(layout):
        out.append(piece.before)
        element = piece.element
        if element in _WRITERS:
            out.append(_WRITERS[element](civil))
        elif element == "MST":
            out.append(_abbreviation(abbreviation, offset))
        elif piece.is_offset:
            out.append(_offset_text(element, offset))
        elif element:
            out.append(_fraction(element, nanosecond))
    return "".join(out)


@host_function("time.format")
def _format(layout: Value, second: Value, nanosecond: Value, offset: Value, abbreviation: Value) -> Value:
    if not isinstance(second, int) or not isinstance(nanosecond, int) or not isinstance(offset, int):
        raise HostError("Invalid", "time: not a time")
    return format_time(
        as_text(layout, "layout"), second, nanosecond, offset=offset, abbreviation=str(abbreviation or "")
    )
