"""Environment variables and where their values come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import Boolean, Name, Reference, Text, fault, record

__all__ = [
    "EnvStorage",
    "EnvStorageFile",
    "EnvStorageMemory",
    "EnvStorageOs",
    "EnvStorageRouter",
    "EnvStorageStatic",
    "EnvVariable",
]

_STORAGE = ("env.storage.*",)
_LARGEST_MODE = 0o7777


def _file_mode(value: object) -> object:
    if isinstance(value, str):
        try:
            value = int(value.removeprefix("0o"), 8)
        except ValueError:
            value = -1
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_MODE:
        raise fault("is no file mode", "write an octal number such as 0644")
    return value


FileMode = Annotated[int, BeforeValidator(_file_mode), WithJsonSchema({"type": ["integer", "string"]})]


def _frozen_texts(values: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(values))


@record
class EnvStorage(Entry):
    """Common to all storages of variables."""


@record
class EnvStorageMemory(EnvStorage):
    """Values live as long as the process."""


@record
class EnvStorageOs(EnvStorage):
    """The environment of the process; read only."""


@record
class EnvStorageFile(EnvStorage):
    """``KEY=VALUE`` lines of a file; ``#`` begins a comment."""

    file_path: Name
    auto_create: Boolean = False
    file_mode: FileMode = 0o644
    dir_mode: FileMode = 0o755


@record
class EnvStorageStatic(EnvStorage):
    """Values written in the definition; read only."""

    values: Annotated[Mapping[str, Text], AfterValidator(_frozen_texts)] = Field(default_factory=dict, repr=False)


@record
class EnvStorageRouter(EnvStorage):
    """Several storages: the first that has a value gives it, the first of all is written to."""

    storages: tuple[Reference, ...] = Field(min_length=1)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        for index, target in enumerate(self.storages):
            yield Link(field=f"storages[{index}]", target=target, kinds=_STORAGE, wanted="an env.storage entry")


def _check_public_name(value: str) -> str:
    if not value.isascii() or not value.replace("_", "a").isalnum():
        raise fault("is no name of a variable", "use letters, digits and underscores")
    return value


def _check_default(value: object) -> object:
    if isinstance(value, (dict, list)):
        raise fault("must be a text, number or boolean", "write one plain value")
    return value


@record
class EnvVariable(Entry):
    """A variable, reachable by its public name and by the id of its entry.

    Attributes:
        variable: Public name; also the key in the storage, where the entry's name serves otherwise.
        storage: Id of the storage.
        default: Value if the storage has none.
        readonly: Whether code may change it.
    """

    storage: Reference
    variable: Annotated[Name, AfterValidator(_check_public_name)] | None = None
    default: Annotated[Any, BeforeValidator(_check_default)] = Field(default=None, repr=False)
    readonly: Boolean = False

    @property
    def key(self) -> str:
        """Its key in the storage."""
        return self.variable or self.name

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield Link(field="storage", target=self.storage, kinds=_STORAGE, wanted="an env.storage entry")
