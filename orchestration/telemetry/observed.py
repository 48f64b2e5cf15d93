"""What telemetry follows of a run: the commands that are open, from the events that steps write.

Replayed events are read to know what is open; spans and numbers come of events that have just been written, and of
these only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.errors import DecodeError
from orchestration.telemetry.harmless import harmless
from orchestration.telemetry.metrics import Metrics
from orchestration.telemetry.run_trace import RunTrace
from orchestration.telemetry.tracing import Tracing

__all__ = ["Observed"]

_FAILED: Final = {"failed": "error", "terminated": "terminated", "timed_out": "timeout", "cancelled": "cancelled"}


@dataclass(slots=True)
class _Part:
    """A part of a run that takes time.

    Attributes:
        what: ``activity``, ``timer``, ``child``, ``operation`` or ``update``.
        name: Of its span.
        key: Its number, or the id of an update.
        start_ms: When it was asked for.
        due_ms: Of a timer: when it should fire.
        attributes: Of its span.
        end_ms: When it ended.
        error: What it ended with; empty: well.
        outcome: How it ended.
    """

    what: str
    name: str
    key: object
    start_ms: int
    due_ms: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)
    end_ms: int = 0
    error: str = ""
    outcome: str = "completed"


class Observed:
    """One run, followed from step to step by the process that has its machine.

    Args:
        tracing: Makes spans; None: off.
        metrics: Counts; None: off.
        run: The run's trace; None: traces are off.
        namespace: Of the run.
        run_id: The run.
        workflow_id: Its workflow.
        workflow_type: Entry id of its code.
        queue: Its task queue; empty for Celery's default.
    """

    def __init__(
        self, tracing: Tracing | None, metrics: Metrics | None, run: RunTrace | None, *, namespace: str, run_id: str,
        workflow_id: str, workflow_type: str, queue: str,
    ) -> None:  # fmt: skip
        self._tracing = tracing
        self._metrics = metrics
        self._queue = queue
        self._open: dict[object, _Part] = {}
        self._time_ms = self._started_ms = 0
        self._length = self._replayed = 0
        self._error = ""
        self.run = run
        self.labels = (namespace, workflow_type)
        self._facts = {
            "orchestration.namespace": namespace, "orchestration.workflow.id": workflow_id,
            "orchestration.workflow.type": workflow_type, "orchestration.run.id": run_id,
        }  # fmt: skip

    @harmless
    def replayed(self, history: Iterable[bytes]) -> None:
        """Take in events that were written earlier; nothing is told of them."""
        for event in history:
            self._replayed += 1
            for _ in self._see(event):
                pass

    @harmless
    def committed(
        self, events: Sequence[bytes], *, number: int, begun_ms: float, seconds: float, consumed: int, dropped: int,
        ending: str,
    ) -> None:  # fmt: skip
        """Tell of a step that has been written.

        Args:
            events: What it wrote.
            number: The fence that it was written under, which no other step of the run has.
            begun_ms: When it began, by Redis' clock.
            seconds: How long it took.
            consumed: Inputs that it read.
            dropped: Of them, those whose command was closed.
            ending: Status that the run ended with; empty: it goes on.
        """
        is_first = not self._length
        ended = [part for event in events for part in self._see(event)]
        if self._metrics is not None:
            self._count(ended, seconds, consumed, dropped, is_first=is_first)
        if self._tracing is None or self.run is None:
            return
        for part in ended:
            self._emit(part)
        self._tracing.emit(
            self.run, "step", span_id=self.run.span("step", number), parent_id=self.run.root, start_ms=begun_ms,
            end_ms=begun_ms + seconds * 1000,
            attributes={
                **self._facts, "orchestration.step.events": len(events), "orchestration.step.inputs": consumed,
                "orchestration.step.replayed_events": self._replayed,
            },
        )  # fmt: skip
        self._replayed = 0
        if ending:
            self.close(ending)

    @harmless
    def close(self, status: str) -> None:
        """Make the span of the run, and of what was open when it ended."""
        if self._tracing is None or self.run is None:
            return
        for part in self._open.values():
            part.end_ms, part.outcome = self._time_ms, "abandoned"
            self._emit(part)
        self._open.clear()
        self._tracing.emit(
            self.run, f"workflow {self.labels[1]}", span_id=self.run.root, parent_id=self.run.parent_id,
            start_ms=self._started_ms, end_ms=self._time_ms, kind="consumer",
            attributes={
                **self._facts, "orchestration.status": status, "orchestration.history.length": self._length,
                "messaging.destination.name": self._queue or "(default)",
            },
            error=(self._error if status == "failed" else "") or _FAILED.get(status, ""),
        )  # fmt: skip

    def _count(
        self, ended: Sequence[_Part], seconds: float, consumed: int, dropped: int, *, is_first: bool
    ) -> None:
        metrics, labels = self._metrics, self.labels
        assert metrics is not None  # the caller looked
        if is_first:
            metrics.count("orchestration_runs_started_total", 1, labels)
        metrics.observe("orchestration_step_duration_seconds", seconds, labels)
        metrics.observe("orchestration_step_inputs", consumed, labels)
        if dropped:
            metrics.count("orchestration_duplicates_dropped_total", dropped, (labels[0], "step"))
        for part in ended:
            if part.what == "timer" and part.outcome == "completed":
                lateness = (part.end_ms - part.due_ms) / 1000
                metrics.observe("orchestration_timer_lateness_seconds", lateness, labels)

    def _emit(self, part: _Part) -> None:
        assert self._tracing is not None
        assert self.run is not None
        self._tracing.emit(
            self.run, part.name, span_id=self.run.span(part.what, part.key), parent_id=self.run.root,
            start_ms=part.start_ms, end_ms=part.end_ms, error=part.error,
            kind="producer" if part.what in ("activity", "child") else "internal",
            attributes={**self._facts, **part.attributes, "orchestration.outcome": part.outcome},
        )  # fmt: skip

    # Reading events ---------------------------------------------------------------------------------------------

    def _see(self, event: bytes) -> Iterator[_Part]:
        """Take in one event; the parts that it ends, or that begin and end with it."""
        self._length += 1
        code = event[1]
        if code not in _READ:
            if code < _FIRST_COMMAND:
                self._time_ms = int(msgpack.unpackb(event, raw=False, strict_map_key=False)[1])
            return
        _, *rest = msgpack.unpackb(event, raw=False, strict_map_key=False)
        if code < _FIRST_COMMAND:
            self._time_ms = int(rest.pop(0))
            yield from self._input(code, rest)
        else:
            yield from self._command(code, rest)

    def _input(self, code: int, rest: list[Any]) -> Iterator[_Part]:
        if code == Code.STARTED:
            self._started_ms = self._time_ms
        elif code in (Code.ACTIVITY_COMPLETED, Code.TIMER_FIRED):
            yield from self._end(rest[0])
        elif code in (Code.ACTIVITY_FAILED, Code.CHILD_START_FAILED):
            yield from self._end(rest[0], "failed", rest[1])
        elif code in (Code.CHILD_ENDED, Code.OPERATION_DONE):
            *_, ok, value = rest
            yield from self._end(rest[0]) if ok else self._end(rest[0], "failed", value)
        elif code == Code.SIGNAL:
            yield self._moment("signal", {"orchestration.signal.topic": rest[0]})
        elif code == Code.CANCEL_REQUESTED:
            yield self._moment("cancel request", {})
        elif code == Code.UPDATE:
            self._begin("update", f"update {rest[1]}", f"update {rest[0]}", {"orchestration.update.name": rest[1]})

    def _command(self, code: int, rest: list[Any]) -> Iterator[_Part]:
        if code == Code.SCHEDULE_ACTIVITY:
            facts = {"orchestration.activity.target": rest[1], "orchestration.activity.seq": rest[0]}
            self._begin("activity", f"activity {rest[1]}", rest[0], facts)
        elif code == Code.START_TIMER:
            facts = {"orchestration.timer.seq": rest[0], "orchestration.timer.delay_ms": rest[1]}
            self._begin("timer", "timer", rest[0], facts).due_ms = self._time_ms + int(rest[1])
        elif code == Code.START_CHILD:
            facts = {"orchestration.child.type": rest[1], "orchestration.child.seq": rest[0]}
            self._begin("child", f"child {rest[1]}", rest[0], facts)
        elif code in (Code.SEND_SIGNAL, Code.CANCEL_EXTERNAL):
            name = "send signal" if code == Code.SEND_SIGNAL else "cancel"
            self._begin("operation", name, rest[0], {"orchestration.peer": rest[1]})
        elif code == Code.CANCEL_TIMER or (code == Code.CANCEL_ACTIVITY and rest[1:] != [True]):
            yield from self._end(rest[0], "cancelled")
        elif code == Code.UPDATE_DONE:
            yield from self._end(f"update {rest[0]}") if rest[1] else self._end(f"update {rest[0]}", "failed", rest[2])
        elif code == Code.FAIL:
            self._error = kind_of(rest[0])

    def _begin(self, what: str, name: str, key: object, attributes: dict[str, Any]) -> _Part:
        part = self._open[key] = _Part(what, name, key, self._time_ms, attributes=attributes)
        return part

    def _end(self, key: object, outcome: str = "completed", failure: bytes = b"") -> Iterator[_Part]:
        part = self._open.pop(key, None)
        if part is not None:
            part.end_ms, part.outcome = self._time_ms, outcome
            part.error = kind_of(failure) if outcome == "failed" else ""
            yield part

    def _moment(self, name: str, attributes: dict[str, Any]) -> _Part:
        return _Part("event", name, self._length, self._time_ms, attributes=attributes, end_ms=self._time_ms)


_FIRST_COMMAND: Final = int(Code.SCHEDULE_ACTIVITY)
_READ: Final = frozenset(
    (
        Code.STARTED, Code.ACTIVITY_COMPLETED, Code.ACTIVITY_FAILED, Code.TIMER_FIRED, Code.SIGNAL, Code.CHILD_ENDED,
        Code.CANCEL_REQUESTED, Code.CHILD_START_FAILED, Code.OPERATION_DONE, Code.UPDATE, Code.SCHEDULE_ACTIVITY,
        Code.START_TIMER, Code.CANCEL_TIMER, Code.CANCEL_ACTIVITY, Code.SEND_SIGNAL, Code.START_CHILD,
        Code.CANCEL_EXTERNAL, Code.UPDATE_DONE, Code.FAIL,
    )
)  # fmt: skip


def kind_of(failure: bytes) -> str:
    """Kind of a failure; its message may tell what nobody outside should read."""
    try:
        return str(payload.decode_failure(failure).get("kind") or "error")
    except (DecodeError, ValueError):
        return "error"
