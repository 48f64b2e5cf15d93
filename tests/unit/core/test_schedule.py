"""Definitions of schedules: when they are due, what is refused, and that they survive being stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.core.schedule import ScheduleAction, SchedulePolicy, ScheduleSpec, pack, time_text, unpack
from orchestration.errors import CorruptHistoryError, EncodeError

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def times(spec: ScheduleSpec, after: str, count: int) -> list[str]:
    """Nominal times after a moment."""
    found, at = [], ms(after)
    for _ in range(count):
        due = spec.next_due("s", at)
        if due is None:
            break
        at = due.nominal_ms
        found.append(time_text(at))
    return found


def test_interval_is_aligned_to_the_epoch_and_shifted_by_the_offset() -> None:
    spec = ScheduleSpec(interval=timedelta(hours=6), offset=timedelta(minutes=10))
    assert times(spec, "2026-01-01T00:00:00", 3) == [
        "2026-01-01T00:10:00Z", "2026-01-01T06:10:00Z", "2026-01-01T12:10:00Z",
    ]  # fmt: skip
    assert times(spec, "2026-01-01T00:10:00", 1) == ["2026-01-01T06:10:00Z"]


def test_several_rules_are_one_sequence_without_repeats() -> None:
    spec = ScheduleSpec(cron=["0 0 * * *", "0 12 * * *"], interval=timedelta(hours=12), offset=timedelta(0))
    assert times(spec, "2026-01-01T00:00:00", 2) == ["2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"]


def test_cron_is_read_in_its_zone() -> None:
    spec = ScheduleSpec(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert times(spec, "2026-03-28T12:00:00", 2) == ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]


def test_start_and_end_are_part_of_the_time_between() -> None:
    zone = timezone(timedelta(hours=1))
    spec = ScheduleSpec(
        cron="@hourly", start_at=datetime(2026, 1, 2, 1, tzinfo=zone), end_at=datetime(2026, 1, 2, 2, tzinfo=zone)
    )
    assert times(spec, "2026-01-01T00:00:00", 5) == ["2026-01-02T00:00:00Z", "2026-01-02T01:00:00Z"]


@given(after=st.integers(0, 4_000_000_000_000), jitter=st.integers(1, 100_000), name=st.text(max_size=8))
def test_jitter_is_the_same_every_time_and_ends_before_the_next_time(after: int, jitter: int, name: str) -> None:
    spec = ScheduleSpec(interval=timedelta(seconds=30), jitter=timedelta(milliseconds=jitter))
    due = spec.next_due(name, after)
    assert due is not None
    assert due == spec.next_due(name, after)
    assert 0 <= due.due_ms - due.nominal_ms < min(jitter, 30_000)


def test_jitter_spreads_schedules() -> None:
    spec = ScheduleSpec(cron="0 0 * * *", jitter=timedelta(minutes=10))
    due = [spec.next_due(f"s{number}", 0) for number in range(100)]
    minutes = {(one.due_ms - one.nominal_ms) // 60_000 for one in due if one}
    assert len(minutes) == 10


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "`cron` or `interval`"),
        ({"cron": "61 * * * *"}, "minute"),
        ({"cron": "@every 5m"}, "interval"),
        ({"cron": "@daily", "time_zone": "Mars/Base"}, "time zone"),
        ({"interval": timedelta(milliseconds=999)}, "one second"),
        ({"interval": timedelta(seconds=5), "offset": timedelta(seconds=5)}, "offset"),
        ({"cron": "@daily", "offset": timedelta(seconds=5)}, "offset"),
        ({"cron": "@daily", "jitter": timedelta(seconds=-1)}, "jitter"),
        ({"cron": "@daily", "start_at": DAY.replace(tzinfo=None)}, "time zone"),
        ({"cron": "@daily", "start_at": DAY, "end_at": DAY - timedelta(seconds=1)}, "before the start"),
        ({"cron": "@daily", "max_actions": 0}, "max_actions"),
    ],
)  # fmt: skip
def test_bad_spec_gets_one_clear_error(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ScheduleSpec(**arguments)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"workflow_type": ""}, "type"),
        ({"workflow_type": "a:b", "args": "text"}, "list"),
        ({"workflow_type": "a:b", "workflow_id_prefix": "x" * 230}, "prefix"),
        ({"workflow_type": "a:b", "workflow_id_prefix": ""}, "prefix"),
        ({"workflow_type": "a:b", "run_timeout": timedelta()}, "timeout"),
    ],
)
def test_bad_action_gets_one_clear_error(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ScheduleAction(**arguments)
    with pytest.raises(EncodeError):
        ScheduleAction(workflow_type="a:b", args=[object()])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"overlap": "both"}, "skip, buffer_one"), ({"catchup_window": timedelta(seconds=9)}, "catch-up")],
)
def test_bad_policy_gets_one_clear_error(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        SchedulePolicy(**arguments)


def test_definition_survives_being_stored() -> None:
    spec = ScheduleSpec(
        cron=["0 9 * * MON-FRI", "@monthly"], time_zone="Asia/Tokyo", interval=timedelta(days=1),
        offset=timedelta(hours=1), jitter=timedelta(seconds=3), start_at=datetime(2026, 1, 1, tzinfo=UTC),
        end_at=datetime(2027, 1, 1, tzinfo=UTC), max_actions=5,
    )  # fmt: skip
    action = ScheduleAction(
        workflow_type="app:report", args=["a", 1, {"b": [True, None, b"\x00"]}], workflow_id_prefix="report",
        task_queue="slow", run_timeout=timedelta(minutes=5), context={"user": "ana"}, memo={"a": 1},
        search={"team": "x"}, retry_policy={"maximum_attempts": 3}, execution_timeout=timedelta(hours=1), summary="s",
    )  # fmt: skip
    policy = SchedulePolicy(overlap="buffer_all", catchup_window=timedelta(minutes=1), pause_on_failure=True)
    assert unpack(pack(spec, action, policy)) == (spec, action, policy)


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x81\xa6format\x02", b"\x81\xa6format\x01"])
def test_unreadable_definition_is_said_to_be(data: bytes) -> None:
    from orchestration.errors import DecodeError

    with pytest.raises((CorruptHistoryError, DecodeError)):
        unpack(data)


def test_time_in_a_workflow_id_has_fractions_only_when_there_are_any() -> None:
    assert time_text(ms("2026-01-01T00:00:00")) == "2026-01-01T00:00:00Z"
    assert time_text(ms("2026-01-01T00:00:00") + 7) == "2026-01-01T00:00:00.007Z"
