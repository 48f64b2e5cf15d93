"""Loads trees of definition files into a registry, or says all that is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestration.registry.agreements import check_agreements
from orchestration.registry.decode import decode_entry
from orchestration.registry.definitions import Definition, read_definitions
from orchestration.registry.entry import Entry
from orchestration.registry.files import Tree
from orchestration.registry.lua_syntax import LuaChecker, make_lua_checker
from orchestration.registry.problems import Problem, ProblemList, shown
from orchestration.registry.registry import Registry
from orchestration.registry.resolve import check_entries
from orchestration.registry.services import check_services
from orchestration.registry.variables import Variables, check_public_names
from orchestration.types import EntryId

__all__ = ["load_registry"]


def load_registry(
    paths: Sequence[str | Path] | str | Path,
    *,
    env: Mapping[str, str] | None = None,
    check_lua: LuaChecker | None = None,
) -> Registry:
    """Read all YAML files of some trees, check everything, and make a registry.

    Args:
        paths: Folders (searched with all below them) or single YAML files; or one such path.
        env: Environment for ``${env:NAME}`` placeholders; by default that of the process.
        check_lua: Finds syntax errors in Lua code, which is never run; by default Lua 5.4's own compiler.

    Raises:
        DefinitionsError: Something is wrong; the error lists every problem of all trees, nothing was loaded.
    """
    problems = ProblemList()
    trees = _open_trees([paths] if isinstance(paths, (str, Path)) else paths, problems)
    definitions = _collect(trees, problems)
    entries = _decode(definitions, os.environ if env is None else env, problems)
    workers = check_entries(entries, definitions, check_lua or make_lua_checker(), problems)
    check_public_names(entries, definitions, problems)
    check_agreements(entries, definitions, problems)
    check_services(entries, definitions, problems)
    problems.raise_if_any()
    return Registry(tuple(entries.values()), workers=workers, warnings=problems.warnings)


def _open_trees(paths: Sequence[str | Path], problems: ProblemList) -> list[Tree]:
    trees: list[Tree] = []
    for path in paths:
        tree = Tree(path)
        if tree.exists():
            trees.append(tree)
        else:
            here = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
            what = f"there is no such file or folder{here}"
            problems.add(
                Problem(file=str(path), line=0, what=what, cure="create it, or correct the path that is given")
            )
    return trees


def _collect(trees: Sequence[Tree], problems: ProblemList) -> dict[EntryId, Definition]:
    """Definitions by id. A file that is reached twice, through overlapping trees, is read once."""
    found: dict[EntryId, Definition] = {}
    seen: set[Path] = set()
    for tree in trees:
        for definition in read_definitions(tree, problems, seen):
            first = found.setdefault(definition.id, definition)
            if first is not definition:
                what = f"the id {definition.id} is taken by the entry at {first.file}:{first.line}"
                problem = definition.problem("name", what, "rename or remove one of them", value=shown(definition.name))
                problems.add(problem)
    return found


def _decode(
    definitions: Mapping[EntryId, Definition], env: Mapping[str, str], problems: ProblemList
) -> dict[EntryId, Entry]:
    """Variables and their storages go first, since the placeholders of other entries ask them."""
    entries: dict[EntryId, Entry] = {}
    first = [definition for definition in definitions.values() if definition.kind.startswith("env.")]
    rest = [definition for definition in definitions.values() if not definition.kind.startswith("env.")]
    for group in (first, rest):
        lookup = Variables(dict(entries), env)
        for definition in group:
            entry = decode_entry(definition, lookup, problems)
            if entry is not None:
                entries[entry.id] = entry
    return entries
