"""A JSON schema of definition files, for editors and for checks outside of Python."""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

from pydantic import TypeAdapter

from orchestration.registry.entry import Entry
from orchestration.registry.kinds import KINDS
from orchestration.registry.kinds.free import RegistryEntry

__all__ = ["definition_schema", "render_schema"]

_NOT_BLANK = {"type": "string", "pattern": r"\S"}
_META = {"type": "object", "description": "Free facts; those of the file are defaults for its entries."}


def definition_schema() -> dict[str, Any]:
    """The schema of one definition file, for all kinds that are read.

    It knows less than the loader: references, Lua code and rules between fields are not in it. Fields that no one reads
    are allowed, since the loader only warns of them; so are kinds that it does not know.
    """
    shared: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    rules: list[dict[str, Any]] = []
    names: dict[type[Entry], str] = {}
    for _, cls in sorted(KINDS.items()):
        if cls not in names:
            names[cls] = cls.__name__
            fields[cls.__name__] = _fields_schema(cls, shared)
    for cls, name in sorted(names.items(), key=lambda item: item[1]):
        kinds = sorted(kind for kind, other in KINDS.items() if other is cls)
        rules.append({"if": {"properties": {"kind": {"enum": kinds}}}, "then": _fields_rule(name)})
    entry = {
        "type": "object",
        "required": ["name", "kind"],
        "properties": {"name": _NOT_BLANK, "kind": _NOT_BLANK | {"examples": sorted(KINDS)}, "meta": _META},
        "allOf": rules,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Definitions of workflows, functions and workers",
        "description": "Generated from the kinds of entries; do not edit. A file without a namespace is not read.",
        "type": "object",
        "properties": {
            "version": {"enum": ["1.0", 1.0, "1", 1]},
            "namespace": {"type": "string"},
            "meta": _META,
            "entries": {"type": "array", "items": {"$ref": "#/$defs/entry"}},
        },
        "if": {"required": ["namespace"], "not": {"required": ["entries"]}},
        "then": {"$ref": "#/$defs/entry"},
        "$defs": dict(sorted({**shared, **fields, "entry": entry}.items())),
    }


def _fields_rule(name: str) -> dict[str, Any]:
    """The fields stand in the entry itself, or below ``data``, which then counts alone."""
    fields = {"$ref": f"#/$defs/{name}"}
    return {"if": {"required": ["data"]}, "then": {"properties": {"data": fields}}, "else": fields}


def _fields_schema(cls: type[Entry], shared: dict[str, Any]) -> dict[str, Any]:
    if cls is RegistryEntry:
        return {"type": "object", "description": _first_line(cls)}
    schema = TypeAdapter(cls).json_schema(ref_template="#/$defs/{model}")
    for name, definition in schema.pop("$defs", {}).items():
        if name != "Location":
            shared[name] = _tidy(definition)
    schema["properties"] = {key: value for key, value in schema["properties"].items() if not key.startswith("@")}
    schema["required"] = [key for key in schema.get("required", []) if not key.startswith("@")]
    tidy: dict[str, Any] = _tidy(schema)
    tidy["description"] = _first_line(cls)
    if one_of := getattr(cls, "ONE_OF", ()):
        tidy["oneOf"] = [{"required": [name]} for name in one_of]
    if not tidy["required"]:
        del tidy["required"]
    return tidy


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _tidy(schema: Any) -> Any:
    """Without titles and without refusal of fields that the loader only warns of; null stands for an absent field."""
    schema = copy.deepcopy(schema)
    if isinstance(schema, dict):
        for key in ("title", "additionalProperties"):
            if not isinstance(schema.get(key), dict):
                schema.pop(key, None)
        description = schema.get("description")
        if isinstance(description, str):
            schema["description"] = description.strip().partition("\n")[0]
        return {key: _tidy(value) for key, value in schema.items()}
    return [_tidy(item) for item in schema] if isinstance(schema, list) else schema


def render_schema() -> str:
    """The schema as the text of its file."""
    return json.dumps(definition_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_schema())
