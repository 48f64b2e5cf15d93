"""Followers of a run: told of every change while they want to be, and at no cost to a run that nobody follows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestration.store.attempts import AttemptId
from orchestration.types import RunId
from tests.store.backends import Backend
from tests.store.runs import Runs

WAIT_S = 2.0
NOT_S = 0.05


def is_told(backend: Backend, run_id: RunId, change: Callable[[], object], wait_s: float = WAIT_S) -> bool:
    """Whether one who listens is told of a change."""
    subscription = backend.store.followers.subscribe(run_id)
    try:
        change()
        return subscription.wait(wait_s)
    finally:
        subscription.close()


def test_every_change_of_a_run_is_told_while_somebody_follows_it(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    run_id, store = attempt.run_id, backend.store
    assert store.followers.follow(run_id, for_ms=60_000).status == "followed"
    again = AttemptId(run_id, attempt.seq, attempt.attempt + 1, attempt.token)
    changes: list[Callable[[], object]] = [
        lambda: runs.claim(attempt),
        lambda: runs.report(attempt, outcome="retry"),
        lambda: store.attempts.dispatch(again, state="backoff", entry=b"e"),
        lambda: store.runs.deliver(run_id, b"input"),
        lambda: runs.commit(runs.lease(run_id)),
        lambda: store.repairs.pause(run_id, by="ana", note="n"),
        lambda: store.repairs.resume(run_id),
        lambda: store.runs.park(run_id, fence=store.runs.record(run_id).number("fence"), kind="k", reason="r"),
        lambda: store.runs.unpark(run_id),
        lambda: store.runs.end(run_id, status="terminated", code=75, details=["x"]),
    ]
    for number, change in enumerate(changes):
        assert is_told(backend, run_id, change), number


def test_a_run_that_nobody_follows_tells_nobody(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    assert not is_told(backend, run_id, lambda: backend.store.runs.deliver(run_id, b"input"), NOT_S)


def test_a_while_ends_and_a_shorter_one_takes_nothing_away(backend: Backend, runs: Runs) -> None:
    run_id, follow = runs.sleeping(), backend.store.followers.follow
    follow(run_id, for_ms=0)
    assert not is_told(backend, run_id, lambda: backend.store.runs.deliver(run_id, b"input"), NOT_S)
    follow(run_id, for_ms=60_000)
    with backend.unchanged():
        follow(run_id, for_ms=1)
    assert is_told(backend, run_id, lambda: backend.store.runs.deliver(run_id, b"input"))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_run_that_has_ended_is_left_as_it_is(backend: Backend, runs: Runs, is_known: bool) -> None:
    run_id = runs.ended() if is_known else backend.store.runs.new_id("order-1")
    with backend.unchanged():
        answer = backend.store.followers.follow(run_id, for_ms=60_000)
    assert (answer.status, answer.detail) == ("closed", "completed" if is_known else "unknown")
