"""Supervised services from Python: seen, started, stopped, restarted. All of it goes through the store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from orchestration.client.arguments import wait_seconds
from orchestration.core.checks import check_text
from orchestration.errors import EntryNotFoundError, OrchestrationError
from orchestration.registry.kinds.processes import ProcessService, Scope
from orchestration.registry.problems import close_matches
from orchestration.registry.services import ServicePlan
from orchestration.store.services import ServiceRecord, Services, Wish
from orchestration.store.store import Store
from orchestration.tasks.runtime import Runtime

__all__ = ["ServiceDescription", "change_service", "forget_service", "list_services"]

_LOOK_S: Final = 0.1
_ALIVE: Final = ("starting", "running", "stopping")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDescription:
    """An instance of a service, and where it stands. Times are milliseconds since the epoch.

    Attributes:
        id: Of its ``process.service`` entry.
        process: What it runs; empty when this application has no such service.
        host: Where it runs; empty likewise.
        scope: ``deployment``: there is one instance; ``worker``: one on each worker that serves its host.
        startup: ``required`` or ``optional``.
        state: ``unknown``, ``starting``, ``running``, ``stopping``, ``stopped``, ``exited`` or ``failed``.
        reason: Why it is there.
        error: What its last run that failed has failed with; empty: none has.
        since_ms: When it came there; 0: nobody knows.
        node: Who looks after it; empty: nobody.
        worker: The same for people: machine and id of the OS process.
        pid: Address of its process; empty: there is none.
        runs: Processes started in all.
        failures: Runs that have failed one after the other.
        next_start_ms: Time of the next attempt; 0: none comes by itself.
        wish: What an operator has said last: ``run``, ``stop`` or ``restart``; empty: nothing.
    """

    id: str
    process: str
    host: str
    scope: str
    startup: str
    state: str
    reason: str
    error: str
    since_ms: int
    node: str
    worker: str
    pid: str
    runs: int
    failures: int
    next_start_ms: int
    wish: str

    @property
    def restarts(self) -> int:
        """Processes started after the first."""
        return max(0, self.runs - 1)


def list_services(runtime: Runtime, namespace: str) -> list[ServiceDescription]:
    """Every service; see :meth:`orchestration.Client.list_services`."""
    store = runtime.store(namespace)
    plan, wishes = ServicePlan(runtime.registry), store.services.wishes().of
    records = store.services.read(store.services.instances())
    nodes = store.actors.nodes()
    workers = {node: f"{info.get('machine', '')}/{info.get('os_pid', '')}" for node, info in nodes.items()}
    found = []
    for record in records.values():
        entry = plan.services.get(record.service)
        found.append(_describe(record, entry, wishes.get(record.service, Wish()), workers))
    wanted = plan.wanted({id_: wish.want != "stop" for id_, wish in wishes.items() if wish.want})
    for id_ in set(plan.services) - {record.service for record in records.values()}:
        entry, wish = plan.services[id_], wishes.get(id_, Wish())
        record = ServiceRecord(instance=id_, service=id_, reason=_untaken(store, entry, wish, id_ in wanted))
        found.append(_describe(record, entry, wish, workers))
    return sorted(found, key=lambda seen: (seen.id, seen.node))


def change_service(
    runtime: Runtime, namespace: str, service_id: str, want: str, *, wait: bool, timeout: float | timedelta | None
) -> None:  # fmt: skip
    """Say what is wanted of a service; see :meth:`orchestration.Client.start_service` and its neighbours."""
    seconds = wait_seconds(timeout)
    services = _known(runtime, namespace, service_id)
    number = services.wish(service_id, want, request=os.urandom(12).hex())
    if wait:
        _wait(runtime, namespace, service_id, want, number, seconds)


def forget_service(runtime: Runtime, namespace: str, service_id: str) -> bool:
    """Remove what is kept of a service; see :meth:`orchestration.Client.forget_service`."""
    services = _known(runtime, namespace, service_id)
    forgotten = [services.forget(instance) for instance in (*_instances(services, service_id), service_id)]
    return all(forgotten)


def _known(runtime: Runtime, namespace: str, service_id: str) -> Services:
    """The store's services, among which there is this one.

    Raises:
        EntryNotFoundError: There is no such service, here or in the store.
    """
    check_text("the id of a service", service_id, least=1)
    services, registry = runtime.store(namespace).services, runtime.registry
    entry = registry.find(service_id)
    if not isinstance(entry, ProcessService) and not _instances(services, service_id):
        hint = f"it is a {entry.kind}, not a process.service" if entry is not None else ""
        known = [service.id for service in registry.of(ProcessService)]
        raise EntryNotFoundError(service_id, hint or close_matches(service_id, known))
    return services


def _instances(services: Services, service_id: str) -> list[str]:
    """Those that are kept."""
    return [name for name in services.instances() if name == service_id or name.startswith(f"{service_id}|")]


def _wait(
    runtime: Runtime, namespace: str, service_id: str, want: str, number: int, seconds: float | None
) -> None:  # fmt: skip
    services = runtime.store(namespace).services
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        records = list(services.read(_instances(services, service_id)).values())
        if _has_come(records, want, number):
            return
        if not records:
            _known(runtime, namespace, service_id)  # it may have been forgotten meanwhile
        for record in records:
            is_over = not record.owner and not record.due_ms and record.state in ("failed", "exited")
            if want != "stop" and is_over and record.seen >= number:
                raise OrchestrationError(f"service {service_id} does not run: it is {record.state}: {record.reason}")
        if deadline is not None and time.monotonic() >= deadline:
            for seen in list_services(runtime, namespace):
                if seen.id == service_id:
                    raise TimeoutError(f"after {seconds:g} s service {service_id} is {seen.state}: {seen.reason}")
        time.sleep(_LOOK_S)


def _has_come(records: list[ServiceRecord], want: str, number: int) -> bool:
    held = [record for record in records if record.is_held]
    if want == "stop":
        return not held
    return bool(held) and all(record.state == "running" and record.seen >= number for record in held)


def _untaken(store: Store, entry: ProcessService, wish: Wish, is_wanted: bool) -> str:
    if wish.want == "stop":
        return "stopped by an operator"
    if not is_wanted:
        return "it is not started by itself"
    if not store.actors.serving(entry.host):
        return f"no worker serves its host {entry.host}"
    return "no worker has taken it up yet"


def _describe(
    record: ServiceRecord, entry: ProcessService | None, wish: Wish, workers: dict[str, str]
) -> ServiceDescription:  # fmt: skip
    state, reason, pid = record.state, record.reason, record.pid
    if not record.is_held and state in _ALIVE:
        state, reason, pid = "unknown", "its worker is gone; another takes it up when there is one", ""
    owner = record.owner if record.is_held else ""
    if entry is None:
        reason = f"{reason} (this application has no such service)"
    return ServiceDescription(
        id=record.service, process=entry.process if entry else "", host=entry.host if entry else "",
        scope=(entry.scope if entry else Scope.DEPLOYMENT).value,
        startup=entry.lifecycle.startup.value if entry else "", state=state, reason=reason, error=record.error,
        since_ms=record.since_ms, node=owner, worker=workers.get(owner, "") if owner else "", pid=pid,
        runs=record.runs, failures=record.failures, next_start_ms=record.due_ms, wish=wish.want,
    )  # fmt: skip
