"""Expressions of policies, in CEL: no loops but over what is there, no assignments, no functions of our own.

CEL is evaluated by the library ``cel`` (a Rust program), which runs regular expressions in linear time and refuses
deep nesting. What could still take long is bounded here: the length of an expression, one macro that goes through a
list or map (two could be nested), and the number and size of the values that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestration.core.policies import Access, PolicyFaultError

__all__ = ["MissingLibraryError", "compile_expression"]

_MOST_SOURCE_BYTES: Final = 4096
_MOST_VALUES: Final = 1000
_MOST_VALUE_BYTES: Final = 64 * 1024
_NAMES: Final = frozenset({"actor", "action", "resource", "meta"})
_TYPES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_FUNCTIONS: Final = _TYPES | {
    "contains", "duration", "dyn", "endsWith", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
    "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "matches",
    "size", "startsWith", "timestamp",
}  # fmt: skip
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', re.DOTALL)
_MACRO: Final = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*(\w+)")


class MissingLibraryError(ValueError):
    """Expressions need a library that is not installed."""


def compile_expression(source: str) -> Callable[[Access], bool]:
    """An expression as a test of a policy.

    Args:
        source: In CEL, of ``actor.id``, ``actor.meta``, ``action``, ``resource`` and ``meta``; its value is a boolean.

    Raises:
        MissingLibraryError: The library is not installed.
        ValueError: It cannot be read, is too long, or names what it cannot have.
    """
    try:
        import cel  # loads much: only where there are expressions
    except ImportError as error:
        raise MissingLibraryError("expressions need a library that is not installed") from error
    if len(source.encode()) > _MOST_SOURCE_BYTES:
        raise ValueError(f"an expression has at most {_MOST_SOURCE_BYTES} bytes")
    bound = _MACRO.findall(_TEXT.sub('""', source))
    if len(bound) > 1:
        raise ValueError("an expression has at most one of all, exists, exists_one, filter and map")
    program = _guarded(cel.compile, source)
    unknown = set(program.variables()) - _NAMES - _TYPES - set(bound)
    unknown |= {name for name in program.functions() if name.isidentifier()} - _FUNCTIONS
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ValueError(f"there is no {names}: use actor.id, actor.meta, action, resource, meta")

    def test(access: Access) -> bool:
        given = access.plain()
        _weigh(given)
        try:
            answer = _guarded(program.execute, given)
        except ValueError as error:
            raise PolicyFaultError(str(error)) from error
        if not isinstance(answer, bool):
            raise PolicyFaultError(f"the expression gives a {type(answer).__name__}, not a boolean")
        return answer

    return test


def _guarded(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call the library; whatever goes wrong there is a ValueError, a panic of its Rust code too."""
    try:
        return function(argument)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(" ".join(str(error).split())[:300]) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError("the library for expressions has given up") from error


def _weigh(given: Mapping[str, Any]) -> None:
    """Refuse what an expression could take long for."""
    waiting: list[Any] = [given]
    count = size = 0
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, Mapping):
            waiting += value.values()
            size += sum(len(key) for key in value)
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, (str, bytes)):
            size += len(value)
        if count + len(waiting) > _MOST_VALUES or size > _MOST_VALUE_BYTES:
            raise PolicyFaultError(f"more than {_MOST_VALUES} values or {_MOST_VALUE_BYTES} bytes for an expression")
