"""Runs as they are read: records, histories, bundles, lists."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from orchestration.errors import CorruptHistoryError, WorkflowNotFoundError
from orchestration.store.base import Aggregate, scored, text
from orchestration.store.connection import Subscription
from orchestration.store.offload.stages import StageError
from orchestration.store.results import RunRecord
from orchestration.types import RunId

__all__ = ["RunReads"]

logger = logging.getLogger(__name__)

_PAGE_EVENTS = 2_000
_SHOWN = frozenset((b"places", b"parked", b"paused"))


class RunReads(Aggregate):
    """The reading verbs of runs; :class:`orchestration.store.runs.Runs` adds the writing ones."""

    def current(self, workflow_id: str) -> RunId:
        """Id of the latest run of a workflow.

        Raises:
            WorkflowNotFoundError: None is known.
        """
        keys = self._keyspace.of_workflow(workflow_id)
        run_id = self._connection.call("HGET", keys.workflow(workflow_id), "run")
        if run_id is None:
            raise WorkflowNotFoundError(
                f"no workflow with the id {workflow_id!r} is known, now or within the retention period"
            )
        return RunId(text(run_id))

    def of_tasks(self, task_ids: Sequence[str]) -> dict[str, RunRecord]:
        """The latest runs that Celery tasks of these ids stand for; tasks that are none of ours are left out."""
        asked = [(task, self._keyspace.of_workflow(task).workflow(task)) for task in task_ids]
        replies = self._connection.pipeline([["HGET", key, "run"] for _, key in asked]) if asked else []
        runs = [text(run) if run is not None else task for (task, _), run in zip(asked, replies, strict=True)]
        known = [RunId(run) for run in runs if self._keyspace.may_be_run(run)]
        found = {record.run_id: record for record in self.records(known)}
        return {
            task: found[RunId(run)]
            for task, run in zip(task_ids, runs, strict=True)
            if RunId(run) in found and found[RunId(run)].task_id == task
        }

    def known_id(self, run_id: RunId) -> RunId:
        """The same id, if it can be one of this store.

        Raises:
            WorkflowNotFoundError: It cannot.
        """
        try:
            self._keyspace.of_run(run_id)
        except ValueError:
            raise WorkflowNotFoundError(f"no run {run_id!r} is known, now or within the retention period") from None
        return run_id

    def record(self, run_id: RunId, *, extra: bool = False) -> RunRecord:
        """Where a run stands.

        Args:
            run_id: The run.
            extra: Read the larger facts too.

        Raises:
            WorkflowNotFoundError: No such run.
        """
        records = self.records([run_id], extra=extra)
        if not records:
            raise WorkflowNotFoundError(f"no run {run_id!r} is known, now or within the retention period")
        return records[0]

    def records(self, run_ids: Sequence[RunId], *, extra: bool = False) -> list[RunRecord]:
        """Where several runs stand; unknown ones are left out."""
        commands: list[list[Any]] = []
        for run_id in run_ids:
            keys = self._keyspace.of_run(run_id)
            commands.append(["HGETALL", keys.record(run_id)])
            commands.append(["LLEN", keys.inbox(run_id)])
            if extra:
                commands.append(["HGETALL", keys.extra(run_id)])
        step = 3 if extra else 2
        replies = self._connection.pipeline(commands) if commands else []
        found = []
        for index, run_id in enumerate(run_ids):
            fields = _mapping(replies[index * step])
            if not fields:
                continue
            more = _mapping(replies[index * step + 2]) if extra else {}
            found.append(
                RunRecord(
                    run_id,
                    {name: text(value) for name, value in fields.items()},
                    more,
                    int(replies[index * step + 1]),
                )
            )
        return found

    def shown(self, run_ids: Sequence[RunId]) -> list[RunRecord]:
        """Where several runs stand, as a list of runs shows it; unknown ones are left out.

        Of the larger facts only places, the reason of a parked run and search attributes are read.
        """
        records = self.records(run_ids)
        keys = [self._keyspace.of_run(record.run_id).extra(record.run_id) for record in records]
        fields = self._connection.pipeline([["HKEYS", key] for key in keys]) if keys else []
        wanted = [[n for n in names if n in _SHOWN or n.startswith(b"search:")] for names in fields]
        commands = [["HMGET", key, b"places", *names] for key, names in zip(keys, wanted, strict=True)]
        for record, names, values in zip(
            records, wanted, self._connection.pipeline(commands) if keys else [], strict=True
        ):
            record.extra.update({text(n): v for n, v in zip(names, values[1:], strict=True) if v is not None})
        return records

    def has_had(self, run_id: RunId, request_id: str) -> bool:
        """Whether a run was delivered the input of this request, as far as requests are remembered."""
        return bool(self._connection.call("EXISTS", self._keyspace.of_run(run_id).request(request_id)))

    def open_commands(self, run_id: RunId) -> dict[str, bytes]:
        """The commands of a run that wait for something, as stored.

        One that is offloaded and cannot be read is no command that any reader knows: it is shown to nobody.
        """
        found = _mapping(self._connection.call("HGETALL", self._keyspace.of_run(run_id).open(run_id)))
        for name, value in found.items():
            try:
                found[name] = self._claims.whole(value, run_id, f"activity {name}")
            except (CorruptHistoryError, StageError) as error:
                logger.warning("%s", error)
        return found

    def open_names(self, run_id: RunId) -> list[str]:
        """Numbers of the commands that wait for something, and what else is kept of each, such as ``7:s``."""
        return [text(name) for name in self._connection.call("HKEYS", self._keyspace.of_run(run_id).open(run_id))]

    def unread(self, run_id: RunId) -> list[bytes]:
        """The inputs that a run has not consumed, oldest first, without their time.

        Raises:
            CorruptHistoryError: One is offloaded, and cannot be read.
        """
        items: list[bytes] = self._connection.call("LRANGE", self._keyspace.of_run(run_id).inbox(run_id), 0, -1)
        return [self._claims.whole(item, run_id, f"unread input {number}") for number, item in enumerate(items, 1)]

    def history(self, run_id: RunId, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The events of a run, encoded, oldest first, read page by page.

        Args:
            run_id: The run.
            start: Number of events to leave out at the beginning.
            stop: Number of the last event wanted; None for all.

        Raises:
            CorruptHistoryError: One is offloaded, and cannot be read.
        """
        key = self._keyspace.of_run(run_id).history(run_id)
        while stop is None or start < stop:
            last = start + _PAGE_EVENTS if stop is None else min(start + _PAGE_EVENTS, stop)
            page = self._connection.call("LRANGE", key, start, last - 1)
            yield from self._claims.wholes(page, run_id, first=start + 1)
            if len(page) < last - start:
                return
            start = last

    def last_event(self, run_id: RunId) -> bytes | None:
        """The last event of a run, encoded; None when there is none yet.

        Raises:
            CorruptHistoryError: It is offloaded, and cannot be read.
        """
        event: bytes | None = self._connection.call("LINDEX", self._keyspace.of_run(run_id).history(run_id), -1)
        return event if event is None else self._claims.whole(event, run_id, "the last event")

    def digest(self, run_id: RunId) -> str:
        """Digest of the code that a run is on; empty for an unknown run."""
        digest = self._connection.call("HGET", self._keyspace.of_run(run_id).record(run_id), "bundle")
        return text(digest or "")

    def bundle(self, run_id: RunId, digest: str) -> bytes | None:
        """A code bundle as stored beside a run; None when it is missing."""
        code: bytes | None = self._connection.call("GET", self._keyspace.of_run(run_id).bundle(digest))
        return code

    def listing(self, *, closed: bool, limit: int, before_ms: int | None = None) -> list[tuple[RunId, int]]:
        """Ids of open or of ended runs, the latest first.

        Args:
            closed: Ended runs by closing time, else open runs by start time.
            limit: Most ids returned.
            before_ms: Only those before this time; None for all.
        """
        top = "+inf" if before_ms is None else f"({before_ms}"
        span = (top, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit, "WITHSCORES")
        commands = [["ZRANGE", k.closed_runs if closed else k.open_runs, *span] for k in self._keyspace.all]
        found: list[tuple[RunId, int]] = []
        for page in self._connection.pipeline(commands):
            found.extend((RunId(member), int(score)) for member, score in scored(page))
        found.sort(key=lambda pair: (-pair[1], pair[0]))
        return found[:limit]

    def pages(self, which: str, *, size: int = 200) -> Iterator[list[RunId]]:
        """Ids of all runs of a kind, page by page, however many there are; runs may come and go meanwhile.

        Args:
            which: ``open``, ``parked`` or ``closed``.
            size: Most ids of a page.
        """
        for keys in self._keyspace.all:
            key = {"open": keys.open_runs, "parked": keys.parked_runs, "closed": keys.closed_runs}[which]
            start, seen = "-inf", frozenset[RunId]()  # those at the score where the next page begins
            while True:
                limit = size + len(seen)
                span = (start, "+inf", "BYSCORE", "LIMIT", 0, limit, "WITHSCORES")
                page = scored(self._connection.call("ZRANGE", key, *span))
                found = [(RunId(member), int(score)) for member, score in page]
                fresh = [run_id for run_id, _ in found if run_id not in seen]
                if fresh:
                    yield fresh
                if len(found) < limit:
                    break
                last = found[-1][1]
                seen = frozenset(run_id for run_id, score in found if score == last)
                start = str(last)

    def parked_kinds(self) -> dict[str, int]:
        """Number of parked runs by the kind of what keeps them, such as ``limit``."""
        kinds: dict[str, int] = {}
        for page in self.pages("parked"):
            commands = [["HGET", self._keyspace.of_run(run_id).record(run_id), "parked"] for run_id in page]
            for kind in self._connection.pipeline(commands):
                if kind is not None:
                    kinds[text(kind)] = kinds.get(text(kind), 0) + 1
        return kinds

    def counts(self) -> dict[str, int]:
        """Number of open, parked and kept ended runs."""
        names = ("open", "parked", "closed")
        commands = [["ZCARD", key] for k in self._keyspace.all for key in (k.open_runs, k.parked_runs, k.closed_runs)]
        replies = self._connection.pipeline(commands)
        return {name: sum(int(n) for n in replies[index::3]) for index, name in enumerate(names)}

    def subscribe_end(self, run_id: RunId) -> Subscription:
        """Listen for the end of a run."""
        return self._connection.subscribe(self._keyspace.of_run(run_id).done_channel(run_id))


def _mapping(reply: Any) -> dict[str, bytes]:
    """A hash as a reply of either protocol version."""
    if isinstance(reply, dict):
        return {text(name): value for name, value in reply.items()}
    return {text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
