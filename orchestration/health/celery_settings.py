"""Checks of the Celery application's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from orchestration.core.activity_options import entry_options
from orchestration.health.facts import Facts
from orchestration.health.findings import Note, Severity
from orchestration.registry.kinds.functions import FunctionCelery

__all__ = ["acknowledgement", "content", "eager", "eta_limit", "missing_queues", "prefetch", "results", "time_limits"]

_MANY = 4
"""Celery's own worker_prefetch_multiplier."""


def acknowledgement(facts: Facts) -> Iterator[Note]:
    """What happens to a message whose worker dies."""
    conf = facts.app.conf
    if conf.task_acks_late and not conf.task_reject_on_worker_lost:
        yield Note(
            Severity.NOTICE, "task_reject_on_worker_lost",
            "tasks are acknowledged late, but not given out again when the process that runs one is killed (memory, "
            "SIGKILL): the task fails with WorkerLostError. Workflows and activities on workers with the extension "
            "are not concerned",
            "set task_reject_on_worker_lost to True where a task may run twice",
        )  # fmt: skip
    elif not conf.task_acks_late:
        yield Note(
            Severity.OK, "task_acks_late", "tasks are acknowledged before they run: what is lost with a worker is "
            "an activity whose start-to-close timeout brings it back",
        )  # fmt: skip


def prefetch(facts: Facts) -> Iterator[Note]:
    """Messages that a worker takes and does not run hide from idle workers."""
    many = facts.app.conf.worker_prefetch_multiplier
    if many == 0:
        yield Note(
            Severity.WARNING, "worker_prefetch_multiplier", "it is 0: one worker takes every message there is, and "
            "others idle",
            "set it to 1",
        )  # fmt: skip
    elif many and many > 1:
        yield Note(
            Severity.NOTICE, "worker_prefetch_multiplier",
            f"it is {many}: a worker holds up to {many} messages for each of its slots, and what is behind a long "
            "task waits although other workers are idle",
            "set it to 1 on workers of long tasks",
        )  # fmt: skip


def time_limits(facts: Facts) -> Iterator[Note]:
    """A task that is ended before the activity's own timeout fails for another reason than the one that was meant."""
    app, conf = facts.app, facts.app.conf
    for entry in facts.runtime.registry.of(FunctionCelery):
        if entry.canvas:
            continue  # the limit holds for each of its tasks, the timeout for all of them together
        close_ms = entry_options(getattr(entry, "options", {})).get("start_to_close_timeout_ms")
        task = app.tasks.get(entry.task)
        limit = getattr(task, "time_limit", None) or conf.task_time_limit
        if close_ms and limit and limit * 1000 < close_ms:
            yield Note(
                Severity.NOTICE, entry.id, f"Celery ends the task after {limit:g} s, its start-to-close timeout is "
                f"{close_ms / 1000:g} s",
                "make the timeout the shorter of the two, or leave one out",
            )  # fmt: skip
    if conf.task_time_limit and conf.task_time_limit * 1000 < facts.settings.watchdog_ms:
        yield Note(
            Severity.NOTICE, "task_time_limit", f"it is {conf.task_time_limit:g} s for every task, the steps of "
            "workflows too, which end their process when they take longer",
            "give tasks their own time_limit, or set it above orchestration_watchdog_ms",
        )  # fmt: skip


def results(facts: Facts) -> Iterator[Note]:
    """Results and counters of chords that expire under a workflow."""
    app, conf = facts.app, facts.app.conf
    if "disabled" in type(app.backend).__module__ or type(app.backend).__name__ == "DisabledBackend":
        yield Note(
            Severity.NOTICE, "result_backend", "there is none: AsyncResult.get() does not work for workflows, "
            "handle.result() does; results of activities on workers without the extension are known from their "
            "callbacks alone",
            "set result_backend where the application waits for results",
        )  # fmt: skip
        return
    if conf.task_ignore_result:
        yield Note(
            Severity.NOTICE, "task_ignore_result", "results are not stored: AsyncResult.get() of a workflow waits "
            "for ever, and chords do not fire; handle.result() works",
            "leave it to the tasks whose result nobody reads",
        )  # fmt: skip
    expires = conf.result_expires
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else float(expires or 0)
    # In a backend of keys workers keep alive what open workflows wait for.
    if seconds and seconds < facts.settings.retention_ms / 1000 and not hasattr(app.backend, "get_key_for_group"):
        yield Note(
            Severity.NOTICE, "result_expires", f"after {seconds:g} s results are deleted, also those that a chord "
            "has collected while a workflow of its header is open",
            "set result_expires above the longest workflow in a chord",
        )  # fmt: skip


def content(facts: Facts) -> Iterator[Note]:
    """Messages of the engine are JSON; a worker drops what it does not accept."""
    for subject, accepted in _of_all(facts, "accept_content"):
        names = {str(name) for name in accepted or ()}
        if names and not names & {"json", "application/json"}:
            yield Note(
                Severity.ERROR, subject, f"it is {', '.join(sorted(names))}: messages of activities and wake-ups are "
                "JSON, and a worker drops what it does not accept",
                "add 'json'",
            )  # fmt: skip
        elif names & {"pickle", "application/x-python-serialize"}:
            yield Note(
                Severity.WARNING, subject, "pickle is accepted: whoever can write to the broker can run code in the "
                "workers",
                "leave 'pickle' out",
            )  # fmt: skip


def missing_queues(facts: Facts) -> Iterator[Note]:
    """Where queues are not made as they are named, each has to be declared."""
    conf = facts.app.conf
    if conf.task_create_missing_queues:
        return
    declared = set(facts.app.amqp.queues)
    for queue, entries in sorted({**facts.work_queues, **facts.start_queues}.items()):
        if queue not in declared:
            yield Note(
                Severity.ERROR, queue, "task_create_missing_queues is off and task_queues has no such queue: "
                f"{_few(entries)} cannot be sent",
                "add it to task_queues, or switch task_create_missing_queues on",
            )  # fmt: skip


def eta_limit(facts: Facts) -> Iterator[Note]:
    """Celery's limit of ETA tasks stops the queue behind them."""
    for subject, limit in _of_all(facts, "worker_eta_task_limit"):
        if limit:
            yield Note(
                Severity.WARNING, subject, f"worker_eta_task_limit is {limit}: a worker that holds so many ETA tasks "
                "takes no other message either",
                "leave it out; orchestration_eta_tasks_max bounds the timers that are ETA tasks",
            )  # fmt: skip


def eager(facts: Facts) -> Iterator[Note]:
    """Eager tasks run in the caller: nothing of them is durable."""
    if facts.app.conf.task_always_eager:
        yield Note(
            Severity.ERROR, "task_always_eager", "tasks run in the process that calls them",
            "leave it out, but in unit tests"
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _of_all(facts: Facts, setting: str) -> Iterator[tuple[str, Any]]:
    """What this application has set, then what the workers' applications have."""
    yield setting, facts.app.conf[setting]
    for name, worker in facts.workers.items():
        if setting in worker.conf:
            yield f"{setting} of {name}", worker.conf[setting]
