"""What a history may contain: inputs (codes 1 to 63) and the commands they caused (codes 64 to 127).

An event is one msgpack array whose first element is its code, so the second byte of an event tells what it is and
nothing else needs decoding to sort events. Each input stands before exactly the commands that it caused. Commands
are written by the Lua machine; the classes here read them, and write the inputs.

Source: the split into inputs and commands follows Temporal's activations and commands (temporalio/sdk-core).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import msgpack

from orchestration.core import payload
from orchestration.errors import CorruptHistoryError, DecodeError

__all__ = [
    "ActivityCompleted",
    "ActivityFailed",
    "CancelActivity",
    "CancelExternal",
    "CancelRequested",
    "CancelTimer",
    "ChildEnded",
    "ChildStartFailed",
    "ChildStarted",
    "Code",
    "Complete",
    "ContinueAsNew",
    "Event",
    "Fail",
    "Loaded",
    "OperationDone",
    "Perform",
    "RecordVersion",
    "ScheduleActivity",
    "SendSignal",
    "SideEffect",
    "Signal",
    "StartChild",
    "StartTimer",
    "Started",
    "Terminated",
    "TimedOut",
    "TimerFired",
    "Update",
    "UpdateDone",
    "UpsertAttributes",
    "Watch",
    "WatchedEnded",
    "code_of",
    "decode",
    "describe",
    "encode",
    "fields_of",
    "is_closing",
    "is_command",
]


class Code(enum.IntEnum):
    """First element of an event."""

    STARTED = 1
    ACTIVITY_COMPLETED = 2
    ACTIVITY_FAILED = 3
    TIMER_FIRED = 4
    SIGNAL = 5
    CANCEL_REQUESTED = 6
    CHILD_STARTED = 7
    CHILD_START_FAILED = 8
    CHILD_ENDED = 9
    OPERATION_DONE = 10
    TERMINATED = 11
    TIMED_OUT = 12
    UPDATE = 13
    WATCHED_ENDED = 14
    SCHEDULE_ACTIVITY = 64
    START_TIMER = 65
    CANCEL_TIMER = 66
    CANCEL_ACTIVITY = 67
    SEND_SIGNAL = 68
    START_CHILD = 69
    RECORD_VERSION = 70
    COMPLETE = 71
    FAIL = 72
    CONTINUE_AS_NEW = 73
    UPSERT_ATTRIBUTES = 74
    CANCEL_EXTERNAL = 75
    UPDATE_DONE = 76
    SIDE_EFFECT = 77
    WATCH = 78
    PERFORM = 79
    LOADED = 80


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events; ``time_ms`` of inputs is the store's time, milliseconds since 1970."""

    CODE: ClassVar[Code]
    OPTIONAL: ClassVar[int] = 0
    """How many elements at the end may be absent."""


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The run begins. ``args`` is an encoded array; ``meta`` has the keys that the machine and the engine read."""

    CODE = Code.STARTED
    time_ms: int
    meta: dict[str, Any]
    args: bytes = payload.EMPTY_ARRAY


@dataclass(frozen=True, slots=True)
class ActivityCompleted(Event):
    """Activity ``seq`` has a result; ``info`` says by whom and at which attempt."""

    CODE = Code.ACTIVITY_COMPLETED
    OPTIONAL = 1
    time_ms: int
    seq: int
    result: bytes = payload.NIL
    info: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ActivityFailed(Event):
    """Activity ``seq`` has failed for good; ``info`` may hold ``activity_id`` and ``retry_state``."""

    CODE = Code.ACTIVITY_FAILED
    OPTIONAL = 1
    time_ms: int
    seq: int
    failure: bytes
    info: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TimerFired(Event):
    """Timer ``seq`` is due."""

    CODE = Code.TIMER_FIRED
    time_ms: int
    seq: int


@dataclass(frozen=True, slots=True)
class Signal(Event):
    """A message for the run; ``args`` is an encoded array of its payloads, ``from_pid`` empty when unknown."""

    CODE = Code.SIGNAL
    time_ms: int
    topic: str
    args: bytes = payload.EMPTY_ARRAY
    from_pid: str = ""


@dataclass(frozen=True, slots=True)
class CancelRequested(Event):
    """Somebody asks the run to end; its code decides."""

    CODE = Code.CANCEL_REQUESTED
    time_ms: int
    reason: str = ""
    from_pid: str = ""


@dataclass(frozen=True, slots=True)
class ChildStarted(Event):
    """The child asked for by command ``seq`` exists."""

    CODE = Code.CHILD_STARTED
    time_ms: int
    seq: int
    pid: str


@dataclass(frozen=True, slots=True)
class ChildStartFailed(Event):
    """The child asked for by command ``seq`` could not be started."""

    CODE = Code.CHILD_START_FAILED
    time_ms: int
    seq: int
    failure: bytes


@dataclass(frozen=True, slots=True)
class ChildEnded(Event):
    """The child of command ``seq`` has ended; ``value`` is its result, or its failure when not ``ok``."""

    CODE = Code.CHILD_ENDED
    time_ms: int
    seq: int
    pid: str
    ok: bool
    value: bytes = payload.NIL


@dataclass(frozen=True, slots=True)
class OperationDone(Event):
    """Command ``seq`` (signal to another run, cancel of one) was accepted, or refused when not ``ok``."""

    CODE = Code.OPERATION_DONE
    time_ms: int
    seq: int
    ok: bool
    value: bytes = payload.NIL


@dataclass(frozen=True, slots=True)
class Terminated(Event):
    """The run is over: somebody ended it. The code never sees this; it is the last event."""

    CODE = Code.TERMINATED
    time_ms: int
    reason: str
    from_pid: str = ""


@dataclass(frozen=True, slots=True)
class TimedOut(Event):
    """The run is over: its time was. The code never sees this; it is the last event."""

    CODE = Code.TIMED_OUT
    time_ms: int
    timeout_type: str


@dataclass(frozen=True, slots=True)
class Update(Event):
    """Somebody asks the run to change, and waits for the answer; ``args`` is an encoded array."""

    CODE = Code.UPDATE
    time_ms: int
    update_id: str
    name: str
    args: bytes = payload.EMPTY_ARRAY
    from_pid: str = ""


@dataclass(frozen=True, slots=True)
class WatchedEnded(Event):
    """What a process monitors (``how`` is "exit") or is linked to ("down") has ended. In no history."""

    CODE = Code.WATCHED_ENDED
    time_ms: int
    pid: str
    ok: bool
    value: bytes = payload.NIL
    how: str = "exit"


@dataclass(frozen=True, slots=True)
class ScheduleActivity(Event):
    """Run ``target`` with ``args``; ``options`` as ``lua/prelude/options.lua`` makes them."""

    CODE = Code.SCHEDULE_ACTIVITY
    seq: int
    target: str
    args: bytes
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StartTimer(Event):
    """Fire ``delay_ms`` after the time of the input that caused this."""

    CODE = Code.START_TIMER
    seq: int
    delay_ms: int


@dataclass(frozen=True, slots=True)
class CancelTimer(Event):
    """Forget timer ``timer_seq``."""

    CODE = Code.CANCEL_TIMER
    timer_seq: int


@dataclass(frozen=True, slots=True)
class CancelActivity(Event):
    """Ask activity ``activity_seq`` to stop; with ``wait`` its answer still counts, else it is over at once."""

    CODE = Code.CANCEL_ACTIVITY
    OPTIONAL = 1
    activity_seq: int
    wait: bool | None = None


@dataclass(frozen=True, slots=True)
class SendSignal(Event):
    """Send a message to ``pid``."""

    CODE = Code.SEND_SIGNAL
    seq: int
    pid: str
    topic: str
    args: bytes


@dataclass(frozen=True, slots=True)
class StartChild(Event):
    """Start ``type`` on ``host`` (a worker's entry id, a queue, or empty for the own queue)."""

    CODE = Code.START_CHILD
    seq: int
    type: str
    host: str
    args: bytes
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordVersion(Event):
    """The code took branch ``version`` of change ``change_id``."""

    CODE = Code.RECORD_VERSION
    seq: int
    change_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Complete(Event):
    """The run ends with a result."""

    CODE = Code.COMPLETE
    result: bytes


@dataclass(frozen=True, slots=True)
class Fail(Event):
    """The run ends with a failure."""

    CODE = Code.FAIL
    failure: bytes


@dataclass(frozen=True, slots=True)
class ContinueAsNew(Event):
    """The run ends; another one takes its place, of the same type when ``type`` is None."""

    CODE = Code.CONTINUE_AS_NEW
    type: str | None
    args: bytes
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpsertAttributes(Event):
    """Change search attributes, memo, or both."""

    CODE = Code.UPSERT_ATTRIBUTES
    seq: int
    search: dict[str, Any] | None
    memo: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class CancelExternal(Event):
    """Ask ``pid`` to end, or end it when ``terminate``."""

    CODE = Code.CANCEL_EXTERNAL
    seq: int
    pid: str
    reason: str
    terminate: bool


@dataclass(frozen=True, slots=True)
class UpdateDone(Event):
    """The handler of an update has ended; ``value`` is its result, or its failure when not ``ok``."""

    CODE = Code.UPDATE_DONE
    update_id: str
    ok: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class SideEffect(Event):
    """What a function came to that runs once: its ``value``; a failure when ``how`` is ``error`` or ``raised``."""

    CODE = Code.SIDE_EFFECT
    seq: int
    how: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Watch(Event):
    """A process wants to be told of another's end (monitor, link) or no longer (unmonitor, unlink). In no history."""

    CODE = Code.WATCH
    seq: int
    pid: str
    how: str = "monitor"


@dataclass(frozen=True, slots=True)
class Perform(Event):
    """A module of a function or process has work done in Python: ``name`` with packed ``args``. In no history."""

    CODE = Code.PERFORM
    seq: int
    name: str
    args: bytes


@dataclass(frozen=True, slots=True)
class Loaded(Event):
    """The code of a process or function has been loaded, its main function begins. In no history."""

    CODE = Code.LOADED
    reserved: None = None


_CLASSES: dict[int, type[Event]] = {cls.CODE: cls for cls in Event.__subclasses__()}
_CLOSING = frozenset((Code.COMPLETE, Code.FAIL, Code.CONTINUE_AS_NEW, Code.TERMINATED, Code.TIMED_OUT))


_NAMES: dict[int, tuple[str, ...]] = {code: tuple(item.name for item in fields(cls)) for code, cls in _CLASSES.items()}


def encode(event: Event) -> bytes:
    """Encode an event as a history stores it."""
    values = [_canonical(getattr(event, name)) for name in _NAMES[event.CODE]]
    for _ in range(event.OPTIONAL):
        if values[-1] is not None:
            break
        values.pop()
    data: bytes = msgpack.packb([int(event.CODE), *values], use_bin_type=True)
    return data


def decode(data: bytes) -> Event:
    """Decode an event.

    Raises:
        CorruptHistoryError: The bytes are no event of this format.
    """
    try:
        code, *values = payload.decode(data)
        cls = _CLASSES[code]
        if not len(_NAMES[code]) - cls.OPTIONAL <= len(values) <= len(_NAMES[code]):
            raise ValueError(f"{cls.__name__} with {len(values)} elements")
        return cls(*values)
    except (DecodeError, LookupError, TypeError, ValueError) as error:
        raise CorruptHistoryError(f"not an event of this format: {error}") from error


def fields_of(event: Event) -> tuple[str, ...]:
    """Names of an event's elements, in the order in which they are stored."""
    return _NAMES[event.CODE]


def code_of(data: bytes) -> int:
    """The code of an encoded event; 0 when the bytes are no event."""
    return data[1] if len(data) > 1 and 0x92 <= data[0] <= 0x9F and data[1] in _CLASSES else 0


def is_command(data: bytes) -> bool:
    """Whether an encoded event is a command (else it is an input)."""
    return data[1] >= 64  # the border between the two ranges of codes


def is_closing(data: bytes) -> bool:
    """Whether an encoded event ends its run."""
    return data[1] in _CLOSING


def describe(data: bytes) -> str:
    """An encoded event in a few words, for reports; arguments are measured, not shown."""
    try:
        event = decode(data)
    except CorruptHistoryError:
        return f"{len(data)} bytes that are no event"
    words = _WORDS.get(event.CODE)
    name = event.CODE.name.lower().replace("_", " ")
    return words.format(e=event) if words else name


_WORDS: Mapping[int, str] = {
    Code.STARTED: "the start",
    Code.ACTIVITY_COMPLETED: "the result of activity {e.seq}",
    Code.ACTIVITY_FAILED: "the failure of activity {e.seq}",
    Code.TIMER_FIRED: "timer {e.seq} fired",
    Code.SIGNAL: "signal {e.topic!r}",
    Code.UPDATE: "update {e.name!r}",
    Code.SCHEDULE_ACTIVITY: "activity {e.target} (number {e.seq})",
    Code.START_TIMER: "a timer of {e.delay_ms} ms (number {e.seq})",
    Code.CANCEL_TIMER: "the end of timer {e.timer_seq}",
    Code.CANCEL_ACTIVITY: "cancelling activity {e.activity_seq}",
    Code.SEND_SIGNAL: "signal {e.topic!r} to {e.pid} (number {e.seq})",
    Code.START_CHILD: "child workflow {e.type} on {e.host!r} (number {e.seq})",
    Code.RECORD_VERSION: "version {e.version} of change {e.change_id!r}",
    Code.COMPLETE: "the end with a result",
    Code.FAIL: "the end with a failure",
    Code.CONTINUE_AS_NEW: "continuing as a new run",
    Code.UPSERT_ATTRIBUTES: "new attributes (number {e.seq})",
    Code.WATCH: "watching {e.pid} (number {e.seq})",
    Code.PERFORM: "{e.name} (number {e.seq})",
    Code.CANCEL_EXTERNAL: "cancelling {e.pid} (number {e.seq})",
    Code.UPDATE_DONE: "the answer to update {e.update_id!r}",
    Code.SIDE_EFFECT: "a side effect (number {e.seq})",
}


def _canonical(value: Any) -> Any:
    """Maps inside events are canonical too; everything else is written as it is."""
    return payload.decode(payload.encode(value)) if isinstance(value, dict) else value
