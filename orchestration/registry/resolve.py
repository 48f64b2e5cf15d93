"""Checks between entries: references, import cycles, modules, Lua syntax, one worker for each workflow."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from orchestration.registry.decode import field_name
from orchestration.registry.definitions import Definition
from orchestration.registry.entry import Entry, Link
from orchestration.registry.files import is_file_value
from orchestration.registry.kinds.lua import LuaEntry, WorkflowLua
from orchestration.registry.lua_syntax import LuaChecker
from orchestration.registry.modules import AVAILABLE_MODULES, KNOWN_MODULES, REFUSED_IN_WORKFLOWS
from orchestration.registry.problems import Problem, ProblemList, close_matches, shown
from orchestration.types import EntryId

__all__ = ["check_entries"]

_LUA_PLACE = re.compile(r":(\d+): ")


def check_entries(
    entries: Mapping[EntryId, Entry],
    definitions: Mapping[EntryId, Definition],
    check_lua: LuaChecker,
    problems: ProblemList,
) -> dict[EntryId, EntryId | None]:
    """Check all that one entry alone cannot tell.

    Args:
        entries: Entries whose own fields are in order.
        definitions: All definitions, those too that gave no entry: a reference to one of them is not reported again.
        check_lua: Finds syntax errors.
        problems: Gets what is wrong.

    Returns:
        The worker of each workflow; None is the default queue.
    """
    check = _Check(entries, definitions, problems)
    for entry in entries.values():
        check.links(entry)
        if isinstance(entry, LuaEntry):
            check.modules(entry)
            check.syntax(entry, check_lua)
    check.cycles()
    check.workflow_modules()
    workers = check.workers()
    check.type_names(workers)
    return workers


class _Check:
    def __init__(
        self, entries: Mapping[EntryId, Entry], definitions: Mapping[EntryId, Definition], problems: ProblemList
    ) -> None:
        self.entries = entries
        self.definitions = definitions
        self.problems = problems

    def _add(self, entry: Entry, field: str, what: str, cure: str, value: str | None = None) -> None:
        definition = self.definitions[entry.id]
        name = field_name(type(entry), field)
        problem = definition.problem(name, what, cure, value=value)
        self.problems.add(problem)

    def links(self, entry: Entry) -> None:
        """Every reference names an entry of a kind that fits."""
        for link in entry.links():
            self._link(entry, link)

    def _link(self, entry: Entry, link: Link) -> None:
        target = self.definitions.get(link.target)
        value = shown(link.target)
        if target is None:
            fitting = [key for key, item in self.definitions.items() if link.accepts(item.kind)]
            cure = close_matches(link.target, fitting, otherwise=f"define it, or name {link.wanted} that exists")
            self._add(entry, link.field, f"there is no entry {link.target}", cure, value)
        elif not link.accepts(target.kind):
            self._add(entry, link.field, f"is a {target.kind}, it must be {link.wanted}", f"name {link.wanted}", value)

    def modules(self, entry: LuaEntry) -> None:
        """Every module listed exists in this release."""
        for index, name in enumerate(entry.modules):
            is_refused = isinstance(entry, WorkflowLua) and name in REFUSED_IN_WORKFLOWS
            if name in AVAILABLE_MODULES or is_refused:
                continue
            field, value = f"modules[{index}]", shown(name)
            if name in KNOWN_MODULES:
                what = f"the module {name} is not part of this release"
                self._add(entry, field, what, "do without it, or move its use into a Celery task", value)
            else:
                cure = close_matches(name, AVAILABLE_MODULES) or close_matches(name, KNOWN_MODULES)
                cure = cure or "use one of " + ", ".join(sorted(AVAILABLE_MODULES))
                self._add(entry, field, "there is no such module", cure, value)

    def syntax(self, entry: LuaEntry, check_lua: LuaChecker) -> None:
        """The source compiles. A file that could not be read has been told already."""
        if is_file_value(entry.source):
            return
        message = check_lua(entry.source, entry.location.source)
        if message is None:
            return
        place = _LUA_PLACE.search(message)
        line = entry.location.source_offset + (int(place[1]) if place else 1)
        what = "Lua: " + (message[place.end() :] if place else message)
        self.problems.add(
            Problem(
                file=entry.location.source_file,
                line=line,
                entry=entry.id,
                field="source",
                what=what,
                cure="correct the Lua code there (Lua 5.4)",
            )
        )

    def cycles(self) -> None:
        """No library imports itself, directly or through others."""
        done: set[EntryId] = set()
        for start in sorted(self.entries):
            self._walk(start, [], done)

    def _walk(self, start: EntryId, path: list[EntryId], done: set[EntryId]) -> None:
        stack: list[tuple[EntryId, Iterator[tuple[str, EntryId]]]] = []
        on_path: list[EntryId] = []

        def enter(entry_id: EntryId) -> None:
            entry = self.entries.get(entry_id)
            stack.append((entry_id, iter(entry.imports.items() if isinstance(entry, LuaEntry) else ())))
            on_path.append(entry_id)

        if start not in done:
            enter(start)
        while stack:
            entry_id, imports = stack[-1]
            alias, target = next(imports, ("", None))
            if target is None:
                stack.pop()
                on_path.pop()
                done.add(entry_id)
            elif target in on_path:
                cycle = " -> ".join([*on_path[on_path.index(target) :], target])
                what = f"adding dependency would create a cycle: {cycle}"
                self._add(
                    self.entries[entry_id], f"imports.{alias}", what, "remove one of these imports", shown(target)
                )
            elif target not in done:
                enter(target)

    def workflow_modules(self) -> None:
        """A workflow reaches, itself or through libraries, no module whose effects cannot be recorded."""
        for entry in self.entries.values():
            if isinstance(entry, WorkflowLua):
                for index, name in enumerate(entry.modules):
                    if name in REFUSED_IN_WORKFLOWS:
                        self._refuse_module(entry, f"modules[{index}]", name, "")
                for alias, target in entry.imports.items():
                    for library, name in self._reached(target):
                        self._refuse_module(entry, f"imports.{alias}", name, f" (listed by {library})")

    def _refuse_module(self, entry: Entry, field: str, name: str, listed_by: str) -> None:
        what = f"module does not have any allowed class: {name} may not be used in a workflow{listed_by}"
        cure = "call a function that uses it, with funcs.call"
        self._add(entry, field, what, cure, shown(name))

    def _reached(self, start: EntryId) -> Iterator[tuple[EntryId, str]]:
        waiting, seen = [start], {start}
        while waiting:
            entry_id = waiting.pop()
            entry = self.entries.get(entry_id)
            if not isinstance(entry, LuaEntry):
                continue
            yield from ((entry_id, name) for name in entry.modules if name in REFUSED_IN_WORKFLOWS)
            for target in entry.imports.values():
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)

    def workers(self) -> dict[EntryId, EntryId | None]:
        """The worker of each workflow: the one its meta names, else the only one there is, else none."""
        known = [entry_id for entry_id, item in self.definitions.items() if item.kind in _WORKER_KINDS]
        chosen: dict[EntryId, EntryId | None] = {}
        for entry in self.entries.values():
            if not isinstance(entry, WorkflowLua):
                continue
            if entry.worker is None and len(known) > 1:
                what = f"which worker serves this workflow is open: there are {', '.join(sorted(known))}"
                self._add(entry, "@worker", what, "name one of them in meta.temporal.workflow.worker")
            chosen[entry.id] = entry.worker or (known[0] if len(known) == 1 else None)
        return chosen

    def type_names(self, workers: Mapping[EntryId, EntryId | None]) -> None:
        """A type name or activity name belongs to one entry."""
        claims: dict[str, list[WorkflowLua]] = defaultdict(list)
        for entry in self.entries.values():
            if isinstance(entry, WorkflowLua):
                claims[entry.type_name].append(entry)
        for name, entries in claims.items():
            owner = self.definitions.get(EntryId(name))
            if owner is not None and all(entry.id != name for entry in entries):
                for entry in entries:
                    what = f"the type name is the id of another entry ({owner.file}:{owner.line})"
                    self._add(entry, "@type", what, "give the workflow a name of its own", shown(name))
            for entry in entries[1:]:
                first = entries[0]
                what = f"workflow {name} already registered by {first.id} ({first.location})"
                self._add(entry, "@type", what, "give each workflow a name of its own", shown(name))


_WORKER_KINDS = frozenset({"celery.worker", "temporal.worker"})
