"""JSON that people and programs send: read so that no number becomes another one."""

from __future__ import annotations

import json
import math
from typing import Any, Final

__all__ = ["read_json"]

_MOST_DIGITS: Final = 4000
"""Python refuses to read somewhat more, in words that are about Python."""
_MOST_SHOWN: Final = 40


def read_json(text: str | bytes) -> Any:
    """Read one JSON value; integers keep all their digits, and what has a fraction or an exponent is a float.

    Args:
        text: The value; bytes are UTF-8.

    Returns:
        The value. An integer may be larger than a payload takes, which says so then, with its place.

    Raises:
        json.JSONDecodeError: It is none.
        ValueError: It has what no JSON and no payload has: ``NaN``, ``1e999``, an integer of thousands of digits.
        RecursionError: It has lists in lists, too deep to be read.
    """
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_fraction, parse_int=_integer)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _fraction(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # it would go on as infinity, without a word
        raise ValueError(f"the number {_shown(text)} is beyond all floats; send it as text")
    return value


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"the integer {_shown(text)} does not fit in 64 bits; send it as text")
    return int(text)


def _shown(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}… of {len(text)} characters"
