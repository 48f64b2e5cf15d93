"""From a definition to its typed entry, or to problems."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestration.registry.definitions import Definition
from orchestration.registry.entry import Entry, Location
from orchestration.registry.explain import dotted, explain
from orchestration.registry.fields import DecodeContext, record_field_names
from orchestration.registry.kinds import KINDS, is_outside
from orchestration.registry.kinds.free import RegistryEntry, UnsupportedEntry
from orchestration.registry.placeholders import Lookup, PlaceholderError, replace_placeholders
from orchestration.registry.problems import ProblemList, close_matches, shown
from orchestration.registry.yaml_nodes import Path

__all__ = ["decode_entry", "field_name"]

_FREE_KEYS = frozenset({"values", "default", "meta", "input", "driver_options", "imports"})
"""Keys whose mappings are the user's own: a null in them is a value, elsewhere it is an absent field."""


@cache
def _adapter(kind: str) -> TypeAdapter[Entry]:
    return TypeAdapter(KINDS[kind])


def field_name(entry_class: type[Entry], field: str) -> str:
    """The field as its author knows it: aliases of meta fields become the meta key that is usually written."""
    keys = entry_class.META_FIELDS.get(field)
    return field if keys is None else f"meta.{keys[0]}"


def decode_entry(definition: Definition, lookup: Lookup, problems: ProblemList) -> Entry | None:
    """Check a definition and make its entry.

    Args:
        definition: The entry as written.
        lookup: Finds the variables of placeholders.
        problems: Gets what is wrong, and warnings for fields that no one reads.

    Returns:
        The entry. If it has problems: what is left of it without the wrong fields, or None if that is nothing.
    """
    cls = KINDS.get(definition.kind)
    if cls is None:
        if is_outside(definition.kind):
            what = f"the kind {definition.kind} is not supported: the entry has no effect"
            problems.warn(definition.problem("kind", what, "remove the entry if nothing else needs it"))
            return _outside(definition)
        cure = close_matches(definition.kind, KINDS, otherwise="use one of " + ", ".join(sorted(KINDS)))
        problems.add(definition.problem("kind", "unknown kind", cure, value=shown(definition.kind)))
        return None
    return _Decoding(definition, cls, problems).decode(lookup)


def _outside(definition: Definition) -> Entry:
    return UnsupportedEntry(**_base_fields(definition))


def _base_fields(definition: Definition) -> dict[str, Any]:
    text = definition.texts.get(("source",))
    if text is not None:
        source, source_file, offset = text.name, text.shown, 0
    else:
        source, source_file = definition.id, definition.file
        offset = definition.text_offset(("source",)) if "source" in definition.data else 0
    location = Location(
        file=definition.file, line=definition.line, source=source, source_file=source_file, source_offset=offset
    )
    return {
        "@id": definition.id,
        "@kind": definition.kind,
        "@meta": definition.meta,
        "@data": definition.data,
        "@location": location,
    }


class _Decoding:
    def __init__(self, definition: Definition, cls: type[Entry], problems: ProblemList) -> None:
        self.definition = definition
        self.cls = cls
        self.problems = problems
        self.meta_paths: dict[str, Path] = {}

    def decode(self, lookup: Lookup) -> Entry | None:
        definition = self.definition
        context = DecodeContext(namespace=definition.namespace, name=definition.name, kind=definition.kind)
        data = replace_placeholders(dict(definition.data), lookup, is_kept=self._is_kept, report=self._report)
        fields = _base_fields(definition)
        if self.cls is RegistryEntry:
            fields["@values"] = data
        else:
            fields.update(_without_nulls(self._without_reserved(data)))
            fields.update(self._meta_fields())
        entry = self._validate(fields, context)
        self._warn_without_effect(data)
        return entry

    def _is_kept(self, path: Path) -> bool:
        return path == ("source",) or path in self.definition.texts

    def _report(self, path: Path, error: PlaceholderError) -> None:
        self._add(path, error.what, error.cure)

    def _add(self, path: Path, what: str, cure: str, *, has_value: bool = True) -> None:
        self.problems.add(self._problem(path, what, cure, has_value=has_value))

    def _problem(self, path: Path, what: str, cure: str, *, has_value: bool = True) -> Any:
        written = self.meta_paths.get(str(path[0]), path) if path else path
        field = dotted(written)
        value = None
        if has_value and path:
            found = _value_at({**self.definition.data, "meta": self.definition.meta}, written)
            value = None if found is _MISSING else shown(found, field=field)
        return self.definition.problem(field, what, cure, value=value)

    def _without_reserved(self, data: dict[str, Any]) -> dict[str, Any]:
        """Fields cannot claim the names under which the entry's own facts are handed over."""
        for key in [key for key in data if key.startswith("@")]:
            self._warn_unknown((key,))
            del data[key]
        return data

    def _meta_fields(self) -> dict[str, Any]:
        meta, found = self.definition.meta, {}
        for alias, keys in self.cls.META_FIELDS.items():
            for key in keys:
                path: Path = ("meta", *key.split("."))
                value = _value_at({"meta": meta}, path)
                if value is _MISSING or value is None:
                    continue
                if alias not in found:
                    found[alias], self.meta_paths[alias] = value, path
                elif found[alias] != value:
                    other = dotted(self.meta_paths[alias])
                    self._add(path, f"contradicts {other} = {shown(found[alias])}", "keep one of them")
            self.meta_paths.setdefault(alias, ("meta", *keys[0].split(".")))
        return found

    def _warn_unknown(self, path: Path) -> None:
        known = record_field_names(self.cls, path)
        cure = close_matches(str(path[-1]), known, otherwise="remove it, or correct its name")
        self.problems.warn(self._problem(path, f"{self.definition.kind} has no such field: it has no effect", cure))

    def _warn_without_effect(self, data: Mapping[str, Any]) -> None:
        found = [
            name for name in sorted(self.cls.WITHOUT_EFFECT) if _value_at(data, tuple(name.split("."))) is not _MISSING
        ]
        if found:
            what = f"accepted for the sake of the reference runtime, without effect here: {', '.join(found)}"
            cure = f"{self.cls.INSTEAD}; remove them if no other runtime reads this file"
            self.problems.warn(self.definition.problem(found[0], what, cure))

    def _validate(self, fields: dict[str, Any], context: DecodeContext) -> Entry | None:
        try:
            return _adapter(self.definition.kind).validate_python(fields, context=context)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        unknown = [_error_path(item) for item in errors if item["type"] in _UNKNOWN_FIELD]
        if unknown:
            fields = {key: _copied(value) for key, value in fields.items()}
            for path in unknown:
                self._warn_unknown(path)
                _remove(fields, path)
            return self._validate(fields, context)
        for item in errors:
            what, cure = explain(item)
            self._add(_error_path(item), what, cure, has_value=item["type"] != "missing")
        return self._stand_in(fields, [_error_path(item) for item in errors], context)

    def _stand_in(self, fields: dict[str, Any], wrong: Sequence[Path], context: DecodeContext) -> Entry | None:
        """The entry without what is wrong, so that the checks between entries can find what else is."""
        for is_whole_field in (False, True):
            rest = {key: _copied(value) for key, value in fields.items()}
            for path in wrong:
                _remove(rest, path[:1] if is_whole_field else path)
            rest |= {key: value for key, value in self.cls.STAND_INS.items() if key not in rest}
            with contextlib.suppress(ValidationError):
                return _adapter(self.definition.kind).validate_python(rest, context=context)
        return None


_UNKNOWN_FIELD = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
_MISSING = object()


def _error_path(error: Mapping[str, Any]) -> Path:
    """The error's path in the data; pydantic adds "[key]" for keys of mappings."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    field = (error.get("ctx") or {}).get("field")
    return (*path, field) if field else path


def _value_at(value: Any, path: Path) -> Any:
    for part in path:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, (list, tuple)) and _is_index(part, value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def _is_index(part: str | int, items: Sequence[Any]) -> bool:
    return isinstance(part, int) and part < len(items)


def _copied(value: Any) -> Any:
    """A copy of plain data that may be changed."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _remove(value: Any, path: Path) -> None:
    holder = _value_at(value, path[:-1])
    if path and isinstance(holder, dict):
        holder.pop(path[-1], None)


def _without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    """A field that is there without a value counts as absent."""
    result: dict[str, Any] = {}
    for key, value in data.items():
        if value is None:
            continue
        result[key] = _without_nulls(value) if isinstance(value, dict) and key not in _FREE_KEYS else value
    return result
