"""Errors of field checks in our own words: what is wrong, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["dotted", "explain"]

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")

_TYPES: Mapping[str, tuple[str, str]] = {
    "string_type": ("must be text", "write a text, in quotes if it looks like a number"),
    "int_type": ("must be a whole number", "write a whole number without quotes"),
    "float_type": ("must be a number", "write a number without quotes"),
    "bool_type": ("must be true or false", "write true or false without quotes"),
    "tuple_type": ("must be a list", "write '- item' lines below it, or [a, b]"),
    "list_type": ("must be a list", "write '- item' lines below it, or [a, b]"),
    "dict_type": ("must be a mapping", "write 'key: value' lines below it"),
    "mapping_type": ("must be a mapping", "write 'key: value' lines below it"),
    "dataclass_type": ("must be a mapping", "write 'key: value' lines below it"),
    "finite_number": ("must be a finite number", "write a finite number"),
}


def dotted(location: Sequence[str | int]) -> str:
    """A path such as ``imports.money`` or ``modules[2]``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def explain(error: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong and what to do, for one error of a field check."""
    kind = str(error["type"])
    context: Mapping[str, Any] = error.get("ctx") or {}
    if kind == "definition":
        return str(context["what"]), str(context["cure"])
    if kind == "missing":
        name = str(error["loc"][-1])
        return f"{name} is required", f"add '{name}:'"
    if kind in {"enum", "literal_error"}:
        wanted = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "")
        return "has no such value", f"use one of {wanted}"
    if kind in {"int_type", "float_type"}:
        return _explain_number(kind, error.get("input"))
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "too_short":
        return "must not be an empty list", "add an item"
    bounds = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
    words = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
    if kind in bounds:
        bound = bounds[kind]
        limit = context.get(bound)
        return f"must be {words[bound]} {limit}", f"write a number that is {words[bound]} {limit}"
    if kind.startswith("string_pattern"):
        return "has characters that are not allowed", f"it must match {context.get('pattern')}"
    return str(error.get("msg", kind)), "correct the value"


def _explain_number(kind: str, value: object) -> tuple[str, str]:
    what, cure = _TYPES[kind]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return what, "write it without quotes; a placeholder gives a number if its default is one: ${env:NAME|1}"
    return what, cure
