"""Checks of values that come from Python code of others: one clear error says what a value is and what it must be."""

from __future__ import annotations

import datetime as dt
from typing import Any

__all__ = ["LONGEST", "MOST_TEXT_BYTES", "check_kind", "check_span", "check_text"]

MOST_TEXT_BYTES = 64 * 1024
LONGEST = dt.timedelta(days=100_000)
"""Longer than any duration that is meant."""


def check_kind(what: str, value: Any, kind: type | tuple[type, ...], words: str) -> None:
    """Refuse a value of another type; True and False are no numbers.

    Raises:
        TypeError: It is of another type.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{what} is {words}, not {value!r:.100} ({type(value).__name__})")


def check_span(what: str, value: Any) -> None:
    """Refuse what is no duration, is negative, or longer than 100,000 days.

    Raises:
        TypeError: It is no timedelta.
        ValueError: It cannot be meant.
    """
    check_kind(what, value, dt.timedelta, "a timedelta")
    if value < dt.timedelta():
        raise ValueError(f"{what} is not negative: {value}")
    if value > LONGEST:
        raise ValueError(f"{what} is at most {LONGEST.days:,} days: {value}")


def check_text(what: str, value: Any, *, least: int = 0, most: int = MOST_TEXT_BYTES) -> str:
    """Refuse what is no text, or of another size.

    Args:
        what: What it is, for the message: ``a reason``.
        value: What was given.
        least: Fewest bytes of its UTF-8.
        most: Most of them.

    Returns:
        The text.

    Raises:
        TypeError: It is no text.
        ValueError: It is too short or too long, or is not Unicode (a lone surrogate).
    """
    check_kind(what, value, str, "text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} is no valid Unicode text: {value!r:.100}") from None
    if size < least:
        raise ValueError(f"{what} is not empty")
    if size > most:
        raise ValueError(f"{what} has at most {most} bytes, not {size}: {value!r:.60}...")
    return str(value)
