"""The doctor: looks at everything that a deployment stands on, and says for each thing found what to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from orchestration.errors import OrchestrationError
from orchestration.health import broker, bundles, celery_settings, clock, hosts, queues, redis_servers, runs
from orchestration.health.facts import BrokerAwayError, Facts
from orchestration.health.findings import Check, Finding, Note, Severity
from orchestration.tasks.runtime import Runtime

__all__ = ["CHECKS", "check_names", "examine"]

logger = logging.getLogger(__name__)

CHECKS: Final = (
    Check("redis-version", "the store's server has the commands that the scripts use", redis_servers.version),
    Check("redis-eviction", "no Redis drops keys when it is full", redis_servers.eviction),
    Check("redis-persistence", "what a crash of Redis loses", redis_servers.persistence),
    Check("redis-memory", "there is room in Redis", redis_servers.memory),
    Check("redis-replication", "what a failover loses", redis_servers.replication),
    Check("redis-scripts", "Redis runs scripts", redis_servers.scripts),
    Check("redis-latency", "Redis answers quickly", redis_servers.latency),
    Check("broker", "the broker answers", broker.connection),
    Check("visibility-timeout", "no task is held for longer than Redis waits for it", broker.visibility),
    Check("broker-sockets", "a lost connection to the broker is noticed", broker.sockets),
    Check("broker-acknowledgement", "RabbitMQ waits for as long as tasks take", broker.delivery),
    Check("acknowledgement", "what happens to a task whose worker dies", celery_settings.acknowledgement),
    Check("prefetch", "workers take no more messages than they run", celery_settings.prefetch),
    Check("time-limits", "Celery's time limits and the timeouts of activities agree", celery_settings.time_limits),
    Check("results", "results and chords outlive workflows", celery_settings.results),
    Check("content", "workers accept the engine's messages", celery_settings.content),
    Check("missing-queues", "every queue is declared, where it must be", celery_settings.missing_queues),
    Check("eta-limit", "no worker stops at a number of ETA tasks", celery_settings.eta_limit),
    Check("eager", "tasks go to workers", celery_settings.eager),
    Check("clock", "the clocks of hosts agree with Redis'", clock.skew),
    Check("workers", "workers with the extension are there, and one sweeps", queues.workers, of_runs=True),
    Check("queue-consumers", "every queue has a worker that reads it", queues.consumers, of_runs=True),
    Check("start-queues", "no worker without the extension reads a queue of workflows", queues.start_queues),
    Check("releases", "workers have the same release", queues.releases),
    Check("worker-settings", "workers and this application mean the same store", queues.settings),
    Check("hosts", "every process host is served", hosts.hosts),
    Check("services", "supervised services run", hosts.services),
    Check("bundles", "the code of every open run is in the store", bundles.missing, of_runs=True),
    Check("wake-sources", "every open run has something that will move it", runs.wake_sources, of_runs=True),
    Check("parked", "no run waits for an operator", runs.parked, of_runs=True),
    Check("backlog", "nothing waits for longer than it should", runs.backlog, of_runs=True),
)
"""In the order in which they are made."""


def check_names(*, of_runs: bool = False) -> tuple[str, ...]:
    """Names of all checks, or of those that look at the runs of one namespace."""
    return tuple(check.name for check in CHECKS if check.of_runs or not of_runs)


def examine(
    runtime: Runtime, namespace: str, *, only: Sequence[str] = (), timeout_s: float = 8.0
) -> Iterator[Finding]:
    """Make the checks, one after the other.

    Args:
        runtime: Of this process.
        namespace: Whose runs are looked at.
        only: Names of checks; none: all.
        timeout_s: How long one check may take; one that takes longer is left, and says so.

    Returns:
        For each check at least one finding: what it looked at, also when that is well.

    Raises:
        ValueError: There is no such check.
        StoreUnavailableError: The Redis of the runs does not answer: nothing can be looked at.
    """
    unknown = [name for name in only if name not in check_names()]
    if unknown:
        raise ValueError(f"there is no check {unknown[0]!r}; there are: {', '.join(check_names())}")
    return _examine(runtime, namespace, only, timeout_s)


def _examine(runtime: Runtime, namespace: str, only: Sequence[str], timeout_s: float) -> Iterator[Finding]:
    runtime.store(namespace).workers.is_swept()
    try:
        runtime.app.loader.import_default_modules()  # so that the time limits of its tasks are known
    except Exception as error:  # noqa: BLE001 - modules of the application may raise anything
        logger.warning("the application's task modules cannot all be imported: %s", error)
    facts = Facts(runtime, namespace, timeout_s=timeout_s)
    for check in CHECKS:
        if not only or check.name in only:
            for note in _in_time(check, facts):
                yield check.finding(note, namespace)


def _in_time(check: Check, facts: Facts) -> list[Note]:
    """What a check says; one that does not come back is left behind."""
    notes: list[Note] = []

    def look() -> None:
        try:
            notes.extend(check.look(facts))
            if not notes:
                notes.append(Note(Severity.OK, "", check.looks_at))
        except (BrokerAwayError, OrchestrationError) as error:
            notes.append(_unmade(check, str(error)))
        except Exception as error:
            logger.info("check failed", extra={"check": check.name}, exc_info=True)
            notes.append(_unmade(check, f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=look, name=f"orchestration-doctor-{check.name}", daemon=True)
    thread.start()
    thread.join(facts.timeout_s * 2)
    if thread.is_alive():
        return [_unmade(check, f"no answer within {facts.timeout_s * 2:g} s")]
    return notes


def _unmade(check: Check, why: str) -> Note:
    return Note(Severity.NOTICE, check.looks_at, f"could not be looked at: {why}", "mend that, then look again")
