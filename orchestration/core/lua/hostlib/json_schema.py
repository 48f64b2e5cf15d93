"""JSON Schema for the Lua module ``json``: the ``jsonschema`` package, with every bit of work counted.

A schema comes from code that may be hostile: references may double at each level, expressions may be made to
backtrack, error messages may quote a megabyte a thousand times. So each keyword is counted against one budget,
expressions run in RE2, and nothing is ever fetched.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import jsonschema
import referencing
import referencing.exceptions
from jsonschema import validators
from jsonschema.exceptions import ValidationError

from orchestration.core.lua.host import HostError, host_function
from orchestration.core.lua.hostlib.json_text import decode_json
from orchestration.core.lua.hostlib.regexp import compile_pattern
from orchestration.core.lua.hostlib.values import Value, as_bytes, limited

__all__ = ["Verdict", "validate"]

_MOST_STEPS = 100_000
_MOST_PARTS = 1_000
_MOST_SCHEMA_BYTES = 256 * 1024
_MOST_DATA_BYTES = 1024 * 1024
_MOST_MESSAGE_CHARACTERS = 300
_MOST_CHECKED = 256
_REFUSED = ("unevaluatedProperties", "unevaluatedItems")
_DRAFTS: dict[str, Any] = {
    str(cls.META_SCHEMA.get("$id") or cls.META_SCHEMA.get("id")).rstrip("#"): cls
    for cls in (
        jsonschema.Draft202012Validator,
        jsonschema.Draft201909Validator,
        jsonschema.Draft7Validator,
        jsonschema.Draft6Validator,
        jsonschema.Draft4Validator,
    )
}

_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class _EmptyTable(dict[str, Any]):
    """An empty Lua table: array and object alike."""

    def __getitem__(self, key: Any) -> Any:
        return [] if isinstance(key, slice) else super().__getitem__(key)


class _Meter:
    """Counts the work of one validation.

    Attributes:
        parts: Tables in the schema.
        steps: Keywords looked at, and what else costs like one.
    """

    def __init__(self) -> None:
        self.parts = 0
        self.steps = 0
        self._most = _MOST_STEPS

    def take(self, steps: int) -> None:
        """Count some more.

        Raises:
            HostError: ``Invalid`` when it becomes too much.
        """
        self.steps += steps
        if self.steps > self._most:
            raise HostError("Invalid", "json: validating this is too much work")

    def begin_data(self) -> None:
        """Start counting anew: a large schema leaves no less for the data."""
        self._most = self.steps + _MOST_STEPS


_METER: ContextVar[_Meter] = ContextVar("json_schema_meter")
"""The count of the validation that is going on: keywords are plain functions, they have no other way to it."""


def _weight(value: Any) -> int:
    return 1 + (len(value) // 4 if isinstance(value, list | dict) else 0)


def _metered(keyword: _Keyword) -> _Keyword:
    @functools.wraps(keyword)
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        meter = _METER.get()
        meter.take(_weight(value) + _weight(instance))
        for error in keyword(validator, value, instance, schema) or ():
            meter.take(1 + len(error.message) // 100)
            yield error

    return run


def _matches(pattern: str, text: str) -> bool:
    _METER.get().take(len(text) // 100)
    return compile_pattern(pattern.encode()).first(text.encode()) is not None


def _pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    del schema
    if validator.is_type(instance, "string") and not _matches(value, instance):
        yield ValidationError(f"{instance!r} does not match {value!r}")


def _pattern_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    del schema
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in value.items():
        for name, item in instance.items():
            _METER.get().take(1)
            if _matches(pattern, name):
                yield from validator.descend(item, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, item in instance.items():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if validator.is_type(value, "object"):
            yield from validator.descend(item, value, path=name)
        elif value is False:
            yield ValidationError(f"additional property {name!r} is not allowed")


def _frozen(value: Any) -> str:
    """Give a text that two values share when JSON Schema calls them equal."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_frozen, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_frozen(value[name])}" for name in sorted(value)) + "}"
    return json.dumps(value)


def _unique_items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    del schema
    if value and validator.is_type(instance, "array"):
        _METER.get().take(len(instance))
        if len(set(map(_frozen, instance))) != len(instance):
            yield ValidationError("the items are not unique")


def _enum(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    del validator, schema
    _METER.get().take(len(value))
    wanted = _frozen(instance)
    if not any(_frozen(choice) == wanted for choice in value):
        yield ValidationError(f"{instance!r} is not one of {value!r}")


_OWN: dict[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
    "enum": _enum,
}


@functools.lru_cache
def _bounded(draft: Any) -> Any:
    """Give a validator class of a draft with every keyword counted."""
    keywords = {
        name: _metered(_OWN.get(name, keyword)) for name, keyword in draft.VALIDATORS.items() if name not in _REFUSED
    }
    checker = draft.TYPE_CHECKER.redefine("array", lambda _, value: isinstance(value, list | _EmptyTable))
    extend: Any = validators.extend  # untyped in its stubs
    return extend(draft, keywords, type_checker=checker)


def _check_shape(schema: Any, *, is_root: bool = True) -> None:
    """Refuse what cannot be bounded, and expressions that RE2 does not take."""
    if isinstance(schema, list):
        for item in schema:
            _check_shape(item, is_root=False)
    if not isinstance(schema, dict):
        return
    meter = _METER.get()
    meter.parts += 1
    if meter.parts > _MOST_PARTS:
        raise HostError("Invalid", f"json: a schema has at most {_MOST_PARTS} parts")
    for name in _REFUSED:
        if isinstance(schema.get(name), bool | dict):
            raise HostError("Invalid", f"json: schemas with {name} are not supported")
    if not is_root and isinstance(schema.get("$schema"), str):
        raise HostError("Invalid", "json: $schema may stand at the top of a schema only")
    if isinstance(schema.get("pattern"), str):
        compile_pattern(schema["pattern"].encode())
    if isinstance(schema.get("patternProperties"), dict):
        for pattern in schema["patternProperties"]:
            compile_pattern(pattern.encode())
    for item in schema.values():
        _check_shape(item, is_root=False)


def _first_error(validator: Any, instance: Any) -> ValidationError | None:
    try:
        return next(validator.iter_errors(instance), None)
    except RecursionError:
        raise HostError("Invalid", "json: the schema or the data is nested too deeply") from None
    except (referencing.exceptions.Unresolvable, referencing.exceptions.NoSuchResource) as error:
        raise HostError("Invalid", f"json: a reference of the schema leads nowhere: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
        raise HostError("Invalid", f"json: the schema cannot be used: {error}") from error


def _describe(error: ValidationError) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    message = error.message
    if len(message) > _MOST_MESSAGE_CHARACTERS:
        message = f"{message[:_MOST_MESSAGE_CHARACTERS]}...{message[-100:]}"  # what is wrong stands at the end
    return re.sub(r"^\.", "", path) + ": " + message if path else message


_checked: OrderedDict[tuple[Any, str], None] = OrderedDict()


def _check_schema(bounded: Any, schema: Any) -> None:
    """Check a schema against its draft, unless that was done lately."""
    key = (bounded, hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest())
    if key in _checked:
        return
    mistake = _first_error(bounded(bounded.META_SCHEMA), schema)
    if mistake is not None:
        raise HostError("Invalid", f"json: the schema is wrong: {_describe(mistake)}")
    _checked[key] = None
    if len(_checked) > _MOST_CHECKED:
        _checked.popitem(last=False)


def _run(schema: Any, data: Any) -> None:
    """Check data against a schema; the first thing that is wrong is reported.

    Raises:
        HostError: ``Invalid``, whatever is wrong with schema or data.
    """
    if not isinstance(schema, dict | bool):
        raise HostError("Invalid", "json: the schema must be an object")
    meter = _METER.get()
    try:
        _check_shape(schema)
    except RecursionError:
        raise HostError("Invalid", "json: the schema is nested too deeply") from None
    draft: Any = jsonschema.Draft202012Validator
    if isinstance(schema, dict) and "$schema" in schema:
        named = str(schema["$schema"]).rstrip("#")
        if named not in _DRAFTS:
            raise HostError("Invalid", f"json: unknown $schema {named!r}")
        draft = _DRAFTS[named]
        schema = {name: value for name, value in schema.items() if name != "$schema"}
    bounded = _bounded(draft)
    _check_schema(bounded, schema)
    meter.begin_data()
    # The empty registry fetches nothing.
    mistake = _first_error(bounded(schema, registry=referencing.Registry()), data)
    if mistake is not None:
        raise HostError("Invalid", f"json: validation failed: {_describe(mistake)}")


class Verdict(NamedTuple):
    """Whether data fits a schema.

    Attributes:
        parts: Tables in the schema.
        steps: Work that it took.
        mistake: The first thing that is wrong; None when all is well.
    """

    parts: int
    steps: int
    mistake: str | None


def validate(schema: Any, data: Any) -> Verdict:
    """Check data against a schema. Whatever is wrong with either, or too large, is a mistake; nothing is raised."""
    meter = _Meter()
    token = _METER.set(meter)
    try:
        _run(schema, data)
    except HostError as error:
        return Verdict(meter.parts, meter.steps, error.message)
    finally:
        _METER.reset(token)
    return Verdict(meter.parts, meter.steps, None)


def _from_table(value: Value) -> Any:
    """Give a value out of a Lua table, where an empty table may be either."""
    if isinstance(value, list):
        return [_from_table(item) for item in value] if value else _EmptyTable()
    if isinstance(value, dict):
        return {name: _from_table(item) for name, item in value.items()}
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _from_text(value: Value, what: str, limit: int) -> Value:
    text = limited(as_bytes(value), limit, f"json: the {what}")
    try:
        return decode_json(text, keeps_all=True)
    except HostError as error:
        raise HostError("Invalid", f"json: the {what} is no JSON: {error.message}") from error


@host_function("json.validate")
def _validate(schema: Value, data: Value, data_is_text: Value) -> Value:
    """Give ``[parts of the schema, steps, what is wrong or nil]``; the numbers say what it cost."""
    is_text = isinstance(schema, str | bytes)
    try:
        plain = _from_text(schema, "schema", _MOST_SCHEMA_BYTES) if is_text else _from_table(schema)
        value = _from_text(data, "data", _MOST_DATA_BYTES) if data_is_text else _from_table(data)
    except HostError as error:
        return [0, 0, error.message]
    return list(validate(plain, value))
