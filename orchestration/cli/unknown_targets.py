"""Ids that Lua code calls and that no definition has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestration.registry import Problem, Registry

__all__ = ["unknown_targets"]

_ELSEWHERE: Final = "nothing to do if another deployment's definitions have it"


def unknown_targets(registry: Registry) -> list[Problem]:
    """Calls of entries that these definitions have not got; another deployment's may have them."""
    from orchestration.registry import LuaEntry, Problem
    from orchestration.registry.lua_syntax import called_ids
    from orchestration.registry.problems import close_matches

    known = [entry.id for entry in registry.entries]
    found: dict[tuple[str, int, str], Problem] = {}  # a file may hold the methods of several entries
    for entry in registry.of(LuaEntry):
        at = entry.location
        for target, line in called_ids(entry.source):
            if target in registry or registry.workflow_type(target) is not None:
                continue
            place = (at.source_file, at.source_offset + line) if at.source_file else (at.file, at.line)
            problem = Problem(
                file=place[0], line=place[1], entry=entry.id, field="source", value=repr(target),
                what="it is called here, and there is no such entry",
                cure=close_matches(target, known, otherwise=_ELSEWHERE),
            )  # fmt: skip
            found.setdefault((*place, target), problem)
    return list(found.values())
