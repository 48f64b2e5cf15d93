"""Runs as the audit sees them: everything that could move one, read at one moment; and what was lost, put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestration.errors import StoreError
from orchestration.store.attempts import AttemptState, read_state
from orchestration.store.base import Aggregate, pack_for_script, text
from orchestration.store.keys import ShardKeys
from orchestration.store.results import Delivery
from orchestration.store.scripts import Script, load_script
from orchestration.types import RunId

__all__ = ["Audits", "Backlog", "Mend", "OpenEntry", "Snapshot"]

_HEADS = 500
_MOST = 1_000
_MOST_TRIES = 5
_ALL = 1_000_000
_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEntry:
    """A command of a run that waits, and what is there to answer it.

    Attributes:
        seq: Its number.
        kind: ``activity``, ``timer``, ``request`` (to another run), ``child`` or ``unknown``.
        content: Of a child, what becomes of it when its parent ends, as an outbox entry; empty if nothing does.
        state: Of an activity, where its attempt stands.
        packed: The same, as stored.
        source_ms: Time of what moves it: when a timer or deadline is due, when an attempt was sent; None: nothing.
        outbox: Id of the outbox entry that is about it; empty: there is none.
        outbox_ms: When the sweep takes the entry up; None: never.
        surplus: Of an activity, what else would move it, which belongs to another state: ``pending``, ``/close`` or
            ``/retry``.
    """

    seq: int
    kind: str
    content: bytes = b""
    state: AttemptState | None = None
    packed: bytes = b""
    source_ms: int | None = None
    outbox: str = ""
    outbox_ms: int | None = None
    surplus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run at one moment.

    Attributes:
        run_id: The run.
        time_ms: Redis' time then.
        fields: Its record.
        unread: Number of inputs that it has not consumed.
        heads: Beginnings of them, the first hundreds.
        ready_ms: When the sweep looks after the run; None: it does not.
        is_listed_parked: It is on the list of parked runs.
        is_listed: It is on the list of open runs.
        delay_ms: When its delay is over, as the timers say; None: they say nothing.
        deadline_ms: When its workflow is ended, likewise.
        timeout_ms: When it is ended itself, likewise.
        expiry_ms: When it ends if it has not begun, likewise.
        commands: What is open.
    """

    run_id: RunId
    time_ms: int
    fields: Mapping[str, str]
    unread: int
    heads: tuple[bytes, ...] = ()
    ready_ms: int | None = None
    is_listed_parked: bool = False
    is_listed: bool = True
    delay_ms: int | None = None
    deadline_ms: int | None = None
    timeout_ms: int | None = None
    expiry_ms: int | None = None
    commands: tuple[OpenEntry, ...] = ()

    def number(self, name: str) -> int:
        """A field of the record as a whole number, 0 when it is absent."""
        return int(self.fields.get(name) or 0)

    @property
    def is_held(self) -> bool:
        """Whether a live holder is at a step of it."""
        return bool(self.fields.get("owner")) and self.number("until") > self.time_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits in a shard for longer than it should.

    Attributes:
        entries: Outbox entries.
        entries_late: Of them, those that should have been taken up.
        unmarked: Of them, ids of those that nobody will take up, the first ones.
        runs_late: Runs with something to read that should have been looked after.
        timers_late: Timers and deadlines that should have fired.
        attempts_late: Attempts that were sent long ago, and claimed by nobody.
    """

    entries: int = 0
    entries_late: int = 0
    unmarked: tuple[str, ...] = ()
    runs_late: int = 0
    timers_late: int = 0
    attempts_late: int = 0


@dataclass(frozen=True, slots=True)
class Mend:
    """What a mended run is given back.

    Attributes:
        ops: As ``redis_lua/mend_run.lua`` names them.
        code: Its bundle, if that is missing.
    """

    ops: Sequence[Sequence[Any]]
    code: bytes = field(default=b"")


class Audits(Aggregate):
    """The verbs of the audit."""

    def inspect(self, run_ids: Sequence[RunId]) -> list[Snapshot]:
        """Read several runs, each at one moment; those that have ended are left out."""
        orders = [self._order(run_id, 0, _MOST) for run_id in run_ids]
        found = []
        for run_id, reply in zip(run_ids, self._connection.run_many(orders) if orders else [], strict=True):
            if isinstance(reply, Exception):
                raise StoreError(f"run {run_id} cannot be inspected: {reply}") from reply
            seen = self._whole(run_id, reply)
            if seen is not None:
                found.append(seen)
        return found

    def _order(self, run_id: RunId, after: int, most: int) -> tuple[Script, list[str], list[Any]]:
        keys = self._keyspace.of_run(run_id)
        named = [
            keys.record(run_id), keys.inbox(run_id), keys.open(run_id), keys.timers, keys.ready, keys.pending,
            keys.parked_runs, keys.outbox, keys.outbox_due, keys.open_runs,
        ]  # fmt: skip
        return load_script("inspect_run"), named, [run_id, _HEADS, after, most]

    def _whole(self, run_id: RunId, first: list[Any]) -> Snapshot | None:
        """A run of whose open commands the first page has been read; None when it has ended.

        Thousands of them in one script would hold Redis up. So they are read in pages, and again from the beginning
        when the run has changed in between; one that never stands still is read in one.
        """
        reply = first
        for tries in range(_MOST_TRIES + 1):
            if tries:
                script, keys, args = self._order(run_id, 0, _MOST if tries < _MOST_TRIES else _ALL)
                reply = self._connection.run(script, keys, args)
            if text(reply[0]) != "open":
                return None
            seen, more = _snapshot(run_id, reply), reply[7]
            commands = list(seen.commands)
            while more != b"":
                script, keys, args = self._order(run_id, int(more), _MOST)
                reply = self._connection.run(script, keys, args)
                if text(reply[0]) != "open":
                    return None
                page, more = _snapshot(run_id, reply), reply[7]
                if (page.fields["fence"], page.unread) != (seen.fields["fence"], seen.unread):
                    break
                commands += page.commands
            else:
                return replace(seen, commands=tuple(commands))
        raise AssertionError("the last try reads all at once")

    def mend(self, seen: Snapshot, mend: Mend) -> Delivery:
        """Put back what should move a run, if nothing has changed it since it was inspected.

        Args:
            seen: The run as it was inspected.
            mend: What it is given back.

        Returns:
            ``mended`` (also when it was), ``moved`` (look again) or ``closed`` with its status.
        """
        run_id = seen.run_id
        keys = self._keyspace.of_run(run_id)
        named = [
            keys.record(run_id), keys.inbox(run_id), keys.open(run_id), keys.timers, keys.ready, keys.pending,
            keys.parked_runs, keys.outbox, keys.outbox_due, keys.bundle(seen.fields.get("bundle", "")), keys.open_runs,
        ]  # fmt: skip
        packed = pack_for_script(list(mend.ops))
        reply = self._run("mend_run", named, run_id, seen.number("fence"), seen.unread, packed, mend.code)
        return self._delivery(run_id, reply)

    def missing_bundles(self, shard_of: RunId, digests: Sequence[str]) -> set[str]:
        """Which of these bundles are not stored in the shard of a run."""
        keys = self._keyspace.of_run(shard_of)
        replies = self._connection.pipeline([["EXISTS", keys.bundle(digest)] for digest in digests]) if digests else []
        return {digest for digest, is_there in zip(digests, replies, strict=True) if not int(is_there)}

    def lost_bundles(self) -> dict[str, int]:
        """Bundles that open runs are on and that are not stored, with the number of those runs."""
        lost: dict[str, int] = {}
        for keys in self._keyspace.all:
            counts = _pairs(self._connection.call("HGETALL", keys.bundles))
            digests = [text(digest) for digest in counts]
            replies = self._connection.pipeline([["EXISTS", keys.bundle(d)] for d in digests]) if digests else []
            for (digest, count), is_there in zip(counts.items(), replies, strict=True):
                if not int(is_there):
                    lost[text(digest)] = lost.get(text(digest), 0) + int(count)
        return lost

    def children(self, wanted: Sequence[tuple[str, RunId, int]]) -> list[bool]:
        """Whether the end of each of these children will be told to its parent: it is open, or is being told.

        Args:
            wanted: Workflow id of the child, run of the parent, number of the command.
        """
        current = self._connection.pipeline(
            [["HGET", self._keyspace.of_workflow(name).workflow(name), "run"] for name, _, _ in wanted]
        ) if wanted else []  # fmt: skip
        commands: list[list[Any]] = []
        asked: list[int] = []
        told = [False] * len(wanted)
        for at, (found, (_, parent, seq)) in enumerate(zip(current, wanted, strict=True)):
            if found is None:
                continue
            child = text(found)
            keys = self._keyspace.of_run(child)
            asked.append(at)
            commands += [
                ["HMGET", keys.record(child), "status", "parent"],
                ["HEXISTS", keys.extra(child), f"watch:{self._keyspace.namespace}/{parent}/{seq}"],
                ["HEXISTS", keys.outbox, f"c/{child}"],
            ]
        replies = self._connection.pipeline(commands) if commands else []
        for number, at in enumerate(asked):
            (status, parent_of), is_watched, is_ending = replies[number * 3 : number * 3 + 3]
            _, parent, seq = wanted[at]
            is_open = status is not None and text(status) in ("running", "parked", "paused")
            is_own = parent_of is not None and text(parent_of) == f"{parent}/{seq}"
            told[at] = (is_own or bool(int(is_watched))) and (is_open or bool(int(is_ending)))
        return told

    def queues(self, run_ids: Sequence[RunId]) -> list[str]:
        """Task queue of each of these runs; empty for Celery's default."""
        commands = [["HGET", self._keyspace.of_run(run_id).record(run_id), "queue"] for run_id in run_ids]
        return [text(found or "") for found in (self._connection.pipeline(commands) if commands else [])]

    def backlog(self, *, late_ms: int, unclaimed_ms: int) -> Backlog:
        """What waits for longer than it should, in all shards.

        Args:
            late_ms: How much later than its time something is late.
            unclaimed_ms: After which an unclaimed attempt counts.
        """
        now = self.now_ms()
        entries = entries_late = runs = timers = attempts = 0
        unmarked: list[str] = []
        for keys in self._keyspace.all:
            late = ["-inf", now - late_ms]
            stored, marked, *counts = self._connection.pipeline([
                ["HLEN", keys.outbox], ["ZCARD", keys.outbox_due], ["ZCOUNT", keys.outbox_due, *late],
                ["ZCOUNT", keys.ready, *late], ["ZCOUNT", keys.timers, *late],
                ["ZCOUNT", keys.pending, "-inf", now - unclaimed_ms],
            ])  # fmt: skip
            entries += int(stored)
            for at, count in enumerate(map(int, counts)):
                entries_late, runs, timers, attempts = (
                    entries_late + count * (at == 0), runs + count * (at == 1), timers + count * (at == 2),
                    attempts + count * (at == 3),
                )  # fmt: skip
            if int(stored) > int(marked) and len(unmarked) < _PAGE:
                unmarked += self._unmarked(keys)
        return Backlog(
            entries=entries, entries_late=entries_late, unmarked=tuple(unmarked), runs_late=runs, timers_late=timers,
            attempts_late=attempts,
        )  # fmt: skip

    def unmarked(self) -> list[str]:
        """Ids of outbox entries that nobody will take up, the first ones of each shard."""
        found: list[str] = []
        for keys in self._keyspace.all:
            stored, marked = self._connection.pipeline([["HLEN", keys.outbox], ["ZCARD", keys.outbox_due]])
            if int(stored) > int(marked):
                found += self._unmarked(keys)
        return found

    def mark(self, entry_id: str) -> None:
        """Have an outbox entry taken up; one that has been done meanwhile, or will be, is left alone."""
        keys = self._keyspace.of_run(entry_id.split("/")[1])
        self._run("mark_outbox", [keys.outbox, keys.outbox_due], entry_id)

    def unlisted(self) -> Iterator[list[RunId]]:
        """Open runs that are not on the list of open runs, page by page; found in the index of all runs."""
        for number, keys in enumerate(self._keyspace.all):
            last = b"[T"
            while page := self._connection.call("ZRANGEBYLEX", keys.index, last, b"(U", "LIMIT", 0, _PAGE):
                # The end of a run's entry is its id without the shard, which comes as two digits before it.
                ids = [f"{number:02x}{bytes(entry)[-15:].hex()}" for entry in page]
                # In this order: a run that ends between the two looks is seen in one of them.
                is_open, has_ended = self._connection.pipeline(
                    [["ZMSCORE", keys.open_runs, *ids], ["ZMSCORE", keys.closed_runs, *ids]]
                )
                scores = zip(ids, is_open, has_ended, strict=True)
                if lost := [RunId(run_id) for run_id, *found in scores if found == [None, None]]:
                    yield lost
                last = b"(" + bytes(page[-1])

    def now_ms(self) -> int:
        """Redis' time."""
        seconds, micros = self._connection.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def _unmarked(self, keys: ShardKeys) -> list[str]:
        found = []
        for page in self._fields(keys.outbox):
            scores = self._connection.pipeline([["ZSCORE", keys.outbox_due, name] for name in page])
            candidates = [name for name, score in zip(page, scores, strict=True) if score is None]
            # Between the two looks it may have been done.
            still = self._connection.pipeline([["HEXISTS", keys.outbox, name] for name in candidates])
            found += [text(name) for name, is_there in zip(candidates, still, strict=True) if int(is_there)]
            if len(found) >= _PAGE:
                break
        return found

    def _fields(self, key: str) -> Iterator[list[bytes]]:
        """Names of a hash's fields, page by page."""
        cursor: Any = 0
        while True:
            cursor, page = self._connection.call("HSCAN", key, cursor, "COUNT", _PAGE)
            names = list(page) if isinstance(page, dict) else list(page[::2])
            if names:
                yield names
            if int(cursor) == 0:
                return


def _snapshot(run_id: RunId, reply: Sequence[Any]) -> Snapshot:
    _, time_ms, fields, unread, heads, marks, commands, _ = reply
    ready, parked, listed, delay, deadline, timeout, expiry = map(_time, marks)
    return Snapshot(
        run_id=run_id, time_ms=int(time_ms), fields={text(k): text(v) for k, v in _pairs(fields).items()},
        unread=int(unread), heads=tuple(map(bytes, heads)), ready_ms=ready, is_listed_parked=parked is not None,
        is_listed=listed is not None, delay_ms=delay, deadline_ms=deadline, timeout_ms=timeout, expiry_ms=expiry,
        commands=tuple(sorted(map(_entry, commands), key=lambda entry: entry.seq)),
    )  # fmt: skip


_KINDS = {b"a": "activity", b"t": "timer", b"o": "request", b"c": "child"}


def _entry(reply: Sequence[Any]) -> OpenEntry:
    *told, surplus = reply
    seq, what, state, source, outbox, due = map(bytes, told)
    kind = _KINDS.get(what[:1], "unknown")
    return OpenEntry(
        seq=int(seq), kind=kind, content=what[1:], state=read_state(state) if state else None, packed=state,
        source_ms=_time(source), outbox=text(outbox), outbox_ms=_time(due), surplus=tuple(map(text, surplus)),
    )  # fmt: skip


def _time(score: bytes) -> int | None:
    return None if score == b"" else int(float(score))


def _pairs(reply: Any) -> dict[Any, Any]:
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
