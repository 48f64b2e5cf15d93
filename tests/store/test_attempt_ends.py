"""Activities that are asked to stop, that somebody else completes, and that a step claims for its own process."""

from __future__ import annotations

import pytest

from orchestration.store.attempts import AttemptId, backoff_state, claimed_state
from tests.store.backends import Backend
from tests.store.runs import Runs


def _state(backend: Backend, attempt: AttemptId) -> str:
    found = backend.store.attempts.read(attempt.run_id, attempt.seq)
    return found[1].state if found else "closed"


def _deadlines(runs: Runs, attempt: AttemptId) -> set[str]:
    return {member.rpartition("/")[2] for member in runs.members(runs.keys(attempt.run_id).timers)}


def _cancel(backend: Backend, runs: Runs, attempt: AttemptId) -> None:
    backend.store.runs.deliver(attempt.run_id, b"signal")
    runs.commit(runs.lease(attempt.run_id), ["cancel", str(attempt.seq), b"canceled"])


# -- somebody else completes it ---------------------------------------------------------------------------------------


def test_an_attempt_left_to_somebody_else_belongs_to_no_process_and_keeps_its_deadlines(
    backend: Backend, runs: Runs
) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    assert runs.report(attempt, "external").status == "external"
    assert _state(backend, attempt) == "external"
    assert backend.store.workers.claims("worker") == []
    assert _deadlines(runs, attempt) == {"close", "beat", "whole"}
    assert runs.inbox(attempt.run_id) == []
    with backend.unchanged("dropped:attempt external"):
        assert runs.report(attempt, "external").detail == "attempt external"
    assert runs.claim(attempt).why == "external"
    assert backend.store.attempts.heartbeat(attempt, details=b"d", beat_ms=9_000) == ""
    assert runs.report(attempt, claimed_by="-", request_id="r").status == "wake"
    assert _deadlines(runs, attempt) == set()
    assert runs.inbox(attempt.run_id) == [b"completed"]


@pytest.mark.parametrize("outcome", ["completed", "failed", "retry"])
def test_a_request_reports_once_whatever_it_says(backend: Backend, runs: Runs, outcome: str) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    assert runs.report(attempt, outcome, request_id="r").status in ("wake", "retry")
    with backend.unchanged():
        for again in ("completed", "failed", "retry"):
            delivery = runs.report(attempt, again, request_id="r")
            assert (delivery.status, delivery.detail) == ("duplicate", outcome)
    backend.check()


def test_a_report_that_is_dropped_is_not_remembered(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    other = AttemptId(attempt.run_id, 1, 1, "other")
    assert runs.report(other, request_id="r").status == "dropped"
    assert runs.report(attempt, request_id="r").status == "wake"


# -- it is asked to stop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["claimed", "external"])
def test_a_running_activity_is_told_that_it_should_stop(backend: Backend, runs: Runs, state: str) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    if state == "external":
        runs.report(attempt, "external")
    _cancel(backend, runs, attempt)
    assert _state(backend, attempt) == state
    assert backend.store.attempts.heartbeat(attempt, details=b"", beat_ms=0) == "cancelled"
    with backend.unchanged():
        assert runs.report(attempt, "retry").status == "cancelled"
    assert runs.inbox(attempt.run_id) == []
    assert runs.report(attempt, "failed").status == "wake"
    runs.commit(runs.lease(attempt.run_id), ["shut", "1", "answered"])
    assert backend.call("HGETALL", runs.keys(attempt.run_id).open(attempt.run_id)) in ({}, [])


@pytest.mark.parametrize("state", ["scheduled", "backoff", "waiting"])
def test_an_activity_that_nobody_runs_is_answered_at_once_and_never_begun(
    backend: Backend, runs: Runs, state: str
) -> None:
    attempt = runs.with_activity()
    if state != "scheduled":
        runs.claim(attempt)
        runs.report(attempt, "retry" if state == "backoff" else "waiting")
    _cancel(backend, runs, attempt)
    assert runs.inbox(attempt.run_id) == [b"canceled"]
    assert _state(backend, attempt) == "reported"
    assert _deadlines(runs, attempt) == set()
    assert runs.members(runs.keys(attempt.run_id).pending) == {}
    number = 2 if state == "backoff" else 1
    again = AttemptId(attempt.run_id, 1, number, "token")
    assert runs.claim(again, retries=1).why == "reported"
    assert backend.store.attempts.dispatch(again, state="scheduled", entry=b"e").status == "dropped"


def test_an_answer_that_was_there_before_stands(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    runs.report(attempt)
    lease = runs.lease(attempt.run_id)
    runs.commit(lease, ["cancel", "1", b"canceled"], consumed=0)
    assert runs.inbox(attempt.run_id) == [b"completed"]


# -- a step claims it for its own process -----------------------------------------------------------------------------


def test_a_step_claims_an_attempt_for_its_own_process(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    attempt = AttemptId(run_id, 1, 1, "token")
    due = backend.now_ms() + 1000
    delivery = backend.store.runs.commit(
        runs.lease(run_id),
        runs.step(
            ["open", "1", b"activity"], ["open", "1:s", claimed_state(attempt, "worker", due - 1000)],
            ["claim", f"{run_id}/1"], ["timer", f"{run_id}/1/close", due],
        ),
        claimed_by="worker",
    )  # fmt: skip
    assert delivery.status == "done"
    assert backend.store.workers.claims("worker") == [(run_id, 1)]
    assert _state(backend, attempt) == "claimed"
    assert runs.claim(attempt).why == "claimed already"
    assert runs.report(attempt).status == "wake"
    assert backend.store.workers.claims("worker") == []
    backend.check()


def test_a_step_leaves_the_next_attempt_to_others(backend: Backend, runs: Runs) -> None:
    due = backend.now_ms() + 60_000
    run_id = runs.sleeping(
        ["open", "1", b"activity"], ["open", "1:s", backoff_state(AttemptId("", 1, 2, "token"), due)],  # type: ignore[arg-type]
        ["timer", "RUN/1/retry", due],
    )  # fmt: skip
    attempt = AttemptId(run_id, 1, 2, "token")
    assert _state(backend, attempt) == "backoff"
    assert runs.claim(attempt).why == "backoff"
    assert backend.store.attempts.dispatch(attempt, state="backoff", entry=b"e").status == "outbox"
    assert runs.claim(attempt).granted
