"""How a schedule goes on: overlap policies, outages, pauses, triggers, backfills. Pure, so time is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.core import schedule_moves as moves
from orchestration.core.schedule import OVERLAPS, ScheduleAction, SchedulePolicy, ScheduleSpec
from orchestration.core.schedule_moves import BUFFER_MAX
from orchestration.core.schedule_state import Asked, Definition, Running, ScheduleState
from orchestration.errors import CorruptHistoryError

MINUTE = 60_000


class Bench:
    """A schedule that is due every minute, moved by hand; runs stay open until the test ends them."""

    def __init__(self, **policy: Any) -> None:
        self.spec = policy.pop("spec", ScheduleSpec(interval=timedelta(minutes=1)))
        action = ScheduleAction(workflow_type="app:job")
        self.schedule = Definition("s", self.spec, action, SchedulePolicy(**policy))
        self.state = moves.new_state(self.spec, now_ms=0)
        self.started: list[int] = []
        self.ended: list[tuple[str, str]] = []
        self.open: dict[str, int] = {}
        self.now = 0

    def look(self, at_ms: int, *, closed: Iterable[tuple[int, str]] = ()) -> list[int]:
        """Look at a moment, after runs of these times have ended; returns the times started."""
        self.now = at_ms
        statuses = {}
        for nominal, status in closed:
            for run_id in [run for run, time in self.open.items() if time == nominal]:
                statuses[run_id] = status
                del self.open[run_id]
        before = len(self.started)
        for _ in range(100):
            self.state = ScheduleState.decode(self.state.encode())
            moves.look(self.schedule, self.state, now_ms=at_ms, ended=statuses)
            statuses = {}
            for ending in self.state.ending:
                self.ended.append((ending.run_id, ending.how))
                if ending.how == "terminate":
                    self.open.pop(ending.run_id)
            started = {}
            for asked in self.state.starting:
                run_id = f"r{asked.nominal_ms}"
                started[asked] = Running("default", asked.workflow_id, run_id, asked.nominal_ms)
                self.started.append(asked.nominal_ms)
                self.open[run_id] = asked.nominal_ms
            moves.settle(self.state, now_ms=at_ms, started=started, refused={})
            if moves.next_look(self.schedule, self.state, at_ms) != at_ms:
                return self.started[before:]
        raise AssertionError("it never comes to rest")

    @property
    def counts(self) -> dict[str, int]:
        return self.state.counts


def test_due_time_starts_one_run_named_after_it() -> None:
    bench = Bench()
    assert bench.look(MINUTE - 1) == []
    assert bench.look(MINUTE) == [MINUTE]
    assert bench.look(MINUTE + 1) == []
    assert bench.state.running[0].workflow_id == "s-1970-01-01T00:01:00Z"
    assert moves.next_look(bench.schedule, bench.state, MINUTE) == 2 * MINUTE


def test_skip_leaves_out_what_is_due_while_a_run_is_open() -> None:
    bench = Bench(overlap="skip")
    bench.look(MINUTE)
    assert bench.look(2 * MINUTE) == []
    assert bench.look(3 * MINUTE, closed=[(MINUTE, "completed")]) == [3 * MINUTE]
    assert bench.counts == {"started": 2, "skipped": 1}


def test_buffer_one_keeps_the_first_and_starts_it_when_the_run_ends() -> None:
    bench = Bench(overlap="buffer_one")
    bench.look(MINUTE)
    assert bench.look(2 * MINUTE) == bench.look(3 * MINUTE) == []
    assert bench.look(3 * MINUTE + 5, closed=[(MINUTE, "completed")]) == [2 * MINUTE]
    assert bench.counts == {"started": 2, "skipped": 1}


def test_buffer_all_starts_one_after_the_other() -> None:
    bench = Bench(overlap="buffer_all")
    for minute in range(1, 5):
        bench.look(minute * MINUTE)
    for minute in range(1, 4):
        assert bench.look(4 * MINUTE + minute, closed=[(minute * MINUTE, "completed")]) == [(minute + 1) * MINUTE]
    assert bench.counts == {"started": 4}


def test_buffer_all_is_bounded_and_counts_what_it_drops() -> None:
    bench = Bench(overlap="buffer_all", catchup_window=timedelta(days=1))
    for _ in range(2):  # in two slices
        bench.look((BUFFER_MAX + 3) * MINUTE)
    assert len(bench.state.buffer) == BUFFER_MAX
    assert bench.counts["dropped"] == 2


def test_cancel_other_asks_once_waits_for_the_end_and_keeps_the_newest() -> None:
    bench = Bench(overlap="cancel_other")
    bench.look(MINUTE)
    assert bench.look(2 * MINUTE) == bench.look(3 * MINUTE) == []
    assert bench.ended == [(f"r{MINUTE}", "cancel")]
    assert bench.look(3 * MINUTE + 9, closed=[(MINUTE, "cancelled")]) == [3 * MINUTE]
    assert bench.counts == {"started": 2, "skipped": 1}


def test_terminate_other_ends_the_open_run_and_starts_at_once() -> None:
    bench = Bench(overlap="terminate_other")
    bench.look(MINUTE)
    assert bench.look(2 * MINUTE) == [2 * MINUTE]
    assert bench.ended == [(f"r{MINUTE}", "terminate")]
    assert list(bench.open.values()) == [2 * MINUTE]


def test_allow_all_starts_beside_what_is_open() -> None:
    bench = Bench(overlap="allow_all")
    for minute in range(1, 4):
        assert bench.look(minute * MINUTE) == [minute * MINUTE]
    assert len(bench.open) == 3


def test_outage_within_the_window_is_made_good() -> None:
    bench = Bench(overlap="allow_all", catchup_window=timedelta(hours=1))
    assert bench.look(30 * MINUTE) == [minute * MINUTE for minute in range(1, 31)]
    assert "missed" not in bench.counts


def test_outage_beyond_the_window_is_counted_as_missed() -> None:
    bench = Bench(overlap="allow_all", catchup_window=timedelta(minutes=10))
    assert bench.look(30 * MINUTE) == [minute * MINUTE for minute in range(20, 31)]
    assert bench.counts["missed"] == 19


def test_long_outage_of_a_frequent_schedule_is_gone_through_in_slices() -> None:
    spec = ScheduleSpec(interval=timedelta(seconds=1))
    bench = Bench(spec=spec, overlap="skip", catchup_window=timedelta(seconds=10))
    assert bench.look(5_000_000) == []  # a slice of a thousand; the next look comes at once
    for _ in range(5):
        bench.look(5_000_000)
    assert bench.started == [4_990_000]
    assert bench.counts == {"missed": 4_989, "started": 1, "skipped": 10}


def test_many_missed_times_start_in_batches_and_each_once() -> None:
    bench = Bench(overlap="allow_all", catchup_window=timedelta(days=1))
    assert bench.look(500 * MINUTE) == [minute * MINUTE for minute in range(1, 501)]


@pytest.mark.parametrize("overlap", ["cancel_other", "terminate_other"])
def test_after_an_outage_only_the_newest_of_those_that_replace_each_other_runs(overlap: str) -> None:
    bench = Bench(overlap=overlap)
    assert bench.look(5 * MINUTE) == [5 * MINUTE]
    assert bench.counts == {"started": 1, "skipped": 4}
    assert bench.ended == []


def test_pause_starts_nothing_and_resume_makes_nothing_good() -> None:
    bench = Bench()
    moves.pause(bench.state, "holidays", now_ms=30_000)
    assert bench.look(5 * MINUTE) == []
    assert moves.next_look(bench.schedule, bench.state, 5 * MINUTE) is None
    assert moves.upcoming(bench.schedule, bench.state, 3) == []
    moves.resume(bench.state, "back", now_ms=5 * MINUTE + 1)
    assert bench.look(5 * MINUTE + 2) == []
    assert bench.look(6 * MINUTE) == [6 * MINUTE]
    assert bench.state.note == "back"


def test_pause_gives_up_what_waits_and_counts_it() -> None:
    bench = Bench(overlap="buffer_all")
    bench.look(MINUTE)
    bench.look(2 * MINUTE)
    moves.trigger(bench.schedule, bench.state, None, now_ms=2 * MINUTE + 1)
    moves.pause(bench.state, "", now_ms=2 * MINUTE + 2)
    assert bench.counts["skipped"] == 1
    assert bench.look(3 * MINUTE, closed=[(MINUTE, "completed")]) == [2 * MINUTE + 1]


def test_trigger_while_paused_starts_once() -> None:
    bench = Bench()
    moves.pause(bench.state, "", now_ms=0)
    moves.trigger(bench.schedule, bench.state, None, now_ms=90_000)
    assert bench.look(90_001) == [90_000]
    assert bench.look(5 * MINUTE) == []


def test_what_is_asked_for_while_a_start_is_carried_out_is_looked_at_next() -> None:
    """Whoever has carried the start out writes the time of the next look: it must not be that of the next due time."""
    for ask in (
        lambda bench: moves.trigger(bench.schedule, bench.state, "allow_all", now_ms=MINUTE),
        lambda bench: moves.backfill(bench.state, 0, 0, "allow_all", "tag"),
    ):
        bench = Bench()
        moves.look(bench.schedule, bench.state, now_ms=MINUTE, ended={})
        (asked,) = bench.state.starting
        ask(bench)
        started = {asked: Running("default", asked.workflow_id, "r", MINUTE)}
        moves.settle(bench.state, now_ms=MINUTE, started=started, refused={})
        assert moves.next_look(bench.schedule, bench.state, MINUTE) == MINUTE
        assert len(bench.look(MINUTE)) == 1


def test_two_triggers_of_one_millisecond_are_two_actions() -> None:
    bench = Bench()
    for _ in range(2):
        moves.trigger(bench.schedule, bench.state, "allow_all", now_ms=90_000)
    assert bench.look(90_002) == [90_000, 90_001]


def test_backfill_takes_every_time_with_both_ends_one_after_the_other() -> None:
    bench = Bench()
    moves.pause(bench.state, "", now_ms=100 * MINUTE)
    moves.backfill(bench.state, 2 * MINUTE, 4 * MINUTE, "buffer_all", "tag")
    assert bench.look(100 * MINUTE) == [2 * MINUTE]
    assert bench.look(101 * MINUTE, closed=[(2 * MINUTE, "completed")]) == [3 * MINUTE]
    assert bench.look(102 * MINUTE, closed=[(3 * MINUTE, "failed")]) == [4 * MINUTE]
    assert bench.look(103 * MINUTE, closed=[(4 * MINUTE, "failed")]) == []
    assert bench.state.backfills == []


def test_long_backfill_is_expanded_as_there_is_room() -> None:
    bench = Bench()
    moves.pause(bench.state, "", now_ms=5_000 * MINUTE)
    moves.backfill(bench.state, MINUTE, 600 * MINUTE, "buffer_all", "tag")
    done = bench.look(5_000 * MINUTE)
    while done:
        assert len(bench.state.buffer) <= 100
        done = bench.look(bench.now + 1, closed=[(done[0], "completed")])
    assert bench.started == [minute * MINUTE for minute in range(1, 601)]


def test_backfill_of_allow_all_starts_in_batches() -> None:
    bench = Bench()
    moves.pause(bench.state, "", now_ms=5_000 * MINUTE)
    moves.backfill(bench.state, MINUTE, 350 * MINUTE, "allow_all", "tag")
    assert bench.look(5_000 * MINUTE) == [minute * MINUTE for minute in range(1, 351)]


def test_limited_number_of_actions_ends_the_schedule_and_manual_ones_do_not_count() -> None:
    bench = Bench(spec=ScheduleSpec(interval=timedelta(minutes=1), max_actions=2), overlap="allow_all")
    moves.trigger(bench.schedule, bench.state, None, now_ms=1)
    assert bench.look(2) == [1]
    assert bench.look(5 * MINUTE) == [MINUTE, 2 * MINUTE]
    assert moves.next_look(bench.schedule, bench.state, 5 * MINUTE) is None
    assert moves.upcoming(bench.schedule, bench.state, 5) == []


@pytest.mark.parametrize(("status", "pauses"), [("failed", True), ("timed_out", True), ("completed", False)])
def test_pause_on_failure(status: str, pauses: bool) -> None:
    bench = Bench(pause_on_failure=True)
    bench.look(MINUTE)
    assert bench.state.waits(bench.schedule.policy)
    bench.look(MINUTE + 5, closed=[(MINUTE, status)])
    assert bench.state.paused is pauses
    if pauses:
        assert "s-1970-01-01T00:01:00Z has" in bench.state.note
    assert bench.state.recent[-1].status == status


def test_update_of_the_times_leaves_what_was_due_to_the_old_ones() -> None:
    bench = Bench()
    new = Definition("s", ScheduleSpec(interval=timedelta(minutes=7)), bench.schedule.action, bench.schedule.policy)
    moves.update(bench.schedule, new, bench.state, now_ms=MINUTE + 100)
    bench.schedule = new
    assert bench.look(MINUTE + 200) == [MINUTE]
    assert bench.look(7 * MINUTE, closed=[(MINUTE, "completed")]) == [7 * MINUTE]


def test_failed_start_is_tried_again_under_the_same_request_and_later_each_time() -> None:
    bench = Bench()
    moves.look(bench.schedule, bench.state, now_ms=MINUTE, ended={})
    first = list(bench.state.starting)
    pauses = []
    for _ in range(8):
        moves.settle(bench.state, now_ms=MINUTE, started={}, refused={}, problem="nobody knows it")
        pauses.append((moves.next_look(bench.schedule, bench.state, MINUTE) or 0) - MINUTE)
    assert bench.state.starting == first
    assert pauses == [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
    moves.settle(bench.state, now_ms=MINUTE, started={}, refused={first[0]: ("failed", "nobody knows it")})
    assert bench.counts == {"failed": 1}
    assert bench.state.recent[-1].problem == "nobody knows it"
    assert bench.state.problem == ""


def test_action_that_cannot_start_does_not_hold_up_the_ones_behind_it() -> None:
    bench = Bench(overlap="buffer_all")
    moves.look(bench.schedule, bench.state, now_ms=3 * MINUTE, ended={})
    (first,) = bench.state.starting
    moves.settle(bench.state, now_ms=3 * MINUTE, started={}, refused={first: ("refused", "in use")})
    assert moves.next_look(bench.schedule, bench.state, 3 * MINUTE) == 3 * MINUTE
    assert bench.look(3 * MINUTE) == [2 * MINUTE]


def test_request_ids_tell_actions_of_one_time_apart() -> None:
    ids = {Asked(5, "skip", origin).request_id("s") for origin in ("schedule", "trigger", "backfill/a", "backfill/b")}
    assert ids == {"schedule/s/5", "schedule/s/5/trigger", "schedule/s/5/backfill/a", "schedule/s/5/backfill/b"}


def test_unreadable_state_is_said_to_be() -> None:
    with pytest.raises(CorruptHistoryError, match="state of a schedule"):
        ScheduleState.decode(b"\x92\x02\x80")


@given(
    overlap=st.sampled_from(OVERLAPS),
    moments=st.lists(st.tuples(st.integers(1, 400_000), st.booleans()), max_size=25),
)
def test_every_time_is_accounted_for_once(overlap: str, moments: list[tuple[int, bool]]) -> None:
    """However the looks fall: each time is started, skipped, waiting, or still to come."""
    bench = Bench(overlap=overlap)
    now = 0
    for pause, ends in moments:
        now += pause
        closed = [(nominal, "completed") for nominal in bench.open.values()] if ends else []
        bench.look(now, closed=closed)
    assert len(set(bench.started)) == len(bench.started)
    accounted = len(bench.started) + bench.counts.get("skipped", 0) + len(bench.state.buffer)
    assert accounted == bench.state.cursor_ms // MINUTE
    if overlap not in ("allow_all", "terminate_other"):
        assert len(bench.open) <= 1
