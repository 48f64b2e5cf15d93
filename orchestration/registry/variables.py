"""Values of environment variables: while definitions are loaded, and when code asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from orchestration.registry.definitions import Definition
from orchestration.registry.entry import Entry
from orchestration.registry.env_files import read_env_file
from orchestration.registry.kinds.environment import (
    EnvStorageFile,
    EnvStorageMemory,
    EnvStorageOs,
    EnvStorageRouter,
    EnvStorageStatic,
    EnvVariable,
)
from orchestration.registry.placeholders import Variable, as_text
from orchestration.registry.problems import ProblemList, shown
from orchestration.types import EntryId

__all__ = ["Variables", "check_public_names"]


class Variables:
    """Finds the value of a variable, by public name or entry id, in the storage that its entry names.

    Args:
        entries: The entries of the environment kinds.
        env: Environment of the process.
        memory: What is in the storages in memory; while definitions are loaded, nothing.
        read_file: Reads a file of variables; None: once each, for as long as this object lives.
    """

    def __init__(
        self, entries: Mapping[EntryId, Entry], env: Mapping[str, str],
        *, memory: Mapping[EntryId, Mapping[str, str]] | None = None,
        read_file: Callable[[Path], Mapping[str, str]] | None = None,
    ) -> None:  # fmt: skip
        self._entries = entries
        self._env = env
        self._memory = memory or {}
        self._read_file = read_file or self._read_once
        self._files: dict[Path, Mapping[str, str]] = {}
        self._by_name: dict[str, EnvVariable] = {}
        for entry in entries.values():
            if isinstance(entry, EnvVariable):
                self._by_name.setdefault(entry.id, entry)
                if entry.variable is not None:
                    self._by_name.setdefault(entry.variable, entry)

    def __call__(self, name: str) -> Variable:
        """What is known of a variable now; a name that no entry declares is looked up in the environment itself."""
        entry = self._by_name.get(name)
        if entry is None:
            return Variable(value=self._env.get(name))
        return Variable(value=self._read(entry.storage, entry.key, ()), default=entry.default)

    def declared(self, name: str) -> EnvVariable | None:
        """The variable with this public name or entry id, or None."""
        return self._by_name.get(name)

    def value(self, entry: EnvVariable) -> str | None:
        """The value of a declared variable: its storage's, else its default as text; None without both."""
        found = self._read(entry.storage, entry.key, ())
        if found is None and entry.default is not None:
            return as_text(entry.default)
        return found

    def _read(self, storage_id: EntryId, key: str, within: tuple[EntryId, ...]) -> str | None:
        storage = self._entries.get(storage_id)
        if isinstance(storage, EnvStorageOs):
            return self._env.get(key)
        if isinstance(storage, EnvStorageStatic):
            return storage.values.get(key)
        if isinstance(storage, EnvStorageMemory):
            return self._memory.get(storage_id, {}).get(key)
        if isinstance(storage, EnvStorageFile):
            return self._read_file(Path(storage.file_path)).get(key)
        if isinstance(storage, EnvStorageRouter) and storage_id not in within:
            found = (self._read(target, key, (*within, storage_id)) for target in storage.storages)
            return next((value for value in found if value is not None), None)
        return None

    def _read_once(self, path: Path) -> Mapping[str, str]:
        if path not in self._files:
            self._files[path] = read_env_file(path)
        return self._files[path]


def check_public_names(
    entries: Mapping[EntryId, Entry], definitions: Mapping[EntryId, Definition], problems: ProblemList
) -> None:
    """A public name belongs to one variable."""
    owners: dict[str, EnvVariable] = {}
    for entry in entries.values():
        if isinstance(entry, EnvVariable) and entry.variable is not None:
            first = owners.setdefault(entry.variable, entry)
            if first is not entry:
                what = f"the public name is taken by {first.id} ({first.location})"
                definition = definitions[entry.id]
                problem = definition.problem(
                    "variable",
                    what,
                    "give each variable a name of its own",
                    value=shown(entry.variable),
                )
                problems.add(problem)
