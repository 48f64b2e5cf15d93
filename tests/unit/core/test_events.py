"""What a history may contain."""

from __future__ import annotations

import msgpack
import pytest

from orchestration.core import events, payload
from orchestration.core.flags import check_versions, current_flags
from orchestration.errors import CorruptHistoryError
from tests.support.lua_runs import meta

EVERY = [
    events.Started(1, {"a": 1}, payload.EMPTY_ARRAY),
    events.ActivityCompleted(1, 2, b"\x01", {"attempt": 1}),
    events.ActivityCompleted(1, 2, b"\x01"),
    events.ActivityFailed(1, 2, payload.encode_failure("x")),
    events.TimerFired(1, 2),
    events.Signal(1, "topic", payload.EMPTY_ARRAY, "{a|b}"),
    events.CancelRequested(1, "why", ""),
    events.ChildStarted(1, 2, "{a|b}"),
    events.ChildStartFailed(1, 2, payload.encode_failure("x")),
    events.ChildEnded(1, 2, "{a|b}", True, b"\x01"),
    events.Terminated(1, "why"),
    events.TimedOut(1, "run"),
    events.OperationDone(1, 2, False, payload.encode_failure("x")),
    events.ScheduleActivity(1, "a:b", payload.EMPTY_ARRAY, {"id": "x"}),
    events.StartTimer(1, 5),
    events.CancelTimer(1),
    events.CancelActivity(1),
    events.SendSignal(1, "{a|b}", "t", payload.EMPTY_ARRAY),
    events.StartChild(1, "a:b", "", payload.EMPTY_ARRAY, {}),
    events.RecordVersion(1, "c", 2),
    events.Complete(b"\x01"),
    events.Fail(payload.encode_failure("x")),
    events.ContinueAsNew(None, payload.EMPTY_ARRAY, {}),
    events.UpsertAttributes(1, {"a": 1}, None),
    events.CancelExternal(1, "{a|b}", "", True),
    events.WatchedEnded(1, "{a|b}", True, b"\x01"),
    events.Watch(1, "{a|b}"),
    events.Loaded(),
    events.Perform(1, "store.get", payload.EMPTY_ARRAY),
    events.Update(1, "u-1", "add", payload.EMPTY_ARRAY, "{a|b}"),
    events.UpdateDone("u-1", True, payload.NIL),
    events.SideEffect(1, "value", payload.NIL),
]


@pytest.mark.parametrize("event", EVERY, ids=lambda event: type(event).__name__)
def test_every_event_survives_its_encoding(event: events.Event) -> None:
    data = events.encode(event)
    assert events.decode(data) == event
    assert data[1] == event.CODE, "the second byte tells what an event is"
    assert events.code_of(data) == event.CODE
    assert events.is_command(data) == (event.CODE >= 64)
    assert events.describe(data)


def test_every_code_has_a_class() -> None:
    assert {event.CODE for event in EVERY} == set(events.Code)


def test_absent_information_takes_no_byte() -> None:
    assert len(msgpack.unpackb(events.encode(events.ActivityCompleted(1, 2, b"")))) == 4


def test_closing_commands_are_known() -> None:
    closing = {type(event).__name__ for event in EVERY if events.is_closing(events.encode(event))}
    assert closing == {"Complete", "Fail", "ContinueAsNew", "Terminated", "TimedOut"}


@pytest.mark.parametrize(
    "data", [b"", b"\x93\x63\x01\x01", b"\x91\x01", b"\x97\x02\1\1\1\1\1\1", b"\xc0", b"\x93\x04\x01"]
)
def test_foreign_bytes_are_no_events(data: bytes) -> None:
    with pytest.raises(CorruptHistoryError):
        events.decode(data)


@pytest.mark.parametrize("change", [{"lua": "5.5"}, {"format": 2}, {"flags": [999]}, {"lua": None}])
def test_histories_of_other_releases_are_refused(change: dict[str, object]) -> None:
    check_versions(meta(flags=current_flags()))
    with pytest.raises(CorruptHistoryError):
        check_versions(meta(**change))
