"""Types of fields in definition files, and the decorator that makes a class an immutable, checked record of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from orchestration.core.durations import parse_duration_ms
from orchestration.types import EntryId

__all__ = [
    "Boolean",
    "DecodeContext",
    "DurationMs",
    "Floating",
    "FrozenMap",
    "Integer",
    "Name",
    "PositiveDurationMs",
    "Reference",
    "Text",
    "complete_reference",
    "fault",
    "freeze",
    "record",
    "record_field_names",
    "thaw",
]

_Class = TypeVar("_Class", bound=type)
_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True, defer_build=True)
_PLACEHOLDER_SCHEMA = {"type": "string", "pattern": r"\$\{"}


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=False, field_specifiers=(Field,))
def record(cls: _Class) -> _Class:
    """Make a class a frozen, slotted, keyword-only dataclass that checks its fields.

    Records are compared by identity: they hold mappings, which have no hash.
    """
    decorate: Callable[[Any], Any] = pydantic_dataclass(frozen=True, slots=True, kw_only=True, eq=False, config=_CONFIG)
    decorated: _Class = decorate(cls)
    return decorated


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeContext:
    """What fields need to know about the entry they belong to.

    Attributes:
        namespace: Completes references that have none.
        name: The entry's name.
        kind: The entry's kind as written.
    """

    namespace: str
    name: str
    kind: str


def fault(what: str, cure: str, *, field: str = "") -> PydanticCustomError:
    """An error in our own words, for validators to raise; those of whole records may name the field."""
    return PydanticCustomError("definition", "{what}", {"what": what, "cure": cure, "field": field})


def freeze(value: Any) -> Any:
    """A deeply immutable copy: dicts become read-only mappings, lists tuples."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: Any) -> Any:
    """The reverse of :func:`freeze`: dicts and lists, which may be changed and encoded."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [thaw(item) for item in value]
    return value


def _boolean(value: object) -> object:
    if isinstance(value, str) and value.lower() in {"yes", "on", "no", "off"}:
        return value.lower() in {"yes", "on"}
    return value


def _duration(value: object) -> object:
    try:
        return parse_duration_ms(value)
    except ValueError as error:
        raise fault(str(error), "write it such as '30s', '1h30m' or '250ms', or as a number of milliseconds") from None


def _not_negative(value: int) -> int:
    if value < 0:
        raise fault("must not be negative", "write a duration of 0s or more")
    return value


def _filled(value: str) -> str:
    if not value.strip():
        raise fault("cannot be empty", "give it a value or leave the field out")
    return value


def complete_reference(value: object, namespace: str) -> str:
    """Make a reference a full entry id.

    Args:
        value: ``ns:name``, a bare ``name``, or a mapping of ``ns`` and ``name``.
        namespace: Namespace of the entry that holds the reference, for a bare name.

    Raises:
        ValueError: The value is no reference; the text says what is wrong.
    """
    if isinstance(value, Mapping):
        if not set(value) <= {"ns", "name"} or not isinstance(value.get("name"), str):
            msg = "must be 'namespace:name', or a mapping of ns and name"
            raise ValueError(msg)
        given = value.get("ns") or namespace
        value = f"{given}:{value['name']}"
    if not isinstance(value, str):
        msg = "must be the id of an entry, 'namespace:name'"
        raise ValueError(msg)
    head, colon, tail = value.strip().partition(":")
    if not colon:
        head, tail = namespace, head
    if not tail:
        msg = "is no entry id: the name is empty"
        raise ValueError(msg)
    if not head:
        msg = "is no entry id: the namespace before ':' is empty"
        raise ValueError(msg)
    return f"{head}:{tail}"


def _reference(value: object, info: ValidationInfo) -> object:
    namespace = info.context.namespace if isinstance(info.context, DecodeContext) else ""
    try:
        return complete_reference(value, namespace)
    except ValueError as error:
        raise fault(str(error), "write the id of an entry, 'namespace:name'") from None


def _mapping(value: object) -> object:
    if not isinstance(value, Mapping):
        raise fault("must be a mapping", "write 'key: value' lines below it")
    return value


Text = Annotated[str, Field(strict=True)]
"""Any text."""

Name = Annotated[str, Field(strict=True), AfterValidator(_filled)]
"""A text that is not blank."""

Integer = Annotated[int, Field(strict=True), WithJsonSchema({"anyOf": [{"type": "integer"}, _PLACEHOLDER_SCHEMA]})]
Floating = Annotated[float, Field(strict=True), WithJsonSchema({"anyOf": [{"type": "number"}, _PLACEHOLDER_SCHEMA]})]
Boolean = Annotated[
    bool,
    Field(strict=True),
    BeforeValidator(_boolean),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["yes", "no", "on", "off"]}, _PLACEHOLDER_SCHEMA]}),
]

DurationMs = Annotated[int, BeforeValidator(_duration), WithJsonSchema({"type": ["string", "number"]})]
"""A duration, written as in Go or in milliseconds, held in whole milliseconds."""

PositiveDurationMs = Annotated[
    int, BeforeValidator(_duration), AfterValidator(_not_negative), WithJsonSchema({"type": ["string", "number"]})
]
"""A duration that is not negative."""

Reference = Annotated[
    EntryId,
    BeforeValidator(_reference),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {"ns": {"type": "string"}, "name": {"type": "string"}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
"""The id of an entry; without a namespace it is in the holder's own."""

FrozenMap = Annotated[
    Mapping[str, Any], BeforeValidator(_mapping), AfterValidator(freeze), WithJsonSchema({"type": "object"})
]
"""Free data, held immutable."""


def record_field_names(cls: type, path: Sequence[str | int]) -> set[str]:
    """Names that fields may have where the path's last part stands, as written in files."""
    for part in path[:-1]:
        if isinstance(part, int):
            continue
        found = next((field for name, field in _fields(cls).items() if part in {name, field.validation_alias}), None)
        nested = None if found is None else _record_in(found.annotation)
        if nested is None:
            return set()
        cls = nested
    names = {str(field.validation_alias or name) for name, field in _fields(cls).items()}
    return {name for name in names if not name.startswith("@")}


def _fields(cls: type) -> Mapping[str, FieldInfo]:
    fields: Mapping[str, FieldInfo] = getattr(cls, "__pydantic_fields__", {})
    return fields


def _record_in(annotation: Any) -> type | None:
    """The record class inside of an annotation such as ``tuple[X, ...]`` or ``X | None``."""
    if isinstance(annotation, type) and hasattr(annotation, "__pydantic_fields__"):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _record_in(argument)) is not None), None)
