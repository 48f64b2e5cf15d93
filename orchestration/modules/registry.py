"""Module ``registry``: reads the definitions; secrets are left out (:mod:`orchestration.registry.exposed`).

Permission: ``registry.get`` on the id of an entry; ``find`` leaves out what it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from orchestration.core import payload
from orchestration.core.lua.host import HostError
from orchestration.errors import PayloadTooLargeError
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import permitted, require
from orchestration.modules.verbs import verb
from orchestration.registry.entry import Entry
from orchestration.registry.exposed import exposed_data, exposed_entry
from orchestration.registry.fields import thaw

__all__: list[str] = []

_LONGEST_CRITERION: Final = 1_000

_FACTS: Final[Mapping[str, Callable[[Entry], str]]] = MappingProxyType(
    {
        ".id": lambda entry: entry.id,
        ".kind": lambda entry: entry.kind,
        ".name": lambda entry: entry.name,
        ".namespace": lambda entry: entry.namespace,
        ".ns": lambda entry: entry.namespace,
    }
)


@verb("registry.get", quick=True)
def _get(caller: Caller, entry_id: str | bytes) -> dict[str, Any]:
    name = entry_id if isinstance(entry_id, str) else entry_id.decode("utf-8", "backslashreplace")
    require(caller, "registry.get", name)
    entry = caller.runtime.registry.find(name)
    if entry is None:
        raise HostError("NotFound", f"there is no entry {name}")
    return exposed_entry(entry)


@verb("registry.find", quick=True)
def _find(caller: Caller, criteria: Any) -> list[dict[str, Any]]:
    """Entries that meet all criteria, in the order of their ids."""
    tests = [_test(key, wanted) for key, wanted in (criteria or {}).items()]
    found = [
        exposed_entry(entry)
        for entry in caller.runtime.registry.entries
        if all(test(entry) for test in tests)
        and permitted(caller.runtime, caller.identity, "registry.get", entry.id, caller.pid)
    ]
    limit = caller.runtime.settings.value_limit_bytes
    try:
        payload.encode(found, limit=limit)
    except PayloadTooLargeError:
        text = f"these {len(found)} entries take more than {limit} bytes: narrow the criteria"
        raise HostError("Invalid", text) from None
    return found


def _test(key: str | bytes, wanted: Any) -> Callable[[Entry], bool]:
    if not isinstance(wanted, str | bytes | int | float):
        raise HostError("Invalid", f"the criterion {key!r} must be a string, a number or a boolean")
    fact = _FACTS.get(key) if isinstance(key, str) else None
    if fact is not None:
        return lambda entry: _fits(fact(entry), wanted)
    if len(key) > _LONGEST_CRITERION:
        raise HostError("Invalid", f"a criterion has at most {_LONGEST_CRITERION} characters, not {len(key)}")
    part, dot, path = key.partition(".") if isinstance(key, str) else ("", "", "")
    if dot and path and part == "meta":
        return lambda entry: _is_there(thaw(entry.meta), path, wanted)
    if dot and path and part == "data":
        return lambda entry: _is_there(exposed_data(entry), path, wanted)
    known = ", ".join([*sorted(_FACTS), "meta.<key>", "data.<key>"])
    raise HostError("Invalid", f"there is no criterion {key!r}: there are {known}")


def _is_there(value: Any, path: str, wanted: Any) -> bool:
    """Whether the value under a dotted path fits; keys may have dots themselves."""
    if not isinstance(value, Mapping):
        return False
    if path in value:
        return _fits(value[path], wanted)
    places = (place for place, character in enumerate(path) if character == ".")
    return any(_is_there(value.get(path[:place]), path[place + 1 :], wanted) for place in places)


def _fits(found: Any, wanted: Any) -> bool:
    """Equal; of a list, one of its elements is."""
    if isinstance(found, list):
        return any(_fits(item, wanted) for item in found if not isinstance(item, list))
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)
