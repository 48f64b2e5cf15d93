"""Timers fire once and never early; the sweep finds all that needs a hand, and nothing twice at a time."""

from __future__ import annotations

import pytest

from orchestration.errors import StoreError
from orchestration.store.inputs import encode_input
from tests.store.backends import Backend
from tests.store.runs import RETENTION_MS, Runs

# -- fire_timer -------------------------------------------------------------------------------------------------------


def test_a_timer_never_fires_early(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(60_000)
    with backend.unchanged():
        for owner in ("", "me"):
            answer = backend.store.timers.fire(run_id, 1, owner=owner, pushes=runs.push())
            assert answer.status == "early"
            assert 50_000 < int(answer.detail) <= 60_000
    assert runs.queue() == []


def test_a_due_timer_becomes_an_input_once(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer()
    backend.call("ZADD", runs.keys(run_id).handed, backend.now_ms() + 1_000, f"{run_id}/1/timer")
    backend.pass_time(1_001)
    assert backend.store.timers.fire(run_id, 1).status == "wake"
    assert runs.inbox(run_id) == [encode_input(4, 1)]
    assert runs.members(runs.keys(run_id).timers) == runs.members(runs.keys(run_id).handed) == {}
    with backend.unchanged():
        assert backend.store.timers.fire(run_id, 1, pushes=runs.push()).status == "gone"


def test_a_due_timer_gives_the_wake_up_out(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(0)
    backend.pass_time(1)
    assert backend.store.timers.fire(run_id, 1, pushes=runs.push()).status == "accepted"
    assert runs.queue() == [b"wake"]


def test_the_message_of_a_timer_takes_the_lease_even_when_the_timer_is_gone(backend: Backend, runs: Runs) -> None:
    """The message of a timer is the wake-up of its run: somebody else may have fired it before."""
    run_id = runs.with_timer(0)
    backend.pass_time(1)
    assert backend.store.timers.fire(run_id, 1).status == "wake"
    answer = backend.store.timers.fire(run_id, 1, owner="me")
    assert answer.lease is not None
    assert answer.lease.inputs == (encode_input(4, 1),)
    assert runs.commit(answer.lease, ["shut", "1", "cancelled"]).status == "done"
    with backend.unchanged():
        assert backend.store.timers.fire(run_id, 1, owner="me").status == "idle"


def test_a_timer_of_a_held_run_is_left_to_the_holder(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(0)
    backend.pass_time(1)
    lease = backend.store.runs.deliver(run_id, b"in", owner="other").lease
    assert lease is not None
    assert backend.store.timers.fire(run_id, 1, owner="me", pushes=runs.push()).status == "busy"
    assert runs.queue() == []
    answer = runs.commit(lease, owner="other")
    assert answer.lease is not None
    assert answer.lease.inputs == (encode_input(4, 1),)


def test_a_timer_in_a_run_that_ended_is_gone(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(0)
    backend.store.runs.end(run_id, status="terminated", code=75, details=[])
    with backend.unchanged():
        assert backend.store.timers.fire(run_id, 1).status == "gone"
        answer = backend.store.timers.fire(run_id, 1, owner="me")
        assert (answer.status, answer.detail) == ("closed", "terminated")


def test_a_timer_that_belongs_to_nothing_is_cleared_away(backend: Backend, runs: Runs) -> None:
    unknown = backend.store.runs.new_id("x")
    backend.call("ZADD", runs.keys(unknown).timers, 1, f"{unknown}/1/timer")
    assert backend.store.timers.fire(unknown, 1).status == "gone"
    assert runs.inbox(unknown) == []


def test_a_broker_key_of_another_type_leaves_the_timer(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(0)
    backend.pass_time(1)
    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        backend.store.timers.fire(run_id, 1, pushes=runs.push())


def test_a_deadline_can_be_forgotten(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer()
    for _ in range(2):
        backend.store.timers.forget(f"{run_id}/1/timer")
        assert runs.members(runs.keys(run_id).timers) == {}


# -- sweep_shard ------------------------------------------------------------------------------------------------------


def test_the_sweep_finds_runs_that_nobody_reads_for(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    assert runs.sweep().runs == ()
    backend.pass_time(2_001)
    assert runs.sweep().runs == (run_id,)
    assert runs.sweep().runs == ()
    backend.pass_time(2_001)
    assert runs.sweep().runs == (run_id,)
    runs.lease(run_id)
    backend.pass_time(2_900)
    assert runs.sweep().runs == ()
    backend.pass_time(200)
    assert runs.sweep().runs == (run_id,)


def test_the_sweep_hands_near_timers_to_the_broker_and_fires_those_it_lost(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(5_000)
    member = f"{run_id}/1/timer"
    due = runs.members(runs.keys(run_id).timers)[member]
    assert runs.sweep(horizon_ms=1_000).hand == ()
    found = runs.sweep()
    assert (found.hand, found.fire, found.next_due_ms) == (((member, due),), (), 0)
    assert runs.sweep().hand == ()
    backend.pass_time(5_001)
    assert runs.sweep().fire == ()
    backend.pass_time(500)
    assert runs.sweep().fire == (member,)
    assert runs.sweep().fire == ()
    backend.pass_time(2_501)
    assert runs.sweep().fire == (member,)


def test_the_sweep_fires_what_the_broker_has_no_room_for(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(5_000)
    due = runs.members(runs.keys(run_id).timers)[f"{run_id}/1/timer"]
    found = runs.sweep(eta_max=0)
    assert (found.hand, found.fire, found.next_due_ms) == ((), (), due)
    backend.pass_time(5_001)
    assert runs.sweep(eta_max=0).fire == (f"{run_id}/1/timer",)
    assert runs.sweep(eta_max=0).fire == ()


def test_timers_in_the_brokers_hands_do_not_hide_those_after_them(backend: Backend, runs: Runs) -> None:
    """The sweep reads a bounded piece of the set; it was once filled by timers that it had handed over itself."""
    run_id = runs.with_timer(9_000)
    keys, due = runs.keys(run_id), backend.now_ms() + 1_000
    others = [f"x{i}" for i in range(50)]
    backend.call("HSET", keys.open(run_id), *[part for seq in others for part in (seq, b"t")])
    waiting = [part for seq in others for part in (due, f"{run_id}/{seq}/timer")]
    backend.call("ZADD", keys.timers, *waiting)
    backend.call("ZADD", keys.handed, *waiting)
    assert [member for member, _ in runs.sweep(limit=5).hand] == [f"{run_id}/1/timer"]


def test_the_sweep_says_when_it_left_something_due(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    due = backend.now_ms() - 5
    backend.call("HSET", runs.keys(run_id).open(run_id), *[part for i in range(9) for part in (i, b"activity")])
    backend.call("ZADD", runs.keys(run_id).timers, *[part for i in range(9) for part in (due, f"{run_id}/{i}/close")])
    found = runs.sweep(limit=5)
    assert len(found.fire) == 5
    assert found.next_due_ms == due


def test_a_timer_that_is_taken_back_is_with_nobody_any_more(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(5_000)
    keys = runs.keys(run_id)
    assert [member for member, _ in runs.sweep().hand] == [f"{run_id}/1/timer"]
    assert list(runs.members(keys.handed)) == [f"{run_id}/1/timer"]
    backend.store.runs.deliver(run_id, b"in")
    assert runs.commit(runs.lease(run_id), ["shut", "1", "cancelled"]).status == "done"
    assert runs.members(keys.timers) == runs.members(keys.handed) == {}


def test_a_deadline_that_nobody_waits_for_is_taken_off_wherever_it_is(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(60_000)
    keys, member = runs.keys(run_id), f"{run_id}/1/timer"
    for key in (keys.timers, keys.handed, keys.pending):
        backend.call("ZADD", key, backend.now_ms() + 60_000, member)
    backend.store.timers.forget(member)
    assert runs.members(keys.timers) == runs.members(keys.handed) == runs.members(keys.pending) == {}


def test_the_sweep_finds_deadlines(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt, close_ms=3_000, beat_ms=0)
    member = f"{attempt.run_id}/1/close"
    found = runs.sweep()
    assert (found.fire, found.hand) == ((), ())
    assert found.next_due_ms == runs.members(runs.keys(attempt.run_id).timers)[member]
    backend.pass_time(3_001)
    assert runs.sweep().fire == (member,)


def test_the_sweep_finds_what_commits_left(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping(["out", "o/1", b"entry"])
    assert runs.sweep().outbox == ()
    backend.pass_time(2_001)
    assert runs.sweep().outbox == (("o/1", b"entry"),)
    assert runs.sweep().outbox == ()
    for _ in range(2):
        backend.store.timers.finish(run_id, ["o/1", "o/none"])
    backend.store.timers.finish(run_id, [])
    backend.pass_time(2_001)
    assert runs.sweep().outbox == ()


def test_an_outbox_entry_without_contents_is_cleared_away(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    backend.call("ZADD", runs.keys(run_id).outbox_due, 1, "lost")
    assert runs.sweep().outbox == ()
    assert runs.members(runs.keys(run_id).outbox_due) == {}


def test_the_sweep_finds_attempts_that_nobody_claims(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    member = f"{attempt.run_id}/1"
    assert runs.sweep().unclaimed == ()
    backend.pass_time(5_001)
    sent = runs.members(runs.keys(attempt.run_id).pending)[member]
    assert runs.sweep().unclaimed == ((member, sent),)
    backend.store.attempts.dispatch(attempt, state="scheduled", entry=b"", pushes=runs.push())
    assert runs.sweep().unclaimed == ()


def test_the_sweep_forgets_runs_whose_retention_is_over(backend: Backend, runs: Runs) -> None:
    run_id = runs.ended()
    keys = runs.keys(run_id)
    old = [part for i in range(1_500) for part in (1, f"{run_id}{i}")]
    backend.call("ZADD", keys.closed_runs, *old)
    runs.sweep()
    assert len(runs.members(keys.closed_runs)) == 501
    runs.sweep()
    assert set(runs.members(keys.closed_runs)) == {run_id}
    backend.pass_time(RETENTION_MS + 1)
    runs.sweep()
    assert runs.members(keys.closed_runs) == {}


@pytest.mark.parametrize("what", ["runs", "outbox", "unclaimed", "fire"])
def test_the_sweep_takes_no_more_than_its_limit(backend: Backend, runs: Runs, what: str) -> None:
    for number in range(4):
        runs.sleeping(
            ["out", f"RUN/o{number}", b"e"], ["open", "1", b"a"], ["sent", "RUN/1"],
            ["timer", "RUN/1/close", backend.now_ms() + 10], workflow_id=f"order-{number}",
        )  # fmt: skip
        runs.started(f"waiting-{number}")
    backend.pass_time(60_000)
    assert len(getattr(runs.sweep(limit=3), what)) == 3


def test_deadlines_that_stay_due_do_not_hide_those_behind_them(backend: Backend, runs: Runs) -> None:
    """They are given out again until they are seen to; a sweep that was full passes over what it has given out."""
    first, second, third = (runs.started(f"late-{number}", run_timeout_ms=5_000 + number) for number in range(3))
    backend.pass_time(5_010)
    for _ in range(2):
        assert runs.sweep(limit=1).fire == (f"{first}/run",)
    found = runs.sweep(limit=1, skip_due=1)
    assert found.fire == (f"{second}/run",)
    assert 0 < found.next_due_ms <= backend.now_ms()
    found = runs.sweep(limit=2, skip_due=2)
    assert (found.fire, found.next_due_ms) == ((f"{third}/run",), 0), "what was passed over is not what comes next"


def test_timers_are_not_passed_over_with_deadlines(backend: Backend, runs: Runs) -> None:
    timed = runs.with_timer(1_000)
    deadline = runs.started("late", run_timeout_ms=5_000)
    backend.pass_time(5_001)
    found = runs.sweep(limit=5, skip_due=1)
    assert found.fire == (f"{timed}/1/timer",)
    assert runs.sweep(limit=5).fire == (f"{deadline}/run",), "the timer is in hands now"


# -- counts -----------------------------------------------------------------------------------------------------------


def test_what_waits_is_counted_with_the_time_of_the_first(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    keys = runs.keys(attempt.run_id)
    timers, sent = runs.members(keys.timers), runs.members(keys.pending)
    now_ms, (shard,) = backend.store.timers.counts()
    assert abs(now_ms - backend.now_ms()) < 60_000
    assert (shard.open, shard.timers, shard.pending) == (1, len(timers), 1)
    assert shard.first_pending == tuple(sent.values())
    assert shard.first_timer == (min(timers.values()),)
    assert shard.first_outbox == ()
