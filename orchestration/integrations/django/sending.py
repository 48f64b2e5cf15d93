"""Sends what is in the outbox: in the web process right after a commit, in workers whatever is left.

Any number of processes may do it at the same time. An entry that is sent twice is taken once, by its request id; and
as an entry is sent only after all earlier ones of its workflow are marked as sent, one that comes late is one that was
taken already. So nothing has to be claimed. Where the database can, the rows are locked meanwhile and others skip
them, which saves the work of sending twice.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.db import DatabaseError, connections, transaction
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

from orchestration.client import Client, WorkflowHandle
from orchestration.errors import (
    DecodeError,
    EntryNotFoundError,
    OrchestrationError,
    PayloadError,
    StoreUnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowClosedError,
)
from orchestration.faults import fault
from orchestration.integrations.django.application import DjangoOrchestration, project_orchestration
from orchestration.integrations.django.calls import unpack_message, unpack_start
from orchestration.integrations.django.conf import DjangoSettings
from orchestration.integrations.django.models import OutboxEntry
from orchestration.store.opening import open_connection
from orchestration.tasks.app import Orchestration
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.starts import start

__all__ = ["Pass", "prompt_client", "prompt_runtime", "remove_old", "send_due", "send_soon", "want"]

logger = logging.getLogger(__name__)

_PATIENCE_S: Final = 2.0
_QUIET_S: Final = 5.0
_FOLLOWERS: Final = 500
_MOST_WANTED: Final = 500
_FIRST_PAUSE: Final = timedelta(seconds=1)
_LONGEST_PAUSE: Final = timedelta(minutes=5)
_HOPELESS: Final = (WorkflowAlreadyStartedError, WorkflowClosedError, PayloadError, ValueError, TypeError)
"""Errors that another attempt cannot mend."""
_OF_NEWER: Final = (DecodeError, EntryNotFoundError)
"""Errors of a worker that is older than the process that wrote the entry: of a release that cannot read it, or without
the workflow, which was known where it was written. Others can send it; so it waits for them, however long."""
_NEXT_LOOK: Final = (timedelta(seconds=1), timedelta(minutes=1))
_WARN_EVERY_S: Final = 60.0


@dataclass(slots=True)
class Pass:
    """What became of the entries that were looked at once.

    Attributes:
        sent: Keys of those that were sent.
        failed: Those that were not, what is wrong, and whether that is the end of it.
        left: Those that are left to newer workers, and what this one cannot do.
        is_full: There may be more to send.
        away: Why nothing can be sent at present; None when it can.
    """

    sent: list[int] = field(default_factory=list)
    failed: list[tuple[OutboxEntry, Exception, bool]] = field(default_factory=list)
    left: list[tuple[OutboxEntry, Exception]] = field(default_factory=list)
    is_full: bool = False
    away: StoreUnavailableError | None = None


def send_due(
    runtime: Runtime, using: str, settings: DjangoSettings, *, only: Sequence[tuple[str, str]] | None = None
) -> Pass:
    """Send what is due of the outbox of one database.

    Args:
        runtime: That reaches the store; one that gives up soon.
        using: The database.
        settings: Sizes and numbers of attempts.
        only: Namespaces and ids of the workflows whose entries are sent; None: all.

    Returns:
        What became of them.

    Raises:
        DatabaseError: The database does not answer, or has no table for the outbox.
    """
    done = Pass()
    locks = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using) if locks else nullcontext():
        heads = _heads(using, only)
        if locks:
            heads = heads.select_for_update(skip_locked=True, of=() if not _can_say_of(using) else ("self",))
        first = list(heads.order_by("id")[: settings.outbox_batch])
        rows = _with_followers(using, first) if first else []
        done.is_full = len(first) >= settings.outbox_batch or len(rows) >= _FOLLOWERS
        _send_all(runtime, rows, settings, done)
        _mark(using, done)
        _leave(using, done.left)
    if done.sent:
        fault("after_outbox_mark")
    return done


def remove_old(using: str, settings: DjangoSettings, *, limit: int = 1000) -> int:
    """Delete entries that were sent long ago; returns how many."""
    old = _now(-timedelta(milliseconds=settings.outbox_retention_ms))
    rows = OutboxEntry.objects.using(using).filter(state=OutboxEntry.State.SENT, sent_at__lt=old)
    keys = list(rows.order_by("id").values_list("id", flat=True)[:limit])
    if keys:
        OutboxEntry.objects.using(using).filter(id__in=keys).delete()
    return len(keys)


def _now(delta: timedelta = timedelta()) -> Any:
    """The database's clock: those of the hosts may disagree."""
    return ExpressionWrapper(Now() + Value(delta, output_field=DurationField()), Now.output_field) if delta else Now()


def _can_say_of(using: str) -> bool:
    return bool(connections[using].features.has_select_for_update_of)


def _pending(using: str) -> QuerySet[OutboxEntry]:
    return OutboxEntry.objects.using(using).filter(state=OutboxEntry.State.PENDING)


def _heads(using: str, only: Sequence[tuple[str, str]] | None) -> QuerySet[OutboxEntry]:
    """The first entry of each workflow that has any, if its time has come."""
    earlier = _pending(using).filter(
        namespace=OuterRef("namespace"), workflow_id=OuterRef("workflow_id"), id__lt=OuterRef("id")
    )
    found = _pending(using).filter(Q(next_try_at__isnull=True) | Q(next_try_at__lte=Now()), ~Exists(earlier))
    return found if only is None else found.filter(_of_workflows(only))


def _of_workflows(names: Sequence[tuple[str, str]]) -> Q:
    found = Q(pk__in=[])
    for namespace in {namespace for namespace, _ in names}:
        found |= Q(namespace=namespace, workflow_id__in=[name for space, name in names if space == namespace])
    return found


def _with_followers(using: str, heads: Sequence[OutboxEntry]) -> list[OutboxEntry]:
    """Those entries, and what waits behind them. Nobody else sends that: they are still pending, and locked."""
    names = [(entry.namespace, entry.workflow_id) for entry in heads]
    known = {entry.pk for entry in heads}
    rest = _pending(using).filter(_of_workflows(names)).exclude(pk__in=known)
    return sorted([*heads, *rest.order_by("id")[:_FOLLOWERS]], key=lambda entry: entry.pk)


def _send_all(runtime: Runtime, rows: Sequence[OutboxEntry], settings: DjangoSettings, done: Pass) -> None:
    stopped: set[tuple[str, str]] = set()
    for entry in rows:
        name = (entry.namespace, entry.workflow_id)
        if name in stopped:
            continue
        try:
            fault("before_outbox_send")
            _send(runtime, entry)
            fault("after_outbox_send")
        except StoreUnavailableError as error:
            done.away = error
            return
        except _OF_NEWER as error:
            done.left.append((entry, error))
            stopped.add(name)
        except Exception as error:
            if not isinstance(error, (OrchestrationError, ValueError, TypeError)):
                logger.exception("an entry of the outbox could not be sent", extra={"entry": entry.pk})
            is_dead = isinstance(error, _HOPELESS) or entry.attempts + 1 >= settings.outbox_attempts
            done.failed.append((entry, error, is_dead))
            if not is_dead:
                stopped.add(name)  # later ones wait for it
        else:
            done.sent.append(entry.pk)


def _send(runtime: Runtime, entry: OutboxEntry) -> None:
    if entry.kind == OutboxEntry.Kind.START:
        start(runtime, unpack_start(entry.payload))
        return
    topic, values = unpack_message(entry.payload)
    handle = WorkflowHandle(runtime, entry.namespace, entry.workflow_id)
    if entry.kind == OutboxEntry.Kind.SIGNAL:
        handle.signal(topic, *values, request_id=entry.request_id)
    elif entry.kind == OutboxEntry.Kind.CANCEL:
        handle.cancel(values, request_id=entry.request_id)
    else:
        raise DecodeError(f"a newer release wrote this entry: {entry.kind!r} is not known to this one")


def _mark(using: str, done: Pass) -> None:
    table = OutboxEntry.objects.using(using)
    if done.sent:
        table.filter(pk__in=done.sent, state=OutboxEntry.State.PENDING).update(
            state=OutboxEntry.State.SENT, sent_at=Now(), error="", attempts=F("attempts") + 1
        )
    for entry, error, is_dead in done.failed:
        attempts = entry.attempts + 1
        pause = min(_FIRST_PAUSE * 2 ** min(attempts - 1, 20), _LONGEST_PAUSE)
        table.filter(pk=entry.pk, state=OutboxEntry.State.PENDING).update(
            state=OutboxEntry.State.DEAD if is_dead else OutboxEntry.State.PENDING, attempts=attempts,
            error=_told(error), next_try_at=_now(pause),
        )  # fmt: skip
        if is_dead:
            logger.error(
                "an entry of the outbox is dead: %s", error,
                extra={"entry": entry.pk, "database": using, "workflow_id": entry.workflow_id},
            )  # fmt: skip


def _leave(using: str, left: Sequence[tuple[OutboxEntry, Exception]]) -> None:
    """Let entries wait for newer workers; this is no attempt, so that those have all of theirs.

    Others find an entry in its pauses: they are short while it is young, and grow with its age.
    """
    for entry, error in left:
        pause = min(max((timezone.now() - entry.created_at) / 10, _NEXT_LOOK[0]), _NEXT_LOOK[1])
        OutboxEntry.objects.using(using).filter(pk=entry.pk, state=OutboxEntry.State.PENDING).update(
            error=_told(error), next_try_at=_now(pause)
        )
    now = time.monotonic()
    if left and now >= _warn_from.get(using, 0.0):
        _warn_from[using] = now + _WARN_EVERY_S
        entry, error = left[0]
        logger.warning(
            "the outbox waits for workers that are newer than this one: %s", error,
            extra={"entry": entry.pk, "database": using, "workflow_id": entry.workflow_id},
        )  # fmt: skip


_warn_from: dict[str, float] = {}


def _told(error: Exception) -> str:
    return _storable(f"{type(error).__name__}: {error}")[:2000]


def _storable(text: str) -> str:
    """A text as every database takes it: one that is refused would undo the marks of all others, again and again."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode("utf-8")


# --- right after a commit ---------------------------------------------------------------------------------------------


class _Process:
    """What a process needs to send by itself: a connection that gives up soon, and a pause after it has."""

    def __init__(self, orchestration: Orchestration) -> None:
        self.pid = os.getpid()
        self.orchestration = orchestration
        self.runtime = impatient_runtime(orchestration)
        self.quiet_until = 0.0


_process: _Process | None = None
_lock = threading.Lock()


def impatient_runtime(orchestration: Orchestration) -> Runtime:
    """A runtime whose store is given up after two seconds: whoever waits for it holds rows, or a person."""
    if orchestration.connection is not None:  # a store in memory
        return orchestration.runtime
    orchestration.app.finalize()
    settings = orchestration.settings
    connection = open_connection(
        settings.redis_url, patience_s=_PATIENCE_S, connect_s=min(settings.connect_timeout_ms / 1000, _PATIENCE_S),
        name="orchestration-outbox",
    )  # fmt: skip
    return Runtime(orchestration.app, settings, orchestration.registry, connection)


class _Prompt:
    """An application as a client takes it, whose store is given up soon."""

    def __init__(self, process: _Process) -> None:
        self.app = process.orchestration.app
        self.settings = process.orchestration.settings
        self.runtime = process.runtime


def prompt_client(namespace: str | None = None) -> Client:
    """A client for pages: while the store is away they say so after two seconds.

    Args:
        namespace: Of the workflows to be found; None: the application's.
    """
    prompt: Any = _Prompt(_this_process(project_orchestration()))
    return Client(prompt, namespace=namespace)


def prompt_runtime() -> Runtime:
    """What such clients work with."""
    return _this_process(project_orchestration()).runtime


def want(using: str, namespace: str, workflow_id: str) -> None:
    """Note that a transaction has something for a workflow; :func:`send_soon` is called when it has committed."""
    wanted = _wanted(using)
    if len(wanted) >= _MOST_WANTED:  # of transactions that were rolled back; whatever is dropped, workers send
        wanted.clear()
    wanted[namespace, workflow_id] = None


def send_soon(using: str, namespace: str, workflow_id: str) -> None:
    """Send what this process has just committed, if that goes at once; else a worker does it.

    Called for each entry of a transaction; the first call sends those of all. A failure is no error of the request:
    the entry is kept. While the store is away, nothing is tried for five seconds, so that requests do not wait for it
    one after the other.
    """
    fault("after_outbox_commit")
    wanted = _wanted(using)
    if (namespace, workflow_id) not in wanted:
        return
    names = list(wanted)
    wanted.clear()
    orchestration = project_orchestration()
    settings = orchestration.django if isinstance(orchestration, DjangoOrchestration) else DjangoSettings()
    if not settings.outbox_immediate:
        return
    process = _this_process(orchestration)
    if time.monotonic() < process.quiet_until:
        return
    try:
        done = _send_these(process.runtime, using, settings, names)
    except (DatabaseError, OrchestrationError) as error:
        process.quiet_until = time.monotonic() + _QUIET_S
        logger.warning("the outbox is left to the workers: %s", error, extra={"database": using})
        return
    if done.away is not None:
        process.quiet_until = time.monotonic() + _QUIET_S
        logger.warning("the outbox is left to the workers: %s", done.away, extra={"database": using})


def _send_these(runtime: Runtime, using: str, settings: DjangoSettings, names: list[tuple[str, str]]) -> Pass:
    """Several passes, for two seconds at most: behind them waits whoever made the request."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        done = send_due(runtime, using, settings, only=names)
        if done.away is not None or not (done.is_full and done.sent) or time.monotonic() > end:
            return done


def _wanted(using: str) -> dict[tuple[str, str], None]:
    found: dict[tuple[str, str], None] = connections[using].__dict__.setdefault("_orchestration_wanted", {})
    return found


def _this_process(orchestration: Orchestration) -> _Process:
    global _process
    with _lock:
        if _process is None or _process.pid != os.getpid() or _process.orchestration is not orchestration:
            _process = _Process(orchestration)
        return _process
