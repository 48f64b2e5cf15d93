"""An activity's result reported and its step committed in one go, and holders that catch up instead of reading all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestration.errors import StoreError
from orchestration.store.attempts import AttemptId
from orchestration.store.results import Delivery, Lease, Step
from tests.store.backends import Backend
from tests.store.runs import DIGEST, Runs


def _believed(runs: Runs, attempt: AttemptId) -> Lease:
    record = runs.store.runs.record(attempt.run_id)
    return Lease(attempt.run_id, record.number("fence"), record.number("time"), record.number("length"), 1, ())


def _finish(runs: Runs, attempt: AttemptId, believed: Lease | None = None, **changed: Any) -> Delivery:
    options: dict[str, Any] = {
        "workflow_id": "order-1", "digest": DIGEST, "commit_id": f"commit-{runs.number()}", "owner": "worker",
        "events": [b"result", b"event"], "ops": [["shut", str(attempt.seq), "answered"]], **changed,
    }  # fmt: skip
    return runs.store.runs.finish(believed or _believed(runs, attempt), Step(**options), attempt, claimed_by="worker")


def test_a_result_and_its_step_are_one_write(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    believed = _believed(runs, attempt)
    answer = _finish(runs, attempt, believed, commit_id="c", pushes=runs.push())
    assert (answer.status, answer.detail) == ("done", "3 3")
    assert list(backend.store.runs.history(attempt.run_id)) == [b"event", b"result", b"event"]
    assert backend.store.runs.open_commands(attempt.run_id) == {}
    assert runs.members(runs.keys(attempt.run_id).timers) == {}
    assert backend.store.workers.claims("worker") == []
    assert runs.queue() == [b"wake"]
    with backend.unchanged():
        assert _finish(runs, attempt, believed, commit_id="c", pushes=runs.push()) == answer
        assert _finish(runs, attempt, believed).detail == "fence"
        assert _finish(runs, attempt).detail == "attempt"


def test_the_message_of_what_has_ended_is_looked_out_for_no_more(runs: Runs) -> None:
    attempt = runs.with_activity()
    assert _finish(runs, attempt).status == "done"
    assert runs.members(runs.keys(attempt.run_id).pending) == {}


def test_a_step_that_causes_an_input_goes_on(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    answer = _finish(runs, attempt, ops=[["shut", "1", "answered"], ["input", b"own"]])
    assert answer.lease is not None
    assert (answer.lease.inputs, answer.lease.fence, answer.lease.length) == ((b"own",), 3, 3)
    with backend.unchanged():
        assert backend.store.runs.take_lease(attempt.run_id, "other").status == "busy"


def test_the_last_result_ends_the_run(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    assert _finish(runs, attempt, ending="completed").status == "done"
    assert backend.store.runs.record(attempt.run_id).status == "completed"


@pytest.mark.parametrize("why", ["fence", "lease", "time", "inbox", "attempt"])
def test_what_came_in_between_sends_the_result_the_ordinary_way(backend: Backend, runs: Runs, why: str) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    believed = _believed(runs, attempt)
    if why == "fence":
        backend.store.runs.park(attempt.run_id, fence=2, kind="k", reason="r")
    elif why == "lease":
        backend.store.runs.deliver(attempt.run_id, b"in", owner="other")
    elif why == "time":
        believed = replace(believed, time_ms=backend.now_ms() + 60_000)
    elif why == "inbox":
        backend.store.runs.deliver(attempt.run_id, b"in")
    else:
        runs.report(attempt, "retry")
        backend.store.attempts.dispatch(replace(attempt, attempt=2), state="backoff", entry=b"", pushes=runs.push())
    before = runs.queue()
    with backend.unchanged():
        asked = replace(attempt, attempt=3) if why == "attempt" else attempt
        answer = _finish(runs, asked, believed, pushes=runs.push())
    assert (answer.status, answer.detail) == ("slow", why)
    assert runs.queue() == before


@pytest.mark.parametrize("changed", [{"token": "x"}, {"seq": 9}, {"attempt": 2}])
def test_the_result_of_something_else_is_not_committed(
    backend: Backend, runs: Runs, changed: dict[str, int | str]
) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    with backend.unchanged():
        assert _finish(runs, replace(attempt, **changed)).detail == "attempt"  # type: ignore[arg-type]


def test_a_success_of_an_earlier_attempt_counts(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    runs.report(attempt, "retry", delay_ms=1_000, claimed_by="sweep")
    assert _finish(runs, attempt).status == "done"
    assert runs.members(runs.keys(attempt.run_id).timers) == {}
    assert backend.store.attempts.read(attempt.run_id, 1) is None


@pytest.mark.parametrize("how", ["queue", "op"])
def test_what_cannot_be_written_stops_it_before_it_writes(backend: Backend, runs: Runs, how: str) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    backend.call("SET", "broker:orders", "x")
    ops = [["shut", "1", "answered"], *([["shut", "1"]] if how == "op" else [])]
    pushes = runs.push() if how == "queue" else runs.push("broker:fine")
    with backend.unchanged(), pytest.raises(StoreError, match=r"broker:orders|no such op"):
        _finish(runs, attempt, ops=ops, pushes=pushes)


@pytest.mark.parametrize(("known", "tail"), [(-1, 0), (0, 5), (3, 2), (5, 0), (9, 0)])
def test_a_lease_brings_what_its_holder_missed(runs: Runs, known: int, tail: int) -> None:
    run_id = runs.started()
    events = [b"%d" % number for number in range(5)]
    runs.commit(runs.lease(run_id), ["input", b"in"], events=events)
    lease = runs.store.runs.take_lease(run_id, "me", known=known).lease
    assert lease is not None
    assert lease.tail == tuple(events[len(events) - tail :])
    assert lease.inputs == (b"in",)


@pytest.mark.parametrize("events", [[b"e"] * 300, [b"e" * 600_000] * 2], ids=["many", "large"])
def test_a_holder_that_missed_much_reads_the_history(runs: Runs, events: list[bytes]) -> None:
    run_id = runs.started()
    runs.commit(runs.lease(run_id), ["input", b"in"], events=events)
    lease = runs.store.runs.take_lease(run_id, "me", known=0).lease
    assert lease is not None
    assert lease.tail == ()


def test_reports_and_timers_bring_the_tail_too(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    lease = runs.report(attempt, owner="me", known=0).lease
    assert lease is not None
    assert lease.tail == (b"event",)
    run_id = runs.sleeping(
        ["open", "1", b"t"], ["timer", "RUN/1/timer", backend.now_ms() - 1], workflow_id="order-2"
    )  # fmt: skip
    lease = backend.store.timers.fire(run_id, 1, owner="me", known=0).lease
    assert lease is not None
    assert lease.tail == (b"event",)
