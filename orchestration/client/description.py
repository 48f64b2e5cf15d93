"""Where a run stands, as people read it; made from the store alone, no worker needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from orchestration.core import payload
from orchestration.core.machine import Usage
from orchestration.settings import Settings
from orchestration.store.attempts import read_state
from orchestration.store.results import RunRecord
from orchestration.tasks.chain_options import ChainOptions
from orchestration.tasks.effects import read_activity
from orchestration.tasks.limits import near_limits

__all__ = ["Description", "PendingActivity", "Place", "describe_record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one coroutine of a workflow stands.

    Attributes:
        task: Number of the coroutine, 1 is the main one.
        file: Lua file.
        line: Line in it.
        function: Function there.
        waits_for: What it waits for, such as ``time.sleep 24h``.
        since_ms: Since when, in milliseconds since 1970.
    """

    task: int
    file: str
    line: int
    function: str
    waits_for: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingActivity:
    """An activity that has not ended.

    Attributes:
        seq: Number of the call in the run.
        target: Entry id that was called.
        attempt: The open attempt, counted from 1.
        state: scheduled (its message is on its way), claimed (a worker runs it), waiting (Celery's own retry), external
            (its body has ended, whoever has its token completes it) or backoff (until the next attempt).
        owner: Process that runs it.
        since_ms: When it got into this state; with ``backoff`` when the next attempt is due. 0 when not known.
        last_failure: What the attempt before failed with.
    """

    seq: int
    target: str
    attempt: int
    state: str
    owner: str
    since_ms: int
    last_failure: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Where a run stands.

    Attributes:
        workflow_id: The caller's name for it.
        run_id: This execution of it.
        type: Entry id of its code.
        status: running, paused, parked, completed, failed, cancelled, terminated, timed_out or continued_as_new.
        namespace: It is kept in.
        task_queue: It is served on; empty for Celery's default.
        bundle: SHA-256 of its code.
        started_ms: Milliseconds since 1970.
        closed_ms: The same, 0 while it is open.
        history_length: Number of events.
        history_bytes: Their size.
        unread: Inputs that it has not consumed.
        parked: Why it waits for an operator; empty when it does not.
        paused: Who has paused it and why; empty when nobody has, or neither is known.
        places: Where each of its coroutines stands; empty when it has ended.
        pending: Activities that have not ended.
        counters: Duplicates dropped, late reports refused, inputs undelivered: by reason.
        search: Search attributes.
        memo: Memo.
        reset_of: Run and event that this run went on from in another's place, joined by ``/``; empty for none.
        forked_from: The same for a fork.
        attempt: Number of the run since the last that was no retry.
        parent_run_id: Run that started it as its child; empty when none did.
        first_run_id: First run of the chain that this one belongs to; empty when it is the first.
        next_run_id: Run that took its place; empty when none did.
        starts_ms: When a delayed run begins, in milliseconds since 1970; 0 when it has begun.
        deadline_ms: When the workflow is ended; 0 for never.
        cron: Its schedule; empty: none.
        summary: A line for people.
        details: More for people.
        warnings: What is at four fifths of a limit or above: events, bytes, pending commands, unread inputs.
    """

    workflow_id: str
    run_id: str
    type: str
    status: str
    namespace: str
    task_queue: str
    bundle: str
    started_ms: int
    closed_ms: int
    history_length: int
    history_bytes: int
    unread: int
    parked: str = ""
    paused: str = ""
    places: tuple[Place, ...] = ()
    pending: tuple[PendingActivity, ...] = ()
    counters: dict[str, int]
    search: dict[str, Any]
    memo: dict[str, Any]
    reset_of: str = ""
    forked_from: str = ""
    attempt: int = 1
    parent_run_id: str = ""
    first_run_id: str = ""
    next_run_id: str = ""
    starts_ms: int = 0
    deadline_ms: int = 0
    cron: str = ""
    summary: str = ""
    details: str = ""
    warnings: tuple[str, ...] = ()


def describe_record(
    record: RunRecord, namespace: str, open_commands: dict[str, bytes] | None = None, *, settings: Settings
) -> Description:
    """Make a description of what the store says.

    Args:
        record: The run's record; with its larger facts, places and attributes are shown.
        namespace: It is kept in.
        open_commands: Its open commands, for the pending activities.
        settings: The limits, for the warnings.
    """
    waiting = sum(":" not in name for name in open_commands or ())
    usage = Usage(record.number("length"), record.number("bytes"), waiting)
    fields, extra = record.fields, record.extra
    is_open = record.status in ("running", "parked", "paused")
    places = payload.decode(extra["places"]) if is_open and "places" in extra else []
    kind = fields.get("parked", "")
    reason = extra.get("parked", b"").decode("utf-8", "replace")
    return Description(
        workflow_id=fields["id"],
        run_id=record.run_id,
        type=fields["type"],
        status=record.status,
        namespace=namespace,
        task_queue=fields.get("queue", ""),
        bundle=fields.get("bundle", ""),
        reset_of=fields.get("reset_of", ""),
        forked_from=fields.get("forked_from", ""),
        started_ms=record.number("started"),
        closed_ms=record.number("closed"),
        history_length=record.number("length"),
        history_bytes=record.number("bytes"),
        unread=record.unread,
        parked=f"{kind}: {reason}" if kind else "",
        paused=_paused(extra) if record.status == "paused" else "",
        places=tuple(
            Place(**dict(zip(Place.__dataclass_fields__, map(_text, place), strict=True))) for place in places
        ),
        pending=tuple(_pending(open_commands or {})),
        warnings=near_limits(settings, usage, record.unread) if is_open else (),
        counters={
            name: int(value)
            for name, value in fields.items()
            if name.startswith(("dropped:", "refused:")) or name == "undelivered"
        },
        search=_attributes(extra, "search:"),
        memo=_attributes(extra, "memo:"),
        attempt=record.number("attempt") or 1,
        parent_run_id=fields.get("parent", "").partition("/")[0],
        first_run_id=fields.get("first", ""),
        next_run_id=fields.get("next", ""),
        starts_ms=record.number("delayed") if record.status == "running" else 0,
        deadline_ms=record.number("deadline"),
        cron=ChainOptions(fields.get("opts", "")).cron,
        summary=str(payload.decode(extra["summary"])) if "summary" in extra else "",
        details=str(payload.decode(extra["details"])) if "details" in extra else "",
    )


def _paused(extra: dict[str, bytes]) -> str:
    by, note = msgpack.unpackb(extra["paused"], raw=False) if "paused" in extra else ("", "")
    return ": ".join(part for part in (by, note) if part)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _attributes(extra: dict[str, bytes], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): payload.decode(v) for name, v in extra.items() if name.startswith(prefix)}


def _pending(open_commands: dict[str, bytes]) -> list[PendingActivity]:
    found = []
    for name, blob in open_commands.items():
        activity = read_activity(blob) if ":" not in name else None
        if activity is None or f"{name}:s" not in open_commands:
            continue
        state = read_state(open_commands[f"{name}:s"])
        failure = open_commands.get(f"{name}:e")
        found.append(
            PendingActivity(
                seq=int(name),
                target=activity.target,
                attempt=state.attempt,
                state=state.state,
                owner=state.owner,
                since_ms=state.since_ms,
                last_failure=payload.decode_failure(failure) if failure else None,
            )
        )
    return sorted(found, key=lambda activity: activity.seq)
