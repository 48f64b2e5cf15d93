"""Module ``env``: the variables that ``env.variable`` entries declare, and no others.

A variable is named by its public name or the id of its entry. Permission: ``env.get`` and ``env.set`` on the name as it
was given; policies see both in ``meta.id`` and ``meta.variable``. Values are never logged, and never part of an error.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.core.lua.host import HostError
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import permitted, require
from orchestration.modules.verbs import verb
from orchestration.registry import Registry
from orchestration.registry.env_files import read_env_file, write_env_file
from orchestration.registry.kinds.environment import (
    EnvStorage,
    EnvStorageFile,
    EnvStorageMemory,
    EnvStorageRouter,
    EnvVariable,
)
from orchestration.registry.variables import Variables
from orchestration.tasks.runtime import Runtime
from orchestration.types import EntryId

__all__: list[str] = []


class _Environment:
    """The variables of one OS process."""

    def __init__(self, registry: Registry) -> None:
        self.entries = registry.of(EnvVariable)
        self._registry = registry
        self._memory: dict[EntryId, dict[str, str]] = {entry.id: {} for entry in registry.of(EnvStorageMemory)}
        self._files: dict[Path, tuple[tuple[int, int, int], Mapping[str, str]]] = {}
        self.variables = Variables(
            {entry.id: entry for kind in (EnvVariable, EnvStorage) for entry in registry.of(kind)}, os.environ,
            memory=self._memory, read_file=self._read_file,
        )  # fmt: skip

    def _read_file(self, path: Path) -> Mapping[str, str]:
        """The variables of a file as it is now."""
        try:
            stat = path.stat()
        except OSError:
            return {}
        mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        known = self._files.get(path)
        if known is None or known[0] != mark:
            known = self._files[path] = (mark, read_env_file(path))
        return known[1]

    def set(self, name: str, entry: EnvVariable, value: str) -> None:
        """Give a variable a value, in the storage of its entry."""
        storage = self._registry.find(entry.storage)
        seen: set[str] = set()
        while isinstance(storage, EnvStorageRouter) and storage.id not in seen:
            seen.add(storage.id)
            storage = self._registry.find(storage.storages[0])
        if isinstance(storage, EnvStorageMemory):
            self._memory[storage.id][entry.key] = value
        elif isinstance(storage, EnvStorageFile):
            self._write_file(storage, entry.key, value)
        else:
            where = entry.storage if storage is None else f"{storage.id} ({storage.kind})"
            raise HostError("PermissionDenied", f"the variable {name} cannot be set: its storage {where} is read-only")

    def _write_file(self, storage: EnvStorageFile, key: str, value: str) -> None:
        path = Path(storage.file_path)
        try:
            write_env_file(
                path, key, value, create=storage.auto_create, file_mode=storage.file_mode, dir_mode=storage.dir_mode
            )
        except ValueError as error:
            raise HostError("Invalid", str(error)) from None
        except FileNotFoundError:
            text = f"the file of {storage.id} is not there: make it, or set 'auto_create: true'"
            raise HostError("NotFound", text) from None
        except OSError as error:
            raise HostError("Internal", f"the file of {storage.id} cannot be written: {error}") from error
        self._files.pop(path, None)


_environments: weakref.WeakKeyDictionary[Runtime, _Environment] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@verb("env.get", quick=True)
def _get(caller: Caller, name: str | bytes) -> str | bytes:
    environment = _environment(caller)
    entry = environment.variables.declared(_text(name))
    require(caller, "env.get", _text(name), _names(entry))
    value = None if entry is None else environment.variables.value(entry)
    if value is None:
        problem = "is not declared" if entry is None else "has no value"
        raise HostError("NotFound", f"the variable {_text(name)} {problem}")
    return _carried(value)


@verb("env.set")
def _set(caller: Caller, name: str | bytes, value: str | bytes) -> bool:
    name, environment = _text(name), _environment(caller)
    entry = environment.variables.declared(name)
    require(caller, "env.set", name, _names(entry))
    if entry is None:
        raise HostError("NotFound", f"the variable {name} is not declared")
    if entry.readonly:
        raise HostError("PermissionDenied", f"the variable {name} is read-only")
    if not isinstance(value, str) or "\0" in value:
        raise HostError("Invalid", "a value is text: UTF-8, without zero bytes")
    caller.check()
    environment.set(name, entry, value)
    return True


@verb("env.all", quick=True)
def _all(caller: Caller) -> dict[str, str | bytes]:
    """Every variable that has a value and that the caller may read, by its public name, else by the id of its entry."""
    variables = _environment(caller).variables
    found: dict[str, str | bytes] = {}
    for entry in _environment(caller).entries:
        name = entry.variable or entry.id
        if permitted(caller.runtime, caller.identity, "env.get", name, caller.pid, _names(entry)):
            value = variables.value(entry)
            if value is not None:
                found[name] = _carried(value)
    return found


def _environment(caller: Caller) -> _Environment:
    with _lock:
        found = _environments.get(caller.runtime)
        if found is None:
            found = _environments[caller.runtime] = _Environment(caller.runtime.registry)
        return found


def _names(entry: EnvVariable | None) -> dict[str, Any]:
    """A variable has two names: policies on one of them see the other too."""
    return {} if entry is None else {"id": entry.id, "variable": entry.variable or ""}


def _carried(value: str) -> str | bytes:
    """What is no UTF-8 in the environment of the process goes to Lua as it is."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return os.fsencode(value)
    return value


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")
