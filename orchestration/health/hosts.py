"""Checks of process hosts and services: somebody has to serve them."""

from __future__ import annotations

from collections.abc import Iterator

from orchestration.health.facts import Facts
from orchestration.health.findings import Note, Severity
from orchestration.registry.kinds.lua import ProcessLua
from orchestration.registry.kinds.processes import ProcessHost, ProcessPython, ProcessService

__all__ = ["hosts", "services"]


def hosts(facts: Facts) -> Iterator[Note]:
    """Processes cannot be started on a host that no worker serves."""
    registry, actors = facts.runtime.registry, facts.runtime.store(facts.settings.namespace).actors
    used: dict[str, str] = {entry.host: entry.id for entry in registry.of(ProcessService)}
    called: list[ProcessLua | ProcessPython] = [*registry.of(ProcessLua), *registry.of(ProcessPython)]
    used |= {str(entry.default_host): entry.id for entry in called if entry.default_host}
    for host in registry.of(ProcessHost):
        serving = actors.serving(host.id)
        if serving:
            yield Note(Severity.OK, host.id, f"served by {len(serving)} worker{'s'[: len(serving) != 1]}")
            continue
        waits = f", and {used[host.id]} needs it" if host.id in used else ""
        yield Note(
            Severity.ERROR if waits else Severity.WARNING, host.id,
            f"no worker serves it{waits}: processes cannot be started",
            f"start a worker with --hosts {host.id} (or orchestration_hosts), or take the host out of the definitions",
        )  # fmt: skip


def services(facts: Facts) -> Iterator[Note]:
    """Supervised services run, unless somebody has stopped them."""
    from orchestration.client.services import list_services

    for seen in list_services(facts.runtime, facts.settings.namespace):
        if seen.state in ("failed", "exited") and not seen.next_start_ms:
            yield Note(
                Severity.ERROR if seen.startup == "required" else Severity.WARNING, seen.id,
                f"it is {seen.state} and is not started again: {seen.reason}" + (f" ({seen.error})" if seen.error else
                ""),
                f"mend the cause, then orchestration services restart {seen.id}",
            )  # fmt: skip
        elif seen.next_start_ms:
            yield Note(
                Severity.WARNING, seen.id, f"it is {seen.state} and will be tried again: {seen.error or seen.reason}",
                f"orchestration services shows when; its worker's log has the cause; restart {seen.id} tries at once",
            )  # fmt: skip
        elif not seen.node and seen.state in ("unknown", "starting") and _is_wanted(seen.reason, seen.wish):
            yield Note(
                Severity.ERROR, seen.id, f"nobody looks after it: {seen.reason}",
                f"start a worker that serves its host {seen.host}",
            )  # fmt: skip
        else:
            yield Note(Severity.OK, seen.id, f"{seen.state}: {seen.reason}" if seen.reason else seen.state)


def _is_wanted(reason: str, wish: str) -> bool:
    return wish != "stop" and "not started by itself" not in reason
