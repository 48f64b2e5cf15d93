"""Runs that are paused and go on again, and runs that are moved to other code."""

from __future__ import annotations

import pytest

from orchestration.types import RunId
from tests.store.backends import Backend
from tests.store.runs import DIGEST, RETENTION_MS, Runs


def test_a_paused_run_takes_inputs_and_makes_no_step(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    run_id = attempt.run_id
    assert backend.store.repairs.pause(run_id, by="ana", note="the bank is away").status == "paused"
    assert backend.store.runs.deliver(run_id, b"in", owner="me", pushes=runs.push()).status == "accepted"
    assert runs.claim(attempt).granted
    assert runs.report(attempt, owner="me").status == "accepted"
    assert runs.inbox(run_id) == [b"in", b"completed"]
    assert runs.queue() == []  # nobody is woken
    assert runs.members(runs.keys(run_id).ready) == {}
    assert backend.store.runs.take_lease(run_id, "me").detail == "paused"
    record = backend.store.runs.record(run_id, extra=True)
    assert (record.status, record.number("fence")) == ("paused", 3)
    assert backend.store.repairs.resume(run_id).status == "running"
    assert backend.store.runs.record(run_id).number("fence") == 4, "what was seen of it before does not count any more"
    assert runs.sweep().runs == (run_id,)
    assert runs.lease(run_id).inputs == (b"in", b"completed")
    record = backend.store.runs.record(run_id, extra=True)
    assert "paused" not in record.fields
    assert "paused" not in record.extra


def test_a_run_that_waits_for_a_worker_is_left_alone_once_it_is_paused(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    backend.pass_time(60_000)
    assert runs.sweep().runs == (run_id,)
    backend.store.repairs.pause(run_id, by="ana", note="")
    backend.pass_time(60_000)
    assert runs.sweep().runs == ()


def test_a_timer_of_a_paused_run_fires_into_its_inbox(backend: Backend, runs: Runs) -> None:
    run_id = runs.with_timer(1_000)
    backend.store.repairs.pause(run_id, by="", note="")
    backend.pass_time(1_001)
    assert backend.store.timers.fire(run_id, 1).status == "accepted"
    assert runs.inbox(run_id) == [b"\x93\x04\x01"]
    assert runs.members(runs.keys(run_id).ready) == {}


def test_pausing_refuses_the_commit_of_a_holder_at_work(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    backend.store.repairs.pause(run_id, by="ana", note="")
    with backend.unchanged():
        assert runs.commit(lease).status == "fenced"
    backend.store.repairs.resume(run_id)
    with backend.unchanged():
        assert runs.commit(lease).status == "fenced"
    assert runs.commit(runs.lease(run_id)).status == "done"


def test_paused_again_a_run_takes_the_new_note(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    backend.store.repairs.pause(run_id, by="ana", note="one")
    first = backend.store.runs.record(run_id, extra=True)
    assert backend.store.repairs.pause(run_id, by="ben", note="two").status == "paused"
    again = backend.store.runs.record(run_id, extra=True)
    assert first.fields == again.fields
    assert first.extra["paused"] != again.extra["paused"]


def test_what_is_not_running_is_not_paused_and_what_is_not_paused_not_resumed(backend: Backend, runs: Runs) -> None:
    parked, ended, running = runs.sleeping(), runs.ended("order-2"), runs.started("order-3")
    backend.store.runs.park(parked, fence=2, kind="k", reason="r")
    unknown = backend.store.runs.new_id("x")
    with backend.unchanged():
        for run_id, status in ((parked, "parked"), (ended, "completed"), (unknown, "unknown")):
            assert backend.store.repairs.pause(run_id, by="", note="").detail == status
            assert backend.store.repairs.resume(run_id).detail == status
        assert backend.store.repairs.resume(running).status == "running"  # a resume whose reply was lost


def test_a_paused_run_is_ended_from_outside(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    backend.store.repairs.pause(run_id, by="", note="")
    assert backend.store.runs.end(run_id, status="terminated", code=75, details=[]).status == "ended"


def test_runs_are_read_page_by_page_also_when_they_began_at_once(backend: Backend, runs: Runs) -> None:
    ids = {runs.started(f"order-{number}") for number in range(12)}  # in memory all in the same millisecond
    backend.pass_time(10)
    ids |= {runs.started(f"later-{number}") for number in range(5)}
    pages = list(backend.store.runs.pages("open", size=3))
    assert sorted(run_id for page in pages for run_id in page) == sorted(ids)
    assert max(map(len, pages)) <= 3
    assert list(backend.store.runs.pages("closed")) == []


def test_parked_runs_are_counted_by_kind(backend: Backend, runs: Runs) -> None:
    for number, kind in enumerate(["limit", "engine", "limit"]):
        run_id = runs.sleeping(workflow_id=f"order-{number}")
        backend.store.runs.park(run_id, fence=2, kind=kind, reason="r")
    assert backend.store.runs.parked_kinds() == {"limit": 2, "engine": 1}


# -- change_bundle ----------------------------------------------------------------------------------------------------

OTHER = "e" * 64


def move(backend: Backend, run_id: RunId, fence: int, old: str = DIGEST, new: str = OTHER) -> int | None:
    return backend.store.repairs.change_bundle(run_id, fence=fence, old=old, new=new, code=b"other")


def test_a_run_is_moved_to_other_code_and_keeps_where_it_was(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    assert move(backend, run_id, 2) == 3
    record = backend.store.runs.record(run_id)
    assert (record.fields["bundle"], record.moves, record.lenient_until) == (OTHER, ((1, DIGEST),), 1)
    keys = runs.keys(run_id)
    assert backend.call("HGETALL", keys.bundles) in ({OTHER.encode(): b"1"}, [OTHER.encode(), b"1"])
    assert backend.store.runs.bundle(run_id, OTHER) == b"other"
    assert backend.call("PTTL", keys.bundle(DIGEST)) > RETENTION_MS  # the last run on it is gone
    with backend.unchanged():
        assert move(backend, run_id, 2) == 3  # its reply was lost
    assert move(backend, run_id, 3, OTHER, DIGEST) == 4
    assert backend.call("PTTL", keys.bundle(DIGEST)) == -1
    assert backend.store.runs.record(run_id).moves == ((1, DIGEST), (1, OTHER))


def test_a_move_that_something_came_in_between_writes_nothing(backend: Backend, runs: Runs) -> None:
    run_id, ended = runs.sleeping(), runs.ended("order-2")
    with backend.unchanged():
        assert move(backend, run_id, 1) is None
        assert move(backend, run_id, 2, OTHER, "f" * 64) is None
        assert move(backend, run_id, 2, DIGEST, DIGEST) is None
        assert move(backend, ended, backend.store.runs.record(ended).number("fence")) is None
        assert move(backend, backend.store.runs.new_id("x"), 1) is None


def test_a_moved_run_takes_no_commit_of_a_machine_with_the_old_code(backend: Backend, runs: Runs) -> None:
    """Also of one that was given a lease after the move: it may have kept its machine."""
    run_id = runs.sleeping()
    backend.store.runs.deliver(run_id, b"in")
    before = runs.lease(run_id)
    move(backend, run_id, 2)
    after = runs.lease(run_id)
    with backend.unchanged():
        assert runs.commit(before).status == "fenced"
        assert runs.commit(after).status == "fenced"
    assert runs.commit(after, digest=OTHER).status == "done"


def test_the_code_that_other_runs_are_on_stays(backend: Backend, runs: Runs) -> None:
    run_id, other = runs.sleeping(), runs.started("order-2")
    move(backend, run_id, 2)
    assert backend.call("PTTL", runs.keys(other).bundle(DIGEST)) == -1
    assert backend.store.runs.end(run_id, status="terminated", code=75, details=[]).status == "ended"
    assert backend.call("PTTL", runs.keys(run_id).bundle(OTHER)) > RETENTION_MS


@pytest.mark.parametrize("status", ["paused", "parked"])
def test_a_run_that_stands_still_is_moved(backend: Backend, runs: Runs, status: str) -> None:
    run_id = runs.sleeping()
    if status == "paused":
        backend.store.repairs.pause(run_id, by="", note="")
    else:
        backend.store.runs.park(run_id, fence=2, kind="k", reason="r")
    assert move(backend, run_id, 3) == 4
    assert backend.store.runs.record(run_id).status == status
