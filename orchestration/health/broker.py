"""Checks of the broker: what it gives out twice, and what it does when a connection is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery

from orchestration.celery_redis import is_cut_in_its_secret
from orchestration.core.activity_options import entry_options
from orchestration.core.durations import format_duration
from orchestration.health.facts import Facts
from orchestration.health.findings import Note, Severity
from orchestration.registry.kinds.functions import FunctionCelery
from orchestration.tasks.self_report import visibility_timeout_s

__all__ = ["connection", "delivery", "sockets", "visibility"]

_ACK_TIMEOUT_S: Final = 1800.0
"""RabbitMQ closes the channel of a consumer that has not acknowledged a message for so long, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class _Length:
    """How long something may take.

    Attributes:
        what: For people.
        seconds: At most.
        is_named: Somebody has said so; else it is a default.
    """

    what: str
    seconds: float
    is_named: bool = True


def connection(facts: Facts) -> Iterator[Note]:
    """Without a broker nothing starts."""
    given = facts.app.conf.broker_write_url or ""
    if any(map(is_cut_in_its_secret, [given] if isinstance(given, str) else given)):
        yield Note(
            Severity.ERROR, "broker_url", "behind a / ? or # in it there is an @: what stands before is taken for the "
            "host, and shown",
            "in its password write %2F, %3F, %23 for / ? #, and %40 for an @ wherever it stands but before the host",
        )  # fmt: skip
        return
    made = facts.app.connection_for_write(connect_timeout=facts.timeout_s)
    where = made.as_uri()
    try:
        made.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=facts.timeout_s)
        made.default_channel  # noqa: B018 - Redis connects with the first channel
    except Exception as error:  # noqa: BLE001 - whatever the transport raises
        yield Note(
            Severity.ERROR, where, f"it does not answer: {type(error).__name__} {error}",
            "start the broker, or correct broker_url",
        )  # fmt: skip
        return
    finally:
        made.release()
    yield Note(Severity.OK, where, f"it answers (transport {facts.transport})")


def _lengths(facts: Facts) -> list[_Length]:
    """How long tasks may hold a message: the longest of each sort that is known."""
    app, conf = facts.app, facts.app.conf
    found: list[_Length] = []
    for name, task in app.tasks.items():
        limit = getattr(task, "time_limit", None) or getattr(task, "soft_time_limit", None)
        if limit and limit != conf.task_time_limit:
            found.append(_Length(f"the time limit of task {name}", float(limit)))
    for name, limit in (("task_time_limit", conf.task_time_limit), ("task_soft_time_limit", conf.task_soft_time_limit)):
        if limit:
            found.append(_Length(name, float(limit)))
    for entry in facts.runtime.registry.of(FunctionCelery):
        if entry.canvas:
            continue  # the timeout is that of all its tasks together; the message which makes them is held for a moment
        options = entry_options(getattr(entry, "options", {}))
        close = options.get("start_to_close_timeout_ms") or options.get("schedule_to_close_timeout_ms")
        if close:
            found.append(_Length(f"the start-to-close timeout of {entry.id}", float(close) / 1000))
    found.append(_Length("orchestration_start_to_close_ms", facts.settings.start_to_close_ms / 1000, is_named=False))
    found.append(_Length("orchestration_timer_horizon_ms", facts.settings.timer_horizon_ms / 1000))
    return sorted(found, key=lambda length: -length.seconds)


def visibility(facts: Facts) -> Iterator[Note]:
    """Redis gives a message that is held for too long to another consumer: the task runs twice."""
    if facts.transport != "redis":
        yield Note(Severity.OK, "broker", f"the {facts.transport} transport has no visibility timeout")
        return
    mine = visibility_timeout_s(facts.app.conf)
    subject = "broker_transport_options['visibility_timeout']"
    longer = [length for length in _lengths(facts) if length.seconds > mine]
    named = [length for length in longer if length.is_named]
    for length in (named or longer)[:5]:
        yield Note(
            Severity.ERROR if length.is_named else Severity.WARNING, subject,
            f"it is {_span(mine)}, and {length.what} is {_span(length.seconds)}: a message that is held for longer "
            "than the visibility timeout is given to another worker too, and its task runs twice",
            f"set the visibility timeout above {_span(length.seconds)} in every application of this broker, or lower "
            "the other",
        )  # fmt: skip
    for name, others in _others(facts).items():
        if others != mine:
            yield Note(
                Severity.WARNING, name,
                f"its application has a visibility timeout of {_span(others)}, this one of {_span(mine)}: the "
                "shortest wins for all messages of one Redis database",
                "give all applications of a broker database the same",
            )  # fmt: skip
    if not longer:
        yield Note(Severity.OK, subject, f"{_span(mine)}: longer than any known task")


def _others(facts: Facts) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, worker in facts.workers.items():
        if "visibility_timeout_s" in worker.report:
            found[name] = float(worker.report["visibility_timeout_s"])
        elif "broker_transport_options" in worker.conf:
            found[name] = visibility_timeout_s(worker.conf)
    return found


def sockets(facts: Facts) -> Iterator[Note]:
    """A connection that is lost without a word must be noticed."""
    conf, transport = facts.app.conf, facts.transport
    options: dict[str, Any] = dict(conf.broker_transport_options or {})
    if transport == "redis":
        if options.get("retry_on_timeout"):
            yield Note(
                Severity.WARNING, "broker_transport_options['retry_on_timeout']",
                "it repeats a publish whose answer was lost: messages are there twice, and cannot be given out with "
                "a commit",
                "leave it out",
            )  # fmt: skip
        if options.get("health_check_interval", 25) in (0, None) and not options.get("socket_timeout"):
            yield Note(
                Severity.WARNING, "broker_transport_options",
                "neither health_check_interval nor socket_timeout: a worker whose connection is half open waits for "
                "ever",
                "set health_check_interval to 25",
            )  # fmt: skip
        if not options.get("socket_keepalive"):
            yield Note(
                Severity.NOTICE, "broker_transport_options['socket_keepalive']",
                "it is off: a broken connection is noticed by the health check alone, after up to a minute",
                "set socket_keepalive to True",
            )  # fmt: skip
    elif transport == "amqp" and not conf.broker_heartbeat:
        yield Note(
            Severity.WARNING, "broker_heartbeat", "it is off: a broken connection to RabbitMQ may go unnoticed for "
            "a quarter of an hour",
            "set broker_heartbeat to 60 or so",
        )  # fmt: skip
    if conf.broker_connection_retry_on_startup is False:
        yield Note(
            Severity.NOTICE, "broker_connection_retry_on_startup",
            "a worker that starts before its broker ends at once",
            "set it to True, or let a supervisor start the worker again",
        )  # fmt: skip


def delivery(facts: Facts) -> Iterator[Note]:
    """RabbitMQ closes the channel of who does not acknowledge: the message is given out again."""
    if facts.transport != "amqp":
        yield Note(Severity.OK, "broker", f"the {facts.transport} transport has no acknowledgement timeout")
        return
    cure = "raise consumer_timeout in rabbitmq.conf, or x-consumer-timeout of the queue, above it"
    endless = []
    for name, length in _late(facts).items():
        patience_s = _patience_s(facts.app, name)
        if length is None:
            endless.append(name)
        elif length.seconds > patience_s:
            yield Note(
                Severity.WARNING, "consumer_timeout",
                f"{name} is acknowledged late, and {length.what} is {_span(length.seconds)}: RabbitMQ closes the "
                f"channel of a consumer after {_span(patience_s)} without an acknowledgement, and gives the message "
                "out again",
                cure,
            )  # fmt: skip
    if endless:
        shown = ", ".join(sorted(endless)[:3]) + (f" and {len(endless) - 3} more" if len(endless) > 3 else "")
        yield Note(
            Severity.NOTICE, "consumer_timeout",
            f"acknowledged late, and without a time limit: {shown}. One that runs for longer than RabbitMQ's "
            "consumer_timeout (30 minutes, unless it says otherwise) loses its channel and runs twice",
            f"give them a time_limit, or {cure}",
        )  # fmt: skip
    if facts.app.conf.task_default_queue_type == "quorum" and facts.app.conf.worker_eta_task_limit:
        yield Note(
            Severity.NOTICE, "worker_eta_task_limit", "quorum queues delay messages by themselves: it has no use here",
            "leave it out",
        )  # fmt: skip


def _late(facts: Facts) -> dict[str, _Length | None]:
    """How long each of the application's tasks that are acknowledged late may take; None: nobody has said."""
    conf, found = facts.app.conf, dict[str, _Length | None]()
    for name, task in facts.app.tasks.items():
        if not getattr(task, "acks_late", False) or ":" in name or name.startswith(("orchestration.", "celery.")):
            continue
        words = ("time_limit", "soft_time_limit")
        limits = {f"its {word}": getattr(task, word, None) or conf[f"task_{word}"] for word in words}
        for entry in facts.runtime.registry.of(FunctionCelery):
            options = entry_options(getattr(entry, "options", {})) if entry.task_name == name else {}
            close = options.get("start_to_close_timeout_ms") or options.get("schedule_to_close_timeout_ms")
            limits[f"the start-to-close timeout of {entry.id}"] = float(close) / 1000 if close else None
        found[name] = next((_Length(what, float(limit)) for what, limit in limits.items() if limit), None)
    return found


def _patience_s(app: Celery, task: str) -> float:
    """How long RabbitMQ waits for the acknowledgement of a task, as far as its queue says so."""
    try:
        queue = app.amqp.router.route({}, task).get("queue")
    except Exception:  # noqa: BLE001 - a router of the application's own may raise anything
        return _ACK_TIMEOUT_S
    given = (getattr(queue, "queue_arguments", None) or {}).get("x-consumer-timeout")
    return float(given) / 1000 if given else _ACK_TIMEOUT_S


def _span(seconds: float) -> str:
    return format_duration(round(seconds * 1000))
