"""What runs as a service, and what must run before it: read from the entries, checked when they are loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestration.core.supervision import Policy, find_circle, start_order
from orchestration.registry.decode import field_name
from orchestration.registry.definitions import Definition
from orchestration.registry.entry import Entry
from orchestration.registry.kinds import is_outside
from orchestration.registry.kinds.lifecycle import Lifecycle, Startup
from orchestration.registry.kinds.processes import ProcessService
from orchestration.registry.problems import ProblemList, shown
from orchestration.registry.registry import Registry
from orchestration.types import EntryId

__all__ = ["ServicePlan", "check_services", "policy_of"]


def check_services(
    entries: Mapping[EntryId, Entry], definitions: Mapping[EntryId, Definition], problems: ProblemList
) -> None:
    """Refuse requirements that are no services, and services that wait for each other in a circle."""
    for entry in entries.values():
        lifecycle = _lifecycle(entry)
        for key in ("requires", "depends_on") if lifecycle else ():
            for index, target in enumerate(getattr(lifecycle, key)):
                found = entries.get(target)
                if found is None or _lifecycle(found) or is_outside(found.kind):
                    continue  # one that is missing has been told already
                what = f"is a {found.kind}, which does not run as a service: there is nothing to wait for"
                cure = "name an entry with a lifecycle, such as a process.service, or remove it"
                field = f"lifecycle.{key}[{index}]"
                problems.add(definitions[entry.id].problem(field, what, cure, value=shown(target)))
    needs: dict[str, list[EntryId]] = {
        entry.id: list(_needs(entry, entries)) for entry in entries.values() if _lifecycle(entry)
    }
    while circle := find_circle(needs):
        first, second = EntryId(circle[0]), circle[1]
        told = " -> ".join([*(f"{name} ({entries[EntryId(name)].location})" for name in circle[:-1]), circle[-1]])
        entry = entries[first]
        field = next(link.field for link in entry.links() if link.target == second)
        what = f"services wait for each other in a circle, so that none could ever start: {told}"
        problem = definitions[first].problem(
            field_name(type(entry), field), what, "remove one of these requirements", value=shown(second)
        )
        problems.add(problem)
        needs[first].remove(EntryId(second))  # and look for the next circle


def policy_of(lifecycle: Lifecycle) -> Policy:
    """How a service is restarted, as its entry says it."""
    restart = lifecycle.restart
    return Policy(
        initial_delay_ms=restart.initial_delay, max_delay_ms=restart.max_delay, backoff_factor=restart.backoff_factor,
        jitter=restart.jitter, max_attempts=restart.max_attempts, stable_threshold_ms=lifecycle.stable_threshold,
        start_timeout_ms=lifecycle.start_timeout, stop_timeout_ms=lifecycle.stop_timeout,
    )  # fmt: skip


class ServicePlan:
    """The supervised processes of a configuration: in which order they start, and which of them are wanted.

    Args:
        registry: Where they are defined.

    Attributes:
        services: All of them, in the order of starting.
    """

    def __init__(self, registry: Registry) -> None:
        known: dict[str, ProcessService] = {entry.id: entry for entry in registry.of(ProcessService)}
        self._needs = {id_: tuple(self._needed(registry, entry)) for id_, entry in known.items()}
        self.services: dict[str, ProcessService] = {id_: known[id_] for id_ in start_order(self._needs)}

    def needs(self, service_id: str) -> tuple[EntryId, ...]:
        """Supervised processes that must run before this one is started."""
        return self._needs[service_id]

    def wanted(self, wishes: Mapping[str, bool]) -> set[str]:
        """Services that are to run: those that start by themselves, and all that they need.

        Args:
            wishes: What operators want of single ones, which goes first.
        """
        found: set[str] = set()
        for id_ in reversed(self.services):  # who needs others comes before them
            is_needed = any(id_ in self._needs[other] for other in found)
            if wishes.get(id_, self.services[id_].lifecycle.auto_start or is_needed):
                found.add(id_)
        return found

    def for_boot(self) -> set[str]:
        """Services without which a worker must not boot: ``startup: required`` among those that start by themselves."""
        found: set[str] = set()
        for id_ in reversed(self.services):
            lifecycle = self.services[id_].lifecycle
            is_root = lifecycle.auto_start and lifecycle.startup is Startup.REQUIRED
            if is_root or any(id_ in self._needs[other] for other in found):
                found.add(id_)
        return found

    @staticmethod
    def _needed(registry: Registry, service: ProcessService) -> Iterator[EntryId]:
        """Services reached over others that need none of us to run: hosts, stores, clients."""
        waiting, seen = [service.id], {service.id}
        entries = {entry.id: entry for entry in registry.entries}
        while waiting:
            for target in _needs(entries[waiting.pop()], entries):
                if target in seen:
                    continue
                seen.add(target)
                if isinstance(entries[target], ProcessService):
                    yield target
                else:
                    waiting.append(target)


def _lifecycle(entry: Entry) -> Lifecycle | None:
    found = getattr(entry, "lifecycle", None)
    return found if isinstance(found, Lifecycle) else None


def _needs(entry: Entry, entries: Mapping[EntryId, Entry]) -> Iterator[EntryId]:
    """What must run before an entry does: what it requires, and the services that its data refer to."""
    links = (link for link in entry.links() if link.target in entries)
    for target in dict.fromkeys(link.target for link in links if link.accepts(entries[link.target].kind)):
        if _lifecycle(entries[target]):
            yield target
