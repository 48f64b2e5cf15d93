"""Attempts on workers that claim nothing: their time begins, a report ends them, what they left is found once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.store.attempts import AttemptId
from tests.store.backends import Backend
from tests.store.runs import Runs


def timers(runs: Runs, attempt: AttemptId) -> dict[str, int]:
    found = runs.members(runs.keys(attempt.run_id).timers)
    return {member.rpartition("/")[2]: due for member, due in found.items()}


def test_the_time_of_an_attempt_begins_once(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    backend.call("ZADD", runs.keys(attempt.run_id).timers, 5, f"{attempt.run_id}/1/start")
    before = backend.now_ms()
    assert backend.store.foreign.await_report(attempt, close_ms=60_000).status == "waiting"
    begun = timers(runs, attempt)
    assert "start" not in begun
    assert before <= begun["close"] - 60_000 <= backend.now_ms()
    assert f"{attempt.run_id}/1" in runs.members(runs.keys(attempt.run_id).pending), "it stays unclaimed"
    with backend.unchanged():
        assert backend.store.foreign.await_report(attempt, close_ms=90_000).status == "waiting"


def test_a_claim_puts_it_right(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    backend.store.foreign.await_report(attempt, close_ms=1)
    assert runs.claim(attempt, close_ms=60_000).granted
    assert timers(runs, attempt)["close"] > backend.now_ms()


def test_a_message_sent_again_has_its_time_again(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    backend.store.foreign.await_report(attempt, close_ms=1)
    backend.store.attempts.dispatch(attempt, state="scheduled", entry=b"e")
    assert "close" not in timers(runs, attempt)


@pytest.mark.parametrize("changed", [{"attempt": 2}, {"token": "x"}, {"seq": 9}])
def test_the_time_of_something_else_does_not_begin(
    backend: Backend, runs: Runs, changed: dict[str, int | str]
) -> None:
    attempt = replace(runs.with_activity(), **changed)  # type: ignore[arg-type]
    with backend.unchanged():
        answer = backend.store.foreign.await_report(attempt, close_ms=1)
        assert (answer.status, answer.detail) == ("dropped", "not scheduled")


def test_the_time_does_not_begin_when_it_is_over(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    with backend.unchanged():
        assert backend.store.foreign.await_report(attempt, close_ms=1).detail == "not scheduled"
    backend.store.runs.end(attempt.run_id, status="terminated", code=75, details=[])
    with backend.unchanged():
        assert backend.store.foreign.await_report(attempt, close_ms=1).detail == "run terminated"


def test_a_late_report_of_an_earlier_attempt_says_nothing_of_the_next_message(backend: Backend, runs: Runs) -> None:
    """It was taken for one that has left the queue: all that was sent before and waits there was sent again."""
    first = runs.with_activity()
    runs.claim(first, queue="elsewhere")
    assert runs.report(first, "retry", delay_ms=0).status == "retry"
    second = replace(first, attempt=2)
    assert backend.store.attempts.dispatch(second, state="backoff", entry=b"e").status == "outbox"
    for late in (first, replace(second, token="another run's")):
        backend.store.foreign.note_report(late, queue="orders", leftover="a t", delay_ms=0)
    frontier = backend.store.attempts.frontier(first.run_id, "orders")
    backend.store.foreign.note_report(second, queue="orders", leftover="a t", delay_ms=0)
    assert frontier == 0 < backend.store.attempts.frontier(first.run_id, "orders")
    assert runs.members(runs.keys(first.run_id).leftovers), "what it left is deleted all the same"


def test_a_report_moves_the_frontier_of_its_queue(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    foreign, attempts = backend.store.foreign, backend.store.attempts
    sent = runs.members(runs.keys(attempt.run_id).pending)[f"{attempt.run_id}/1"]
    foreign.note_report(attempt, queue="", leftover="a t", delay_ms=0)
    assert attempts.frontier(attempt.run_id, "orders") == 0
    foreign.note_report(attempt, queue="orders", leftover="a t", delay_ms=0)
    assert attempts.frontier(attempt.run_id, "orders") == sent
    backend.call("HSET", runs.keys(attempt.run_id).frontier, "orders", sent + 5)
    foreign.note_report(attempt, queue="orders", leftover="a t", delay_ms=0)
    assert attempts.frontier(attempt.run_id, "orders") == sent + 5
    runs.claim(attempt)
    foreign.note_report(attempt, queue="other", leftover="a t", delay_ms=0)
    assert attempts.frontier(attempt.run_id, "other") == 0, "a second report shows nothing"


def test_what_an_attempt_left_is_found_when_it_is_due_and_once(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    backend.store.foreign.note_report(attempt, queue="", leftover="id task", delay_ms=10_000)
    assert runs.sweep().leftovers == ()
    backend.pass_time(10_001)
    assert runs.sweep().leftovers == ("id task",)
    assert runs.sweep().leftovers == ()


def test_workers_say_what_they_take_from(backend: Backend) -> None:
    foreign = backend.store.foreign
    assert foreign.note_consumer("a@h", ["celery", "größe"], silent_ms=1_000) == {"a@h": ["celery", "größe"]}
    assert foreign.note_consumer("b@h", ["shop"], silent_ms=1_000) == {
        "a@h": ["celery", "größe"], "b@h": ["shop"],
    }  # fmt: skip
    assert foreign.note_consumer("a@h", [], silent_ms=1_000) == {"b@h": ["shop"]}
    assert foreign.note_consumer("c@h", ["shop"], silent_ms=-1) == {}, "all have been silent for too long"
    assert foreign.note_consumer("d@h", [], silent_ms=10**9) == {}, "and are forgotten"
