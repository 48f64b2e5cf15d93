"""Runs set aside, let go on, ended from outside, and listed."""

from __future__ import annotations

import msgpack
import pytest

from orchestration.errors import WorkflowNotFoundError
from tests.store.backends import Backend
from tests.store.runs import RETENTION_MS, Runs

PARKED = {"fence": 2, "kind": "limit", "reason": "too much"}

# -- park and unpark --------------------------------------------------------------------------------------------------


def test_a_parked_run_keeps_still(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    backend.store.runs.deliver(run_id, b"in", owner="me")
    assert backend.store.runs.park(run_id, fence=2, kind="limit", reason="too much")
    record = backend.store.runs.record(run_id, extra=True)
    assert (record.status, record.fields["parked"], record.extra["parked"]) == ("parked", "limit", b"too much")
    assert record.number("fence") == 3
    assert set(runs.members(runs.keys(run_id).parked_runs)) == {run_id}
    assert runs.members(runs.keys(run_id).ready) == {}
    assert backend.store.runs.take_lease(run_id, "me").detail == "parked"
    assert backend.store.runs.counts() == {"open": 1, "parked": 1, "closed": 0}
    with backend.unchanged():
        assert backend.store.runs.park(run_id, fence=2, kind="limit", reason="too much")
        assert not backend.store.runs.park(run_id, fence=2, kind="engine", reason="other")
        assert not backend.store.runs.park(run_id, fence=3, kind="limit", reason="other")


def test_parking_a_run_that_has_moved_is_fenced(backend: Backend, runs: Runs) -> None:
    run_id, ended = runs.sleeping(), runs.ended("order-2")
    with backend.unchanged():
        assert not backend.store.runs.park(run_id, fence=1, kind="k", reason="r")
        assert not backend.store.runs.park(ended, fence=1, kind="k", reason="r")
        assert not backend.store.runs.park(backend.store.runs.new_id("x"), fence=1, kind="k", reason="r")


def test_a_run_let_go_on_starts_with_a_clean_count(backend: Backend, runs: Runs) -> None:
    """Its leases were counted on; a run parked for too many of them was parked again at once."""
    run_id = runs.started()
    for _ in range(6):
        lease = runs.lease(run_id)
    assert lease.tries == 6
    backend.store.runs.park(run_id, fence=1, kind="engine", reason="r")
    assert backend.store.runs.unpark(run_id).status == "running"
    assert backend.store.runs.record(run_id).number("fence") == 3, "what was seen of it before does not count any more"
    assert runs.lease(run_id).tries == 1
    record = backend.store.runs.record(run_id, extra=True)
    assert "parked" not in record.fields
    assert "parked" not in record.extra
    assert runs.members(runs.keys(run_id).parked_runs) == {}


def test_the_leases_of_a_step_are_counted_after_a_commit_too(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    backend.store.runs.deliver(run_id, b"in")
    following = runs.commit(lease).lease
    assert following is not None
    assert following.tries == 1
    assert runs.lease(run_id).tries == 2


def test_only_a_parked_run_is_let_go_on(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    with backend.unchanged():
        assert backend.store.runs.unpark(run_id).detail == "running"
        assert backend.store.runs.unpark(backend.store.runs.new_id("x")).detail == "unknown"


def test_a_run_let_go_on_without_inputs_leaves_the_sweeps_list(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    backend.store.runs.park(run_id, fence=2, kind="k", reason="r")
    backend.store.runs.unpark(run_id)
    assert runs.sweep().runs == (run_id,)
    assert backend.store.runs.take_lease(run_id, "me").status == "idle"
    assert runs.members(runs.keys(run_id).ready) == {}


# -- end_run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parked", [False, True])
def test_a_run_is_ended_from_outside(backend: Backend, runs: Runs, parked: bool) -> None:
    attempt = runs.with_activity()
    run_id = attempt.run_id
    if parked:
        backend.store.runs.park(run_id, fence=2, kind="k", reason="r")
    waiting = backend.store.runs.subscribe_end(run_id)
    backend.store.runs.deliver(run_id, b"unread")
    before, fence = backend.now_ms(), backend.store.runs.record(run_id).number("fence")
    answer = backend.store.runs.end(
        run_id, status="terminated", code=75, details=["why", b"by"], outbox_id="c/1", entry=b"entry"
    )
    assert answer.status == "ended"
    assert waiting.wait(5)
    waiting.close()
    last = backend.store.runs.last_event(run_id)
    assert last is not None
    code, time_ms, *details = msgpack.unpackb(last)
    assert (code, details) == (75, ["why", b"by"])
    assert before <= time_ms <= backend.now_ms()
    record = backend.store.runs.record(run_id)
    assert (record.status, record.number("undelivered"), record.number("length")) == ("terminated", 1, 2)
    assert record.number("fence") > fence
    assert record.number("bytes") == sum(map(len, backend.store.runs.history(run_id)))
    with backend.unchanged():
        again = backend.store.runs.end(run_id, status="timed_out", code=75, details=[], outbox_id="c/2", entry=b"")
    assert (again.status, again.detail) == ("closed", "terminated")
    assert backend.store.runs.open_commands(run_id) == {}
    backend.store.timers.finish(run_id, ["c/1"])


def test_the_time_of_the_end_is_never_before_the_last_step(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    ahead = backend.now_ms() + 2**40
    backend.call("HSET", runs.keys(run_id).record(run_id), "time", ahead)
    backend.store.runs.end(run_id, status="terminated", code=75, details=[])
    last = backend.store.runs.last_event(run_id)
    assert last is not None
    assert msgpack.unpackb(last)[1] == ahead


def test_a_request_ends_one_run_of_a_workflow(backend: Backend, runs: Runs) -> None:
    terminated = {"status": "terminated", "code": 75, "details": []}
    run_id = runs.started()
    mark = runs.keys(run_id).request("t/asker/1")
    assert backend.store.runs.end(run_id, **terminated, request_id="t/asker/1").status == "ended"
    assert backend.call("GET", mark) == run_id.encode()
    assert RETENTION_MS - 60_000 < backend.call("PTTL", mark) <= RETENTION_MS
    following = runs.started()
    for repeated in (run_id, following):
        with backend.unchanged():
            assert backend.store.runs.end(repeated, **terminated, request_id="t/asker/1").status == "duplicate"
    assert backend.store.runs.end(following, **terminated, request_id="t/asker/2").status == "ended"
    backend.store.runs.end(runs.started(), **terminated)
    assert backend.store.runs.end(runs.started(), **terminated).status == "ended"


def test_a_request_that_has_ended_nothing_is_not_remembered(backend: Backend, runs: Runs) -> None:
    terminated = {"status": "terminated", "code": 75, "details": [], "request_id": "t/asker/1"}
    ended = runs.ended()
    with backend.unchanged():
        assert backend.store.runs.end(ended, **terminated).status == "closed"
    run_id = runs.sleeping()
    with backend.unchanged():
        assert backend.store.runs.end(run_id, **terminated, unbegun=True).status == "begun"
    assert backend.store.runs.end(run_id, **terminated).status == "ended"


def test_a_run_times_out_when_its_time_is_over(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(run_timeout_ms=5_000)
    timer = f"{run_id}/run"
    with backend.unchanged():
        early = backend.store.runs.end(run_id, status="timed_out", code=76, details=[], timer=timer)
    assert early.status == "early"
    backend.pass_time(5_001)
    assert timer in runs.sweep().fire
    assert backend.store.runs.end(run_id, status="timed_out", code=76, details=[], timer=timer).status == "ended"
    with backend.unchanged():
        again = backend.store.runs.end(run_id, status="timed_out", code=76, details=[], timer=timer)
    assert again.detail == "timed_out"


def test_a_run_that_has_begun_is_not_taken_back(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    with backend.unchanged():
        answer = backend.store.runs.end(run_id, status="cancelled", code=75, details=["revoked", ""], unbegun=True)
    assert answer.status == "begun"


def test_a_run_that_has_not_begun_in_time_is_not_begun_any_more(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(expires_ms=5_000)
    timer = f"{run_id}/expire"
    backend.pass_time(5_001)
    assert timer in runs.sweep().fire
    assert backend.store.runs.take_lease(run_id, "me").status == "idle"
    answer = backend.store.runs.end(
        run_id, status="cancelled", code=75, details=["expired", ""], timer=timer, unbegun=True
    )
    assert (answer.status, backend.store.runs.record(run_id).status) == ("ended", "cancelled")


def test_a_run_that_has_begun_in_time_does_not_expire(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping(expires_ms=5_000)
    timer = f"{run_id}/expire"
    backend.pass_time(5_001)
    assert timer in runs.sweep().fire
    answer = backend.store.runs.end(
        run_id, status="cancelled", code=75, details=["expired", ""], timer=timer, unbegun=True
    )
    assert answer.status == "begun"
    assert timer not in runs.members(runs.keys(run_id).timers)
    backend.store.runs.deliver(run_id, b"in")
    assert backend.store.runs.take_lease(run_id, "me").lease is not None


def test_a_first_step_that_is_being_made_is_a_beginning(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(expires_ms=5_000)
    timer = f"{run_id}/expire"
    backend.pass_time(4_000)
    lease = backend.store.runs.take_lease(run_id, "me").lease
    assert lease is not None
    backend.pass_time(1_001)

    def end(timer: str = "") -> str:
        details = ["not wanted", ""]
        return backend.store.runs.end(
            run_id, status="cancelled", code=75, details=details, timer=timer, unbegun=True
        ).status

    with backend.unchanged():
        assert end() == "begun", "it is asked to cancel, and may clean up"
        assert end(timer) == "early"
    backend.pass_time(backend.store.options.lease_ms)
    assert end(timer) == "ended", "its holder is gone, and nobody begins it any more"


def test_an_early_end_takes_the_expiry_off(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(expires_ms=5_000)
    backend.store.runs.end(run_id, status="terminated", code=75, details=[])
    assert runs.members(runs.keys(run_id).timers) == {}


def test_ending_an_unknown_run_says_so(backend: Backend, runs: Runs) -> None:
    with pytest.raises(WorkflowNotFoundError):
        backend.store.runs.end(backend.store.runs.new_id("x"), status="terminated", code=75, details=[])


# -- reading ----------------------------------------------------------------------------------------------------------


def test_what_is_unknown_is_told(backend: Backend, runs: Runs) -> None:
    unknown = backend.store.runs.new_id("x")
    with pytest.raises(WorkflowNotFoundError, match="'nobody'"):
        backend.store.runs.current("nobody")
    with pytest.raises(WorkflowNotFoundError, match=unknown):
        backend.store.runs.record(unknown)
    known = runs.started()
    assert [record.run_id for record in backend.store.runs.records([unknown, known])] == [known]
    assert backend.store.runs.records([]) == []
    assert backend.store.runs.last_event(known) is None
    assert backend.store.runs.bundle(known, "none") is None
    assert list(backend.store.runs.history(known)) == []


def test_runs_are_listed_the_latest_first(backend: Backend, runs: Runs) -> None:
    ids = []
    for number in range(5):
        ids.append(runs.started(f"order-{number}"))
        backend.pass_time(10)
    listed = backend.store.runs.listing(closed=False, limit=10)
    assert [run_id for run_id, _ in listed] == ids[::-1]
    assert backend.store.runs.listing(closed=False, limit=2) == listed[:2]
    assert backend.store.runs.listing(closed=False, limit=2, before_ms=listed[1][1]) == listed[2:4]
    assert backend.store.runs.listing(closed=True, limit=10) == []
