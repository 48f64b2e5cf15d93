"""Code bundles: all that one entry runs, as one value named by its content.

A run keeps the digest of the bundle it was started with, and finishes on it whatever is deployed meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import msgpack

from orchestration.errors import DecodeError
from orchestration.types import Digest, EntryId

__all__ = ["API_LEVEL", "BUNDLE_FORMAT", "LUA_VERSION", "Bundle", "BundleMode", "Import", "Unit"]

BUNDLE_FORMAT: Final = 1
"""Version of the encoding; a reader refuses others."""

API_LEVEL: Final = 1
"""Level of the Lua library (modules and their behaviour) that new bundles are written for."""

LUA_VERSION: Final = "5.4"
"""The Lua that new bundles are written for."""


class BundleMode(Enum):
    """What the entry's code is run as."""

    FUNCTION = "function"
    """Called, answers once; its effects happen at once."""
    WORKFLOW = "workflow"
    """Durable: its effects are recorded and replayed."""
    PROCESS = "process"
    """An actor with a mailbox, in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One Lua source with what it may reach.

    Attributes:
        entry_id: The entry that the source belongs to.
        source_name: Name of the source in error texts: its path inside its tree, or the entry id if written inline.
        source: Lua text.
        modules: Names of the built-in modules bound for it, sorted, each once.
        imports: Libraries bound for it, sorted by alias.
    """

    entry_id: EntryId
    source_name: str
    source: str
    modules: tuple[str, ...] = ()
    imports: tuple[Import, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A library under the name that the importing source calls it by."""

    alias: str
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Unit):
    """An entry's own unit, with what is needed to run it.

    The entry id is part of it, so two entries with the same code have two bundles. The same entry has the same digest
    in every process, whatever else is defined beside it.

    Attributes:
        method: Name of the exported function to call.
        mode: What the code is run as.
        api_level: Level of the Lua library the code was written for.
        lua: Lua version the code was written for.
        digest: SHA-256 of :meth:`encode`, in hexadecimal.
    """

    method: str
    mode: BundleMode = BundleMode.WORKFLOW
    api_level: int = API_LEVEL
    lua: str = LUA_VERSION
    digest: Digest = field(init=False, default=Digest(""))
    _encoded: bytes = field(init=False, default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put modules and imports in order, encode and take the digest."""
        object.__setattr__(self, "modules", tuple(sorted(set(self.modules))))
        object.__setattr__(self, "imports", tuple(sorted(self.imports, key=lambda item: item.alias)))
        encoded = _encode(self)
        object.__setattr__(self, "_encoded", encoded)
        object.__setattr__(self, "digest", Digest(hashlib.sha256(encoded).hexdigest()))

    def units(self) -> Iterator[Unit]:
        """Every distinct unit: the entry's own first, then the libraries by entry id."""
        libraries = _libraries(self)
        yield self
        for entry_id in sorted(libraries):
            yield libraries[entry_id]

    def encode(self) -> bytes:
        """The bundle as bytes, the same for the same content in every process."""
        return self._encoded

    @classmethod
    def decode(cls, data: bytes) -> Bundle:
        """Read a bundle back.

        Raises:
            DecodeError: These are not the bytes of a bundle, or of one that a newer release wrote.
        """
        try:
            raw = msgpack.unpackb(data, raw=False, strict_map_key=True)
        except (ValueError, msgpack.UnpackException, RecursionError) as error:
            msg = f"these bytes are not a code bundle: {error}"
            raise DecodeError(msg) from error
        if not isinstance(raw, dict) or "format" not in raw:
            msg = "these bytes are not a code bundle: no format number"
            raise DecodeError(msg)
        if raw["format"] != BUNDLE_FORMAT:
            msg = f"code bundle of format {raw['format']!r}: this worker reads format {BUNDLE_FORMAT}, upgrade it"
            raise DecodeError(msg)
        try:
            return _bundle(raw)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"damaged code bundle: {error!r}"
            raise DecodeError(msg) from error


def _libraries(root: Unit) -> dict[EntryId, Unit]:
    found: dict[EntryId, Unit] = {}
    waiting = [item.unit for item in root.imports]
    while waiting:
        unit = waiting.pop()
        if unit.entry_id not in found:
            found[unit.entry_id] = unit
            waiting.extend(item.unit for item in unit.imports)
        elif found[unit.entry_id] is not unit and found[unit.entry_id] != unit:
            msg = f"two different units claim the entry id {unit.entry_id!r}"
            raise ValueError(msg)
    return found


def _unit_map(unit: Unit) -> dict[str, Any]:
    imports = sorted((item.alias, item.unit.entry_id) for item in unit.imports)
    return {
        "id": unit.entry_id,
        "imports": [list(pair) for pair in imports],
        "modules": sorted(set(unit.modules)),
        "name": unit.source_name,
        "source": unit.source,
    }


def _encode(bundle: Bundle) -> bytes:
    """Keys are written in sorted order and lists are sorted, so equal bundles are equal bytes."""
    libraries = _libraries(bundle)
    encoded = msgpack.packb(
        {
            "api": bundle.api_level,
            "entry": _unit_map(bundle),
            "format": BUNDLE_FORMAT,
            "libraries": [_unit_map(libraries[entry_id]) for entry_id in sorted(libraries)],
            "lua": bundle.lua,
            "method": bundle.method,
            "mode": bundle.mode.value,
        },
        use_bin_type=True,
    )
    return bytes(encoded)


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw[key]
    if not isinstance(value, str):
        msg = f"{key} is no text"
        raise TypeError(msg)
    return value


def _bundle(raw: Mapping[str, Any]) -> Bundle:
    libraries = {_text(item, "id"): item for item in raw["libraries"]}
    built: dict[str, Unit] = {}

    def imports_of(item: Mapping[str, Any], within: tuple[str, ...]) -> tuple[Import, ...]:
        return tuple(Import(alias=str(alias), unit=unit_of(str(name), within)) for alias, name in item["imports"])

    def unit_of(entry_id: str, within: tuple[str, ...]) -> Unit:
        if entry_id in within:
            msg = f"import cycle at {entry_id}"
            raise ValueError(msg)
        if entry_id not in built:
            item = libraries[entry_id]
            built[entry_id] = Unit(
                entry_id=EntryId(entry_id),
                source_name=_text(item, "name"),
                source=_text(item, "source"),
                modules=tuple(str(name) for name in item["modules"]),
                imports=imports_of(item, (*within, entry_id)),
            )
        return built[entry_id]

    entry, api_level = raw["entry"], raw["api"]
    if not isinstance(api_level, int):
        msg = "api is no number"
        raise TypeError(msg)
    return Bundle(
        entry_id=EntryId(_text(entry, "id")),
        source_name=_text(entry, "name"),
        source=_text(entry, "source"),
        modules=tuple(str(name) for name in entry["modules"]),
        imports=imports_of(entry, ()),
        method=_text(raw, "method"),
        mode=BundleMode(raw["mode"]),
        api_level=api_level,
        lua=_text(raw, "lua"),
    )
