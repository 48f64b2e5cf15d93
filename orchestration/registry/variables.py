"""Values of environment variables while definitions are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestration.registry.definitions import Definition
from orchestration.registry.entry import Entry
from orchestration.registry.kinds.environment import (
    EnvStorageFile,
    EnvStorageOs,
    EnvStorageRouter,
    EnvStorageStatic,
    EnvVariable,
)
from orchestration.registry.placeholders import Variable
from orchestration.registry.problems import ProblemList, shown
from orchestration.registry.yaml_nodes import LARGEST_FILE_BYTES
from orchestration.types import EntryId

__all__ = ["Variables", "check_public_names"]


class Variables:
    """Finds the value of a variable, by public name or entry id, in the storage that its entry names.

    A name that no entry declares is looked up in the environment itself. Storages in memory are empty while loading.

    Args:
        entries: The entries of the environment kinds.
        env: Environment of the process.
    """

    def __init__(self, entries: Mapping[EntryId, Entry], env: Mapping[str, str]) -> None:
        self._entries = entries
        self._env = env
        self._files: dict[str, Mapping[str, str]] = {}
        self._by_name: dict[str, EnvVariable] = {}
        for entry in entries.values():
            if isinstance(entry, EnvVariable):
                self._by_name.setdefault(entry.id, entry)
                if entry.variable is not None:
                    self._by_name.setdefault(entry.variable, entry)

    def __call__(self, name: str) -> Variable:
        """What is known of a variable now."""
        entry = self._by_name.get(name)
        if entry is None:
            return Variable(value=self._env.get(name))
        return Variable(value=self._read(entry.storage, entry.key, ()), default=entry.default)

    def _read(self, storage_id: EntryId, key: str, within: tuple[EntryId, ...]) -> str | None:
        storage = self._entries.get(storage_id)
        if isinstance(storage, EnvStorageOs):
            return self._env.get(key)
        if isinstance(storage, EnvStorageStatic):
            return storage.values.get(key)
        if isinstance(storage, EnvStorageFile):
            return self._file(storage.file_path).get(key)
        if isinstance(storage, EnvStorageRouter) and storage_id not in within:
            found = (self._read(target, key, (*within, storage_id)) for target in storage.storages)
            return next((value for value in found if value is not None), None)
        return None

    def _file(self, path: str) -> Mapping[str, str]:
        if path not in self._files:
            self._files[path] = _read_file(Path(path))
        return self._files[path]


def _read_file(path: Path) -> dict[str, str]:
    """``KEY=VALUE`` lines; a file that is not there has no values, as before its first write."""
    try:
        with path.open("rb") as stream:
            text = stream.read(LARGEST_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return {}
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


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
