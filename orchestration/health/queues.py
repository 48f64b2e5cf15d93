"""Checks of the workers: which there are, what they read, and whether they agree with this application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from orchestration.health.facts import BrokerAwayError, Facts, SeenWorker
from orchestration.health.findings import Note, Severity
from orchestration.tasks.consumers.serving import SERVES, served
from orchestration.tasks.self_report import location, release

__all__ = ["consumers", "releases", "settings", "start_queues", "workers"]

_MOST_RUNS: Final = 5_000


def workers(facts: Facts) -> Iterator[Note]:
    """Somebody has to move runs."""
    sweeping = facts.store.workers.is_swept()
    if not sweeping:
        yield Note(
            Severity.ERROR, f"namespace {facts.namespace}", "no worker sweeps it: due timers, lost messages and the "
            "work of dead workers are left as they are",
            "start a worker whose definitions, or orchestration_namespace, name it",
        )  # fmt: skip
    seen = facts.workers
    ours = [worker for worker in seen.values() if worker.has_extension]
    for worker in seen.values():
        if worker.namesakes:
            yield Note(
                Severity.WARNING, worker.name, f"{worker.namesakes + 1} workers answer by this name: monitors show "
                "them as one, and which of them has the extension is not to be told",
                "give each worker of a broker a name of its own: celery worker -n NAME@%h",
            )  # fmt: skip
        if worker.has_extension is None:
            yield Note(
                Severity.NOTICE, worker.name, "it has not said which tasks it knows", "look again when it is less busy"
            )
    if ours:
        pools = [f"{worker.name} ({_pool(worker)})" for worker in ours]
        yield Note(Severity.OK, f"{len(ours)} with the extension", ", ".join(sorted(pools)))
    else:
        text = "no worker with the extension has answered" + (
            ", but one sweeps: it is busy (a solo worker answers between two tasks)" if sweeping else
            f"; {len(seen)} without it have" if seen else ""
        )  # fmt: skip
        severity = Severity.NOTICE if sweeping else Severity.ERROR
        yield Note(severity, "workers", text, "start a worker of an application that has Orchestration(app)")


def _pool(worker: SeenWorker) -> str:
    pool: Any = worker.stats.get("pool") or {}
    name = str(pool.get("implementation", "")).rpartition(":")[0].rpartition(".")[2] or "pool not told"
    return f"{name}, {pool['max-concurrency']} slots" if "max-concurrency" in pool else name


def consumers(facts: Facts) -> Iterator[Note]:
    """A queue that nobody reads keeps its work for ever."""
    read = _read(facts)
    wanted: dict[str, list[str]] = {}
    for queues in (facts.start_queues, facts.work_queues, _queues_of_runs(facts)):
        for queue, who in queues.items():
            wanted.setdefault(queue, []).extend(who)
    for queue, who in sorted(wanted.items()):
        if queue in read:
            yield Note(Severity.OK, queue, f"read by {_few(sorted(read[queue]))}")
        else:
            yield Note(
                Severity.ERROR, queue, f"none of the {len(facts.workers)} workers that answered reads it: "
                f"{_few(who)} wait for ever",
                f"start a worker with -Q {queue}, or correct the queue in the definitions",
            )  # fmt: skip


    yield from _queue_consumers(facts)


def _queue_consumers(facts: Facts) -> Iterator[Note]:
    """Consumers of the definitions' own queues run with workers, which do not name those queues among Celery's."""
    asked = [worker for worker in facts.workers.values() if SERVES in worker.stats]
    if not asked:
        return  # of an older release, or none with the extension: said by the check `workers`
    for entry in served(facts.runtime.registry, facts.settings):
        serving = sorted(worker.name for worker in asked if entry.id in worker.stats[SERVES])
        if serving:
            yield Note(Severity.OK, entry.id, f"served by {_few(serving)}")
        else:
            yield Note(
                Severity.ERROR, entry.id, f"no worker that answered serves this consumer: messages of {entry.queue} "
                "wait for ever",
                "start a worker with --pool threads or prefork whose orchestration_consumers has it, and which takes "
                "no Celery tasks from the same queue; its log says what kept it from serving",
            )  # fmt: skip


def _read(facts: Facts) -> dict[str, list[str]]:
    """Who reads which queue.

    Raises:
        BrokerAwayError: No worker has said anything.
    """
    found: dict[str, list[str]] = {}
    answered = [worker for worker in facts.workers.values() if worker.queues is not None]
    if not answered:
        raise BrokerAwayError("no worker has answered within the time; see the check `workers`")
    for worker in answered:
        for queue in worker.queues or ():
            found.setdefault(queue, []).append(worker.name)
    return found


def _queues_of_runs(facts: Facts) -> dict[str, list[str]]:
    """Queues that open runs are moved on, the first thousands of them."""
    counts: dict[str, int] = {}
    looked_at = 0
    for page in facts.store.runs.pages("open"):
        for queue in facts.store.audits.queues(page):
            name = queue or facts.default_queue
            counts[name] = counts.get(name, 0) + 1
        looked_at += len(page)
        if looked_at >= _MOST_RUNS:
            break
    return {queue: [f"{count} open run{'s'[: count != 1]}"] for queue, count in counts.items()}


def start_queues(facts: Facts) -> Iterator[Note]:
    """A worker without the extension takes the start of a workflow for a task that it does not know, and drops it."""
    _read(facts)
    for queue, entries in sorted(facts.start_queues.items()):
        reading = [worker for worker in facts.workers.values() if queue in (worker.queues or ())]
        without = sorted(worker.name for worker in reading if worker.has_extension is False)
        for name in without:
            yield Note(
                Severity.ERROR, queue, f"{name} reads it and has no extension: it drops every start and wake-up of "
                f"{_few(entries)} that it gets",
                f"take the queue {queue} from that worker (-Q), give workflows a queue of their own "
                "(orchestration_default_queue, or a celery.worker entry), or add Orchestration(app) to its application",
            )  # fmt: skip
        if reading and not without:
            yield Note(Severity.OK, queue, f"{len(reading)} workers, all with the extension")


def releases(facts: Facts) -> Iterator[Note]:
    """A fleet of mixed releases works, and is not meant to stay."""
    _read(facts)
    found: dict[str, list[str]] = {}
    for worker in facts.workers.values():
        if worker.has_extension:
            report = worker.report
            shown = f"{report['release']} on Celery {report['celery']}" if report else "an older release"
            found.setdefault(shown, []).append(worker.name)
    if len(found) > 1:
        text = "; ".join(f"{shown}: {_few(sorted(names))}" for shown, names in sorted(found.items()))
        yield Note(Severity.NOTICE, f"{len(found)} releases", text, "finish the rolling deploy")
    for shown in found:
        if shown.partition(" ")[0] not in (release(), "an"):
            yield Note(
                Severity.NOTICE, "this process", f"it has release {release()}, workers have {shown}",
                "use the same release"
            )


def settings(facts: Facts) -> Iterator[Note]:
    """Clients and workers must mean the same store."""
    _read(facts)
    mine = facts.settings
    definitions: dict[str, list[str]] = {}
    for worker in sorted(facts.workers.values(), key=lambda worker: worker.name):
        report = worker.report
        if not report or not set(worker.queues or ()) & set(facts.start_queues):
            continue  # of another application on this broker
        for name, here in (("key_prefix", mine.key_prefix), ("shards", mine.shards)):
            if report.get(name) != here:
                yield Note(
                    Severity.ERROR, worker.name, f"orchestration_{name} is {report.get(name)!r} there and {here!r} "
                    "here: it does not see the runs that are started here",
                    "give all the same value",
                )  # fmt: skip
        if facts.namespace not in report.get("namespaces", ()):
            yield Note(
                Severity.WARNING, worker.name, f"it looks after {', '.join(report.get('namespaces', ()))} and not "
                f"after the namespace {facts.namespace!r}: it starts its runs, and does not fire its timers",
                "give all the same orchestration_namespace and definitions",
            )  # fmt: skip
        if bool(report.get("offload")) != bool(mine.offload):
            yield Note(
                Severity.ERROR, worker.name, "orchestration_offload is set on one side only: large values cannot be "
                "read on the other",
                "give all the same orchestration_offload",
            )  # fmt: skip
        for name, here in (("redis", location(mine.redis_url)), ("offload", location(mine.offload))):
            if report.get(name) and here and report[name] != here:
                yield Note(
                    Severity.NOTICE, worker.name, f"{name} is {report[name]} there and {here} here",
                    "that is well if the two names mean the same place; else give all the same",
                )  # fmt: skip
        definitions.setdefault(str(report.get("definitions")), []).append(worker.name)
    if set(definitions) - {facts.runtime.registry.digest}:
        text = "; ".join(f"{digest[:12]}: {_few(names)}" for digest, names in definitions.items())
        yield Note(
            Severity.NOTICE, "definitions", f"not all have the same: {text}; here {facts.runtime.registry.digest[:12]}",
            "finish the deploy",
        )  # fmt: skip


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
