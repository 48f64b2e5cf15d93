"""What all entries have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from pydantic import Field

from orchestration.registry.fields import FrozenMap, record
from orchestration.types import EntryId

__all__ = ["Entry", "Link", "Location"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where an entry is defined.

    Attributes:
        file: Path of the YAML file, as reached from the path given to the loader.
        line: First line of the entry, from 1.
        source: Path inside the tree of the file with its Lua text; the entry id if the text is written inline.
        source_file: Path of the file with its Lua text, as reached from the path given to the loader.
        source_offset: Lines of that file before the Lua text.
    """

    file: str
    line: int
    source: str = ""
    source_file: str = ""
    source_offset: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A reference from one entry to another, to be checked when all entries are known.

    Attributes:
        field: Dotted path of the field that holds it.
        target: Id of the entry referred to.
        kinds: Kinds it may have; ``store.*`` stands for all that begin so; empty for any.
        wanted: What it should be, for people.
    """

    field: str
    target: EntryId
    kinds: tuple[str, ...] = ()
    wanted: str = "an entry"

    def accepts(self, kind: str) -> bool:
        """Whether an entry of this kind may be referred to here."""
        if not self.kinds:
            return True
        return any(kind == wanted or (wanted.endswith(".*") and kind.startswith(wanted[:-1])) for wanted in self.kinds)


@record
class Entry:
    """One definition, checked and immutable.

    Attributes:
        id: ``namespace:name``.
        kind: The kind as written in the file.
        meta: Free facts; the file's defaults with the entry's own over them.
        data: All other fields as written: files are read in, ``${...}`` placeholders are not replaced.
        location: Where it is defined.
    """

    META_FIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    """Fields that are read from meta: field alias to the dotted meta keys that may hold it."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset()
    """Fields, dotted, that are checked for the sake of the reference runtime and mean nothing here."""

    INSTEAD: ClassVar[str] = "connection and polling are the Celery application's"
    """What there is instead of them."""

    STAND_INS: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Values for required fields that are wrong, so that the rest of the entry can still be checked."""

    id: EntryId = Field(validation_alias="@id")
    kind: str = Field(validation_alias="@kind")
    meta: FrozenMap = Field(validation_alias="@meta", default_factory=dict)
    data: FrozenMap = Field(validation_alias="@data", repr=False, default_factory=dict)
    location: Location = Field(validation_alias="@location")

    @property
    def namespace(self) -> str:
        """The part of the id before the first colon."""
        return self.id.partition(":")[0]

    @property
    def name(self) -> str:
        """The part of the id after the first colon."""
        return self.id.partition(":")[2]

    def links(self) -> Iterable[Link]:
        """References to other entries."""
        return ()
