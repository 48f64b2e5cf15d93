"""Assertions on what a run did, read from its history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, Self

from orchestration.core import events, payload
from orchestration.core.durations import format_duration
from orchestration.core.events import Event
from orchestration.testing.clock import milliseconds

if TYPE_CHECKING:
    from orchestration.client import WorkflowHandle
    from orchestration.testing.histories import RecordedHistory

__all__ = ["CalledActivity", "HistoryAssertions", "assert_history"]

_ANY: Any = object()
_ENDS = (events.Complete, events.Fail, events.ContinueAsNew, events.Terminated, events.TimedOut)
_LONGEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledActivity:
    """One call of an activity.

    Attributes:
        target: Entry id that was called.
        args: Its arguments.
        status: pending, completed, failed or cancelled.
        result: What it answered, if it completed.
        failure: message, kind and so on, if it failed.
        attempts: The attempt that answered; 0 when not known.
    """

    target: str
    args: list[Any]
    status: str
    result: Any = None
    failure: dict[str, Any] | None = None
    attempts: int = 0


def assert_history(run: WorkflowHandle | RecordedHistory | Iterable[Event | bytes]) -> HistoryAssertions:
    """Begin to assert what a run did; each assertion returns the same object, so that they can be chained.

    Args:
        run: A handle (of an environment or of a real deployment), a recorded history, or events.
    """
    from orchestration.testing.histories import RecordedHistory

    if isinstance(run, RecordedHistory):
        found: Iterable[Event | bytes] = run.events
    else:
        found = run.history() if hasattr(run, "history") else run
    return HistoryAssertions([events.decode(event) if isinstance(event, bytes) else event for event in found])


class HistoryAssertions:
    """What a run did, to be asserted. Each method returns this object, and raises AssertionError with the whole story.

    Args:
        history: Decoded events, oldest first.
    """

    def __init__(self, history: Sequence[Event]) -> None:
        self.events = list(history)

    @property
    def activities(self) -> list[CalledActivity]:
        """All calls of activities, in the order in which they were asked for."""
        return [self._call(event) for event in self.events if isinstance(event, events.ScheduleActivity)]

    def has_activity(
        self, target: str, *, args: Sequence[Any] = _ANY, times: int | None = None, result: Any = _ANY,
        status: str | None = None,
    ) -> Self:  # fmt: skip
        """It called an activity.

        Args:
            target: Entry id.
            args: With exactly these arguments.
            times: This often, given the other conditions; None: at least once.
            result: It answered this.
            status: pending, completed, failed or cancelled.
        """
        wanted = [
            call
            for call in self.activities
            if call.target == target
            and (args is _ANY or call.args == list(args))
            and (result is _ANY or (call.status == "completed" and call.result == result))
            and status in (None, call.status)
        ]
        if len(wanted) != times if times is not None else not wanted:
            conditions = [f"args={list(args)!r}"] if args is not _ANY else []
            conditions += [f"result={result!r}"] if result is not _ANY else []
            conditions += [f"status={status!r}"] if status else []
            asked = f"{times} times" if times is not None else "at least once"
            what = f"{target} called {asked}" + (f" with {', '.join(conditions)}" if conditions else "")
            self._fail(f"{what}, it was {len(wanted)} times")
        return self

    def has_no_activity(self, target: str | None = None) -> Self:
        """It never called an activity; None: it called none at all."""
        called = [call.target for call in self.activities if target in (None, call.target)]
        if called:
            self._fail(f"no call of {target or 'any activity'}, there are {len(called)}")
        return self

    def has_order(self, *targets: str) -> Self:
        """It called these activities in this order; others may come between them."""
        calls = iter(call.target for call in self.activities)
        for target in targets:
            if target not in calls:  # consumes up to the one that is found
                self._fail(f"activities in the order {', '.join(targets)}; {target} does not come in its place")
        return self

    def slept(self, duration: timedelta | str, *, times: int | None = None) -> Self:
        """It waited for a timer of this length, by ``time.sleep`` or otherwise, and the timer fired.

        Args:
            duration: A timedelta, or text such as ``"24h"``.
            times: This often; None: at least once.
        """
        delay_ms = milliseconds(duration)
        fired = {event.seq for event in self.events if isinstance(event, events.TimerFired)}
        found = [timer for timer in self._timers() if timer.delay_ms == delay_ms and timer.seq in fired]
        if len(found) != times if times is not None else not found:
            lengths = ", ".join(format_duration(timer.delay_ms) for timer in self._timers()) or "none"
            asked = f"{times} times" if times is not None else "at least once"
            self._fail(f"a timer of {format_duration(delay_ms)} fired {asked}; its timers: {lengths}")
        return self

    def has_timer(self, duration: timedelta | str) -> Self:
        """It started a timer of this length, whatever became of it."""
        delay_ms = milliseconds(duration)
        if all(timer.delay_ms != delay_ms for timer in self._timers()):
            self._fail(f"a timer of {format_duration(delay_ms)}")
        return self

    def got_signal(self, topic: str, *payloads: Any) -> Self:
        """It consumed a signal of this topic; with payloads: with exactly these."""
        signals = [event for event in self.events if isinstance(event, events.Signal)]
        found = [payload.decode(signal.args) for signal in signals if signal.topic == topic]
        if not found or (payloads and list(payloads) not in found):
            self._fail(f"a signal {topic!r}" + (f" with {list(payloads)!r}" if payloads else ""))
        return self

    def sent_signal(self, topic: str, *payloads: Any, to: str | None = None) -> Self:
        """It sent a signal of this topic.

        Args:
            topic: Of the signal.
            payloads: Exactly these; none: any.
            to: PID of the receiver; None: anybody.
        """
        found = [
            payload.decode(event.args)
            for event in self.events
            if isinstance(event, events.SendSignal) and event.topic == topic and to in (None, event.pid)
        ]
        if not found or (payloads and list(payloads) not in found):
            self._fail(f"a signal {topic!r} sent to {to or 'anybody'}" + (f": {list(payloads)!r}" if payloads else ""))
        return self

    def started_child(self, workflow_type: str, *, args: Sequence[Any] = _ANY, times: int | None = None) -> Self:
        """It asked for a child workflow.

        Args:
            workflow_type: As the code names it.
            args: With exactly these arguments.
            times: This often; None: at least once.
        """
        found = [
            event
            for event in self.events
            if isinstance(event, events.StartChild)
            and event.type == workflow_type
            and (args is _ANY or payload.decode(event.args) == list(args))
        ]
        if len(found) != times if times is not None else not found:
            self._fail(f"child workflows {workflow_type}: {times or 'at least one'}, there are {len(found)}")
        return self

    def got_cancel(self, reason: str | None = None) -> Self:
        """It was asked to end."""
        found = [event.reason for event in self.events if isinstance(event, events.CancelRequested)]
        if not found or reason not in (None, *found):
            self._fail("a cancel request" + (f" for {reason!r}" if reason is not None else ""))
        return self

    def completed(self, result: Any = _ANY) -> Self:
        """It ended with a result; with an argument: with this one."""
        end = self._end(events.Complete, "an end with a result")
        if result is not _ANY and payload.decode(end.result) != result:
            self._fail(f"the result {result!r}, it is {payload.decode(end.result)!r}")
        return self

    def failed(self, *, kind: str | None = None, message: str | None = None) -> Self:
        """It ended with an error.

        Args:
            kind: Of this kind.
            message: The error's text has this in it.
        """
        failure = payload.decode_failure(self._end(events.Fail, "an end with an error").failure)
        if kind not in (None, failure.get("kind")) or (message is not None and message not in failure["message"]):
            wanted = [f"kind {kind!r}"] if kind is not None else []
            wanted += [f"{message!r} in its text"] if message is not None else []
            self._fail(f"an error with {' and '.join(wanted)}, it is {failure}")
        return self

    def cancelled(self) -> Self:
        """It ended because it was asked to."""
        failure = payload.decode_failure(self._end(events.Fail, "an end as cancelled").failure)
        if failure.get("kind") != "Canceled":
            self._fail(f"an end as cancelled, it failed: {failure}")
        return self

    def continued_as_new(self) -> Self:
        """It ended, and another run took its place."""
        self._end(events.ContinueAsNew, "an end that continues as a new run")
        return self

    def terminated(self) -> Self:
        """It was ended from outside."""
        self._end(events.Terminated, "an end from outside")
        return self

    def timed_out(self) -> Self:
        """Its time was over."""
        self._end(events.TimedOut, "an end by a timeout")
        return self

    def is_open(self) -> Self:
        """It has not ended."""
        if self.events and isinstance(self.events[-1], _ENDS):
            self._fail("a run that goes on")
        return self

    def story(self) -> str:
        """The history as text, one line an event."""
        return "\n".join(f"  {number:>3}  {_told(event)}" for number, event in enumerate(self.events, 1))

    def _fail(self, expected: str) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError(f"expected {expected}; the history is\n{self.story() or '  empty'}")

    def _end(self, kind: type[Any], what: str) -> Any:
        last = self.events[-1] if self.events else None
        if not isinstance(last, kind):
            self._fail(what)
        return last

    def _timers(self) -> list[events.StartTimer]:
        return [event for event in self.events if isinstance(event, events.StartTimer)]

    def _call(self, asked: events.ScheduleActivity) -> CalledActivity:
        call: dict[str, Any] = {"target": asked.target, "args": payload.decode(asked.args)}
        for event in self.events:
            match event:
                case events.ActivityCompleted(seq=asked.seq):
                    attempts = int((event.info or {}).get("attempt") or 0)
                    result = payload.decode(event.result)
                    return CalledActivity(**call, status="completed", result=result, attempts=attempts)
                case events.ActivityFailed(seq=asked.seq):
                    attempts = int((event.info or {}).get("attempt") or 0)
                    failure = payload.decode_failure(event.failure)
                    return CalledActivity(**call, status="failed", failure=failure, attempts=attempts)
                case events.CancelActivity(activity_seq=asked.seq):
                    return CalledActivity(**call, status="cancelled")
        return CalledActivity(**call, status="pending")


def _told(event: Event) -> str:
    """An event in a line, what it carries included; commands are set in."""
    data = events.encode(event)
    text = events.describe(data)
    for name in ("args", "result", "value", "failure"):
        carried = getattr(event, name, None)
        if isinstance(carried, bytes):
            value = payload.decode_failure(carried) if name == "failure" else payload.decode(carried)
            shown = repr(value)
            text += f": {shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + '...'}"
    return f"  {text}" if events.is_command(data) else text
