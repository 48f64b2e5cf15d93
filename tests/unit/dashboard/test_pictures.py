"""Timelines as bars: within the picture, of a bounded number, attempts and what comes next in them."""

from __future__ import annotations

from typing import Any

from orchestration.client import Description, PendingActivity, Place
from orchestration.core.timeline import Lane, Timeline
from orchestration.dashboard.picture import Picture, make_picture


def seen(**facts: Any) -> Description:
    known: dict[str, Any] = {
        "workflow_id": "w", "run_id": "r", "type": "t", "status": "running", "namespace": "n", "task_queue": "",
        "bundle": "", "started_ms": 1000, "closed_ms": 0, "history_length": 1, "history_bytes": 1, "unread": 0,
        "counters": {}, "search": {}, "memo": {},
    }  # fmt: skip
    return Description(**{**known, **facts})


def picture(*lanes: Lane, now_ms: int = 2000, **facts: Any) -> Picture:
    timeline = Timeline(started_ms=1000, last_ms=1900, lanes=list(lanes))
    return make_picture(timeline, seen(**facts), now_ms=now_ms)


def lane(
    kind: str = "activity", name: str = "a", start_ms: int = 1000, end_ms: int | None = 1500, **facts: Any
) -> Lane:  # fmt: skip
    outcome = "open" if end_ms is None else "completed"
    return Lane(**{"kind": kind, "name": name, "start_ms": start_ms, "end_ms": end_ms, "outcome": outcome, **facts})


def test_a_bar_is_where_its_time_is() -> None:
    (group,) = picture(lane(start_ms=1250, end_ms=1500, seq=3)).groups
    (row,) = group.rows
    (bar,) = row.bars
    assert (bar.x, bar.width, bar.style) == (25, 25, "completed")
    assert row.note == "#3, 250 ms"


def test_what_is_open_goes_up_to_now_and_what_is_short_can_be_seen() -> None:
    (group,) = picture(lane(end_ms=None), lane(start_ms=1500, end_ms=1500), lane(start_ms=2000, end_ms=2000)).groups
    assert [(row.bars[0].x, row.bars[0].width) for row in group.rows] == [(0, 100), (50, 0.35), (99.65, 0.35)]


def test_the_attempts_of_an_open_activity_are_seen() -> None:
    attempts = {
        "claimed": (("waiting", 50), ("open", 50)), "scheduled": (("waiting", 100),),
    }  # fmt: skip
    for state, expected in attempts.items():
        activity = PendingActivity(seq=2, target="a", attempt=3, state=state, owner="", since_ms=1500)
        (group,) = picture(lane(end_ms=None, seq=2), pending=(activity,)).groups
        assert tuple((bar.style, round(bar.width)) for bar in group.rows[0].bars) == expected
        assert group.rows[0].note == f"#2, attempt 3, {state}"


def test_a_distant_attempt_leaves_room_for_the_past() -> None:
    activity = PendingActivity(seq=2, target="a", attempt=3, state="backoff", owner="", since_ms=1_000_000)
    (group,) = picture(lane(end_ms=None, seq=2), pending=(activity,)).groups
    (backoff,) = group.rows[0].bars
    assert (backoff.style, backoff.width) == ("backoff", 100)
    (group,) = picture(lane(end_ms=2000), lane(end_ms=None, seq=2), pending=(activity,)).groups
    assert group.rows[0].bars[0].width == 80


def test_many_spans_share_rows_without_hiding_each_other() -> None:
    lanes = [lane(start_ms=1000 + number, end_ms=1010 + number) for number in range(500)]
    (group,) = picture(*lanes).groups
    assert 1 < len(group.rows) <= 40
    assert sum(len(row.bars) for row in group.rows) == 500
    assert [row.name for row in group.rows[:2]] == ["a", ""]
    assert group.rows[0].note == "× 500"
    for row in group.rows:
        ends = [bar.x + bar.width for bar in row.bars]
        assert all(end <= bar.x + 0.2 for end, bar in zip(ends, row.bars[1:], strict=False))


def test_a_picture_is_bounded() -> None:
    lanes = [lane(name=f"a{number}", end_ms=None) for number in range(4000)]
    made = picture(*lanes)
    assert made.left_out == 1000
    assert sum(len(row.bars) for group in made.groups for row in group.rows) == 3000


def test_what_its_coroutines_wait_for_is_in_it() -> None:
    place = Place(task=1, file="f.lua", line=3, function="main", waits_for="inbox:receive", since_ms=1500)
    (group,) = picture(places=(place,)).groups
    assert (group.title, group.rows[0].name) == ("Waits for", "inbox:receive")
    assert (group.rows[0].bars[0].x, group.rows[0].bars[0].width) == (50, 50)
