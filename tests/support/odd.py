"""Input that nobody means well with: each page and route answers it with less than 500."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

__all__ = ["ODD_PATHS", "ODD_TEXTS", "ODD_VALUES", "VALID_JSON"]

ODD_TEXTS: Final = {
    "more digits than Python reads": "9" * 5000, "beyond 64 bits": "9" * 30, "64 bits": "9223372036854775807",
    "zeros first": "0" * 20 + "5", "negative": "-1", "fraction": "1.5", "digits of others": "\u0661\u0662",
    "no digit": "\u00b2", "NUL": "a\0b", "controls": "\x1b[31m\r\n\u2028\x85", "not Unicode": "\ufffe\uffff",
    "long": "x" * 20_000, "wide": "\U0001f600" * 3000, "blank": " ", "cursor": "99999999999999.ff",
    "cursor without a time": ".ff", "cursor of digits": "9" * 400 + ".", "condition": "amount > " + "9" * 5000,
    "condition of a fraction": "amount < 1e99999", "condition of times": "started > " + "9" * 40,
    "many conditions": " and ".join(f"a{n} = {n}" for n in range(500)), "deep": "(" * 3000, "pattern": "*[^]?\\{}%",
    "time": "started > '0001-01-01T00:00:00+14:00'", "last time": "closed < '9999-12-31T23:59:59-14:00'",
}  # fmt: skip
"""Texts for a parameter of a URL or a field of a form, by what is odd about them."""

ODD_PATHS: Final = (
    "%00", "a%00b", "%FF%FE", "%ED%A0%80", "%0D%0AX-Odd:%201", "..%2F..%2Fetc", "%2E%2E", "x" * 20_000, "%25", "%7B%7D",
    "*", quote("\U0001f600" * 500), "9" * 5000, "%20",
)  # fmt: skip
"""Parts of a path, as they are sent."""

ODD_VALUES: Final[dict[str, Any]] = {
    "NUL": "a\0b", "half a character": "\ud800", "long": "x" * 300_000, "beyond 64 bits": 10**30, "huge": 10**400,
    "largest fraction": 1.7e308, "negative": -1, "true": True, "none": None, "empty": "", "list": [],
    "lists": [[["x"] * 9] * 9],
    "object": {}, "objects": {"a": {"\ud800": {"b": "\0"}}}, "digits": "9" * 5000,
    "half characters in a list": ["\udfff"], "span": "9" * 400 + "d", "number in a list": [10**30],
}  # fmt: skip
"""JSON values for a member of a body."""

VALID_JSON: Final = (b'{"args": ' + b"9" * 5000 + b"}", b'{"args": [' + b"[" * 900 + b"]" * 900 + b"]}")
"""Bodies that are JSON, and more than is read."""
