"""Statements of SQL: placeholders as code writes them, made into those of a driver.

Values are never put into the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestration.core.lua.host import HostError

__all__ = ["bind"]

# What is opened and never closed goes on to the end: to look for its end from each beginning would take for ever.
_STANDARD: Final = r"""'(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z)"""
_ESCAPED: Final = r"""'(?:[^'\\]|''|\\(?:.|\Z))*(?:'|\Z)"""
_ESCAPED_DOUBLE: Final = _ESCAPED.replace("'", '"')
_OTHERS: Final = r"""
    | `[^`]*(?:`|\Z)
    | --[^\n]*
    | /\*.*?(?:\*/|\Z)
    | (?<![\w$])\$\$.*?(?:\$\$|\Z)
    | (?<![\w$])\$(?P<tag>[A-Za-z_]\w*)\$.*?(?:\$(?P=tag)\$|\Z)
    | ::
    | (?P<literal>\?\?)
    | (?P<mark>\?)
    | \$(?P<number>[1-9]\d*)
    | :(?P<name>[A-Za-z_]\w*)
"""
_FLAGS: Final = re.VERBOSE | re.DOTALL
_PARTS: Final = re.compile(rf"(?<!\w)[eE]{_ESCAPED} | {_STANDARD} {_OTHERS}", _FLAGS)
"""As the standard has it: a backslash in a text is one, but in Postgres' ``E'...'``."""
_PARTS_OF_MYSQL: Final = re.compile(f"{_ESCAPED} | {_ESCAPED_DOUBLE} {_OTHERS}", _FLAGS)
"""A backslash hides what comes after it."""


def bind(
    statement: str, values: Sequence[Any] | Mapping[str, Any], *, paramstyle: str, backslashes: bool = False
) -> tuple[str, tuple[Any, ...]]:
    """Give a statement the placeholders of a driver.

    Args:
        statement: With ``?`` or ``$1`` for values in a list, or ``:name`` for named ones; ``??`` is a question mark.
            What stands in quotes or comments is left alone.
        values: A list, or by name.
        paramstyle: Of the driver: ``qmark``, or ``format`` and ``pyformat``, where a percent sign is doubled.
        backslashes: A backslash in a text hides what comes after it.

    Returns:
        The statement, and its values in the order of the placeholders.

    Raises:
        HostError: ``Invalid``: a value is missing or one is left over.
    """
    is_percent = paramstyle in ("format", "pyformat")
    mark = "%s" if is_percent else "?"
    by_name = isinstance(values, Mapping)
    found: list[Any] = []
    used: set[int | str] = set()
    pieces: list[str] = []
    place, at = 0, 0

    def plain(text: str) -> str:
        return text.replace("%", "%%") if is_percent else text

    def take(key: int | str) -> str:
        if isinstance(values, Mapping):
            if key not in values:
                raise HostError("Invalid", f"the statement has a parameter :{key}, and there is no value for it")
            found.append(values[str(key)])
        else:
            if not isinstance(key, int) or key > len(values):
                raise HostError("Invalid", f"the statement has a parameter {key}, and there are {len(values)} values")
            found.append(values[key - 1])
        used.add(key)
        return mark

    for match in (_PARTS_OF_MYSQL if backslashes else _PARTS).finditer(statement):
        pieces.append(plain(statement[at : match.start()]))
        at = match.end()
        if match["literal"]:
            pieces.append("?")
        elif match["mark"] and not by_name:
            place += 1
            pieces.append(take(place))
        elif match["number"] and not by_name:
            pieces.append(take(int(match["number"])))
        elif match["name"] and by_name:
            pieces.append(take(match["name"]))
        else:
            pieces.append(plain(match[0]))
    pieces.append(plain(statement[at:]))
    left = [key for key in (values if by_name else range(1, len(values) + 1)) if key not in used]
    if left:
        raise HostError("Invalid", f"the statement has no parameter for the value {left[0]}")
    return "".join(pieces), tuple(found)
