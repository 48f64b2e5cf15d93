"""docs/reference/kinds.md has every kind of entry, and every field, as the registry reads them.

``python -m tests.unit.pages.test_kinds_page`` writes its tables anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestration.registry.kinds import CHECKED_ONLY_KINDS, KINDS
from orchestration.registry.schema import definition_schema

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "kinds.md"
_PART = re.compile(r"(<!-- kinds: begin [^\n]*-->\n).*?(<!-- kinds: end -->)", re.DOTALL)


def _reached(name: str, defs: dict[str, Any], found: dict[str, None]) -> dict[str, None]:
    """The records that a kind has below it, each once, as they are met."""
    for target in re.findall(r"#/\$defs/(\w+)", str(defs[name])):
        if target not in found:
            found[target] = None
            _reached(target, defs, found)
    return found


def _type(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        if choices := defs[name].get("enum"):
            return ", ".join(f"`{choice}`" for choice in choices)
        return f"[{name}](#{name.lower()})"
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"} and "pattern" not in one]
    if any("properties" in one for one in choices):
        return "id of an entry"
    if any("enum" in one for one in choices):
        return "yes or no"
    if choices:
        return " or ".join(dict.fromkeys(_type(one, defs) for one in choices))
    kind = schema.get("type")
    if kind == ["string", "number"]:
        return "duration"
    if kind == "array":
        return f"list: {_type(schema['items'], defs)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"names to: {_type(values, defs)}" if isinstance(values, dict) else "mapping"
    if isinstance(kind, list):
        return " or ".join(_NAMES.get(one, one) for one in kind)
    return _NAMES.get(str(kind), "anything")


_NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no"}


def _meanings(cls: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each attribute."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        _, _, attributes = (one.__doc__ or "").partition("Attributes:\n")
        for name, text in re.findall(r"^ {8}(\w+): (.+(?:\n {12}.+)*)", attributes, re.MULTILINE):
            found[name] = re.sub(r"\s+", " ", text).replace("``", "`").replace("|", "\\|")
            found[name] = re.sub(r":(?:class|attr|mod|meth):`(\w+)`", r"`\1`", found[name])
    return found


def _default(field: dict[str, Any], *, required: bool) -> str:
    if required:
        return "**required**"
    value = field.get("default")
    if value in (None, [], "", {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _table(schema: dict[str, Any], defs: dict[str, Any], cls: type | None, path: str = "") -> Iterator[str]:
    properties = schema.get("properties", {})
    if not properties:
        yield "No fields of its own."
        return
    meanings = _meanings(cls) if cls else {}
    without_effect = getattr(cls, "WITHOUT_EFFECT", ())
    yield "| field | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name in sorted(properties, key=lambda name: (name not in schema.get("required", ()), name)):
        meaning = meanings.get(name, "")
        if not meaning and name.endswith("_env"):
            meaning = f"Name of the environment variable that has `{name[:-4]}`; it wins over the field."
        if f"{path}{name}" in without_effect:
            meaning = "Read and checked; has no effect."
        default = _default(properties[name], required=name in schema.get("required", ()))
        if "mode" in name and default:
            default = f"`0o{int(default.strip('`')):o}`"
        yield f"| `{name}` | {_type(properties[name], defs)} | {default} | {meaning} |"


def _records() -> dict[str, tuple[type, str, frozenset[str]]]:
    """Classes of the records below the kinds, by name; where in an entry they stand; what has no effect there."""
    import dataclasses
    import typing

    found: dict[str, tuple[type, str, frozenset[str]]] = {}

    def look(annotation: Any, path: str, without: frozenset[str]) -> None:
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            found.setdefault(annotation.__name__, (annotation, path, without))
            for field, inner in typing.get_type_hints(annotation).items():
                look(inner, f"{path}{field}.", without)
        for inner in typing.get_args(annotation):
            look(inner, path, without)

    for cls in KINDS.values():
        for field, annotation in typing.get_type_hints(cls).items():
            look(annotation, f"{field}.", getattr(cls, "WITHOUT_EFFECT", frozenset()))
    return found


def kinds_part() -> str:
    defs = definition_schema()["$defs"]
    lines: list[str] = ["## Kinds", ""]
    shared: dict[str, None] = {}
    for kind, cls in sorted(KINDS.items()):
        schema = defs[cls.__name__]
        text = schema["description"].replace("``", "`")
        if kind in CHECKED_ONLY_KINDS:
            text += " It is read and checked; nothing runs it in this release."
        if cls is KINDS.get(f"celery.{kind.rpartition('.')[2]}") and kind.startswith("temporal."):
            lines += [f"### `{kind}`", "", f"Read as `celery.{kind.rpartition('.')[2]}`.", ""]
            continue
        lines += [f"### `{kind}`", "", text, "", *_table(schema, defs, cls), ""]
        _reached(cls.__name__, defs, shared)
    lines += ["## Parts of entries", ""]
    records = _records()
    for name in sorted(name for name in shared if "enum" not in defs[name]):
        cls, path, without = records[name]
        holder = type(name, (cls,), {"WITHOUT_EFFECT": without, "__doc__": cls.__doc__})
        text = str(defs[name].get("description", "")).replace("``", "`")
        lines += [f"### {name}", "", text, "", *_table(defs[name], defs, holder, path), ""]
    return "\n".join(lines) + "\n"


def with_part(text: str) -> str:
    return _PART.sub(lambda found: found[1] + kinds_part() + found[2], text)


def test_the_page_is_what_the_registry_reads() -> None:
    text = PAGE.read_text("utf-8")
    assert with_part(text) == text, "run: python -m tests.unit.pages.test_kinds_page"


def test_every_kind_has_a_heading() -> None:
    assert re.findall(r"^### `([\w.]+)`$", PAGE.read_text("utf-8"), re.MULTILINE) == sorted(KINDS)


if __name__ == "__main__":
    PAGE.write_text(with_part(PAGE.read_text("utf-8")), "utf-8")
