"""``${...}`` placeholders in the values of definition files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Lookup", "PlaceholderError", "Variable", "as_text", "replace_placeholders"]

_PLACEHOLDER = re.compile(
    r"(?P<escape>\$\$\{)"
    r"|\$\{env:(?P<name>[^}|]*)(?:\|(?P<default>[^}]*))?\}"
    r"|\$\{(?P<short>[A-Z0-9_]+)\|(?P<short_default>[^}]*)\}"
)
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[-+]?[0-9]+\.[0-9]+([eE][-+]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What is known of an environment variable: its value now, and the default of its own entry."""

    value: str | None = None
    default: Any = None


Lookup = Callable[[str], Variable]
"""Finds a variable by its public name or the id of its entry."""


class PlaceholderError(ValueError):
    """A placeholder cannot be replaced; ``what`` and ``cure`` say why and how."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what, cure)
        self.what = what
        self.cure = cure


def _typed(text: str) -> str | int | float | bool:
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _as_type_of(default: object, text: str, name: str) -> object:
    if default is None or isinstance(default, str):
        return text
    value = _typed(text.strip().lower())
    if isinstance(default, bool) == isinstance(value, bool) and not isinstance(value, str):
        if isinstance(default, float):
            return float(value)
        if isinstance(value, int):
            return value
    wanted = "true or false" if isinstance(default, bool) else "a number"
    what = f"the variable {name} must hold {wanted}, as the default of its placeholder"
    raise PlaceholderError(what, f"set {name} to {wanted}")


def _resolve(match: re.Match[str], lookup: Lookup) -> object:
    name = (match["name"] if match["name"] is not None else match["short"]).strip()
    inline = match["default"] if match["short"] is None else match["short_default"]
    if not name:
        raise PlaceholderError("the placeholder names no variable", "write ${env:NAME} or ${env:NAME|default}")
    variable = lookup(name)
    default = variable.default
    if default is None and inline is not None:
        default = _typed(inline)
    if variable.value is not None:
        return _as_type_of(default, variable.value, name)
    if default is None:
        what = f"the variable {name} has no value and the placeholder no default"
        raise PlaceholderError(what, f"set {name}, or write ${{env:{name}|default}}")
    return default


def as_text(value: object) -> str:
    """A plain value as a variable holds it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _replace_text(text: str, lookup: Lookup) -> object:
    whole = _PLACEHOLDER.fullmatch(text)
    if whole is not None and not whole["escape"]:
        return _resolve(whole, lookup)
    return _PLACEHOLDER.sub(lambda match: "${" if match["escape"] else as_text(_resolve(match, lookup)), text)


def replace_placeholders(
    value: Any,
    lookup: Lookup,
    *,
    is_kept: Callable[[tuple[str | int, ...]], bool],
    report: Callable[[tuple[str | int, ...], PlaceholderError], None],
    path: tuple[str | int, ...] = (),
) -> Any:
    """A copy of a value with all placeholders replaced.

    Args:
        value: Dicts, lists and scalars.
        lookup: Finds variables.
        is_kept: Says which texts, by path, are not to be touched (Lua code).
        report: Called for each placeholder that cannot be replaced; the text is then left as it is.
        path: Path of the value itself.
    """
    if isinstance(value, Mapping):
        return {
            key: replace_placeholders(item, lookup, is_kept=is_kept, report=report, path=(*path, key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            replace_placeholders(item, lookup, is_kept=is_kept, report=report, path=(*path, index))
            for index, item in enumerate(value)
        ]
    if not isinstance(value, str) or "${" not in value or is_kept(path):
        return value
    try:
        return _replace_text(value, lookup)
    except PlaceholderError as error:
        report(path, error)
        return value
