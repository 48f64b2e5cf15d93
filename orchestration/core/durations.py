"""Durations as definition files, options and Lua write them: Go style texts, or numbers of milliseconds."""

from __future__ import annotations

import math
import re
from fractions import Fraction

__all__ = ["format_duration", "parse_duration_ms"]

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # micro sign
    "μs": 1_000,  # Greek mu, which Go takes as well
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<unit>ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST_NS = 2**63 - 1
_LONGEST_TEXT = 100
_MILLISECOND_NS = 1_000_000


def parse_duration_ms(value: object) -> int:
    """Read a duration.

    Args:
        value: A Go style text such as ``"1h30m"``, ``"250ms"``, ``"-1.5s"`` or ``"0"``, or a number of
            milliseconds (fractions allowed).

    Returns:
        Whole milliseconds; what is left of one is rounded away from zero, so that a wait is never shorter than asked.

    Raises:
        ValueError: The value is no duration, or is longer than about 292 years; the text says what is wrong.

    Source: the grammar of ``time.ParseDuration`` (Go standard library).
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        msg = "must be a duration such as '1h30m' or '250ms', or a number of milliseconds"
        raise ValueError(msg)
    if isinstance(value, str):
        exact_ns = _parse_text_ns(value)
    else:
        if not math.isfinite(value):
            msg = "must be a finite duration"
            raise ValueError(msg)
        exact_ns = Fraction(value) * _MILLISECOND_NS
    if abs(exact_ns) > _LONGEST_NS:
        msg = "is too long: the longest duration is about 292 years"
        raise ValueError(msg)
    whole = math.ceil(abs(exact_ns) / _MILLISECOND_NS)
    return -whole if exact_ns < 0 else whole


def _parse_text_ns(text: str) -> Fraction:
    sign, rest = 1, text
    if rest[:1] in {"+", "-"}:
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return Fraction(0)
    total, position = Fraction(0), 0
    while position < len(rest) and len(rest) <= _LONGEST_TEXT:
        part = _PART.match(rest, position)
        if part is None:
            break
        total += Fraction(part["number"]) * _NANOSECONDS[part["unit"]]
        position = part.end()
    if not rest or position < len(rest):
        msg = "is not a duration: write numbers with units (ns, us, ms, s, m, h), such as '1h30m' or '250ms'"
        raise ValueError(msg)
    return sign * total


def format_duration(ms: int) -> str:
    """Write milliseconds as Go does: ``"1h30m0s"``, ``"1.5s"``, ``"250ms"``, ``"0s"``."""
    if ms == 0:
        return "0s"
    sign, ms = ("-", -ms) if ms < 0 else ("", ms)
    if ms < 1000:
        return f"{sign}{ms}ms"
    minutes, rest = divmod(ms, 60_000)
    seconds = f"{rest // 1000}.{rest % 1000:03d}".rstrip("0").rstrip(".") if rest % 1000 else str(rest // 1000)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}s"
    return f"{sign}{minutes}m{seconds}s" if minutes else f"{sign}{seconds}s"
