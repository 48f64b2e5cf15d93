"""Activity attempts: claimed once, ended once, retried as the engine says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.errors import StoreError
from orchestration.store.attempts import AttemptId, first_state
from orchestration.store.base import StoreOptions
from orchestration.store.store import Store
from tests.store.backends import Backend
from tests.store.runs import Runs


def _timers(runs: Runs, attempt: AttemptId) -> set[str]:
    return {member.rpartition("/")[2] for member in runs.members(runs.keys(attempt.run_id).timers)}


def _state(backend: Backend, attempt: AttemptId) -> str:
    found = backend.store.attempts.read(attempt.run_id, attempt.seq)
    return found[1].state if found else "closed"


# -- claim ------------------------------------------------------------------------------------------------------------


def test_a_claim_is_granted_once(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    sent = runs.members(runs.keys(attempt.run_id).pending)[f"{attempt.run_id}/1"]
    before = backend.now_ms()
    claim = runs.claim(attempt)
    assert claim.granted
    assert before <= claim.time_ms <= backend.now_ms()
    assert _timers(runs, attempt) == {"close", "beat", "whole"}
    assert runs.members(runs.keys(attempt.run_id).pending) == {}
    assert backend.store.attempts.frontier(attempt.run_id, "orders") == sent
    assert backend.store.attempts.frontier(attempt.run_id, "other") == 0
    assert backend.store.workers.claims("worker") == [(attempt.run_id, 1)]
    found = backend.store.attempts.read(attempt.run_id, 1)
    assert found is not None
    assert (found[0], found[1].attempt, found[1].state, found[1].owner) == (b"activity", 1, "claimed", "worker")
    with backend.unchanged("refused:claimed already"):
        refused = runs.claim(attempt, owner="other")
    assert (refused.granted, refused.why) == (False, "claimed already")
    assert backend.store.runs.record(attempt.run_id).number("refused:claimed already") == 1


def test_the_same_claim_again_is_granted_again(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    assert runs.claim(attempt, nonce="n").granted
    with backend.unchanged():
        assert runs.claim(attempt, nonce="n").granted


@pytest.mark.parametrize(
    ("changed", "why"),
    [({"attempt": 2}, "other attempt"), ({"token": "x"}, "other token"), ({"seq": 9}, "activity closed")],
)
def test_a_claim_of_something_else_is_refused(
    backend: Backend, runs: Runs, changed: dict[str, int | str], why: str
) -> None:
    attempt = replace(runs.with_activity(), **changed)  # type: ignore[arg-type]
    for _ in range(2):
        with backend.unchanged(f"refused:{why}"):
            assert runs.claim(attempt).why == why


def test_a_claim_in_a_run_that_ended_is_refused(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    backend.store.runs.end(attempt.run_id, status="terminated", code=75, details=[])
    with backend.unchanged():
        assert runs.claim(attempt).why == "run terminated"
        assert runs.claim(replace(attempt, run_id=backend.store.runs.new_id("x"))).why == "run unknown"


def test_a_claim_while_the_next_attempt_is_not_due_is_refused(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    runs.report(attempt, "retry", delay_ms=1_000)
    with backend.unchanged("refused:backoff"):
        assert runs.claim(replace(attempt, attempt=2)).why == "backoff"


def test_the_frontier_only_moves_on(backend: Backend, runs: Runs) -> None:
    early = runs.with_activity()
    backend.pass_time(50)
    late = AttemptId(
        runs.sleeping(["open", "1", b"a"], ["open", "1:s", b"\x96\x01\xa5token\xa9scheduled\xa0\xa0\xa10"],
                      ["sent", "RUN/1"], workflow_id="order-2"), 1, 1, "token",
    )  # fmt: skip
    runs.claim(late)
    seen = backend.store.attempts.frontier(late.run_id, "orders")
    runs.claim(early)
    assert backend.store.attempts.frontier(late.run_id, "orders") == seen


# -- report -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_the_end_of_an_attempt_becomes_an_input(backend: Backend, runs: Runs, outcome: str) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    assert runs.report(attempt, outcome).status == "wake"
    assert runs.inbox(attempt.run_id) == [outcome.encode()]
    assert _timers(runs, attempt) == set()
    assert _state(backend, attempt) == "reported"
    assert backend.store.workers.claims("worker") == []
    with backend.unchanged("dropped:reported already"):
        again = runs.report(attempt, outcome)
    assert (again.status, again.detail) == ("dropped", "reported already")
    assert runs.commit(runs.lease(attempt.run_id), ["shut", "1", "cancelled"]).status == "done"
    with backend.unchanged("dropped:activity closed"):
        assert runs.report(attempt, outcome).detail == "activity closed"
    assert backend.store.runs.record(attempt.run_id).number("dropped:activity closed") == 1


def test_a_report_gives_the_wake_up_out(runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    assert runs.report(attempt, pushes=runs.push()).status == "accepted"
    assert runs.queue() == [b"wake"]


def test_a_report_of_an_attempt_that_nobody_has_claimed_ends_the_look_out_for_its_message(runs: Runs) -> None:
    attempt = runs.with_activity()
    assert list(runs.members(runs.keys(attempt.run_id).pending)) == [f"{attempt.run_id}/1"]
    assert runs.report(attempt).status == "wake"
    assert runs.members(runs.keys(attempt.run_id).pending) == {}


def test_a_report_can_bring_the_lease_with_it(runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    answer = runs.report(attempt, owner="me", pushes=runs.push())
    assert answer.lease is not None
    assert answer.lease.inputs == (b"completed",)
    assert runs.queue() == []


def test_a_report_is_left_to_the_holder(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    backend.store.runs.deliver(attempt.run_id, b"in", owner="other")
    assert runs.report(attempt, owner="me", pushes=runs.push()).status == "accepted"
    assert runs.queue() == []


def test_a_retry_is_the_next_attempt(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    answer = runs.report(attempt, "retry", item=b"failure", delay_ms=1_000)
    due = runs.members(runs.keys(attempt.run_id).timers)[f"{attempt.run_id}/1/retry"]
    assert (answer.status, answer.detail) == ("retry", f"2 {due}")
    assert _timers(runs, attempt) == {"retry", "whole"}
    assert runs.inbox(attempt.run_id) == []
    assert backend.store.attempts.last_failure(attempt.run_id, 1) == b"failure"
    found = backend.store.attempts.read(attempt.run_id, 1)
    assert found is not None
    assert (found[1].attempt, found[1].state, found[1].since_ms) == (2, "backoff", due)
    with backend.unchanged("dropped:other attempt"):
        assert runs.report(attempt, "retry").detail == "other attempt"


def test_a_success_of_an_earlier_attempt_counts_and_its_failure_does_not(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    runs.report(attempt, "retry", delay_ms=1_000, claimed_by="sweep")
    for outcome in ("failed", "retry", "waiting"):
        with backend.unchanged("dropped:other attempt"):
            assert runs.report(attempt, outcome, claimed_by="x").status == "dropped"
    assert runs.report(attempt, "completed").status == "wake"
    assert runs.inbox(attempt.run_id) == [b"completed"]
    assert _timers(runs, attempt) == set()


def test_a_success_of_a_later_attempt_than_the_open_one_is_dropped(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    with backend.unchanged("dropped:other attempt"):
        assert runs.report(replace(attempt, attempt=2)).status == "dropped"
    with backend.unchanged("dropped:other token"):
        assert runs.report(replace(attempt, token="x")).status == "dropped"


def test_celerys_own_retry_waits_and_is_claimed_again(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    for _ in range(2):
        assert runs.report(attempt, "waiting", item=b"failure", delay_ms=9_000).status == "waiting"
    assert _state(backend, attempt) == "waiting"
    with backend.unchanged("refused:claimed already"):
        assert not runs.claim(attempt).granted  # the first message once more
    assert _timers(runs, attempt) == {"close", "whole"}
    assert backend.store.workers.claims("worker") == []
    assert runs.claim(attempt, retries=1).granted
    assert runs.report(attempt).status == "wake"


def test_celerys_own_retry_is_claimed_before_the_body_that_asked_for_it_has_reported(
    backend: Backend, runs: Runs
) -> None:
    """Celery sends the message first and ends the body then; the claim was refused, the attempt lost until its end."""
    attempt = runs.with_activity()
    runs.claim(attempt)
    assert runs.claim(attempt, retries=1, owner="other").granted
    assert not runs.claim(attempt, retries=1, owner="third").granted
    assert runs.report(attempt, "waiting", item=b"failure", delay_ms=9_000, states="claimed").status == "waiting"
    assert _state(backend, attempt) == "claimed"
    assert backend.store.workers.claims("other") != []
    assert runs.report(attempt, claimed_by="other").status == "wake"


def test_a_report_counts_only_in_the_states_that_it_names(backend: Backend, runs: Runs) -> None:
    """A schedule-to-start deadline must not end an attempt that has been claimed meanwhile."""
    attempt = runs.with_activity()
    runs.claim(attempt)
    with backend.unchanged("dropped:attempt claimed"):
        assert runs.report(attempt, "failed", states="scheduled,waiting").detail == "attempt claimed"
    assert runs.report(attempt, "failed", states="claimed").status == "wake"


def test_a_report_to_a_run_that_ended_changes_nothing(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    backend.store.runs.end(attempt.run_id, status="terminated", code=75, details=[])
    assert runs.report(attempt, pushes=runs.push()).detail == "run terminated"
    assert backend.store.workers.claims("worker") == []
    with backend.unchanged():
        assert runs.report(attempt, pushes=runs.push()).detail == "run terminated"
        assert runs.report(replace(attempt, run_id=backend.store.runs.new_id("x"))).detail == "run unknown"


def test_a_late_report_leaves_the_owners_newer_claim_alone(backend: Backend, runs: Runs) -> None:
    """It once took the activity off the list by which a dead worker's claims are found."""
    attempt = runs.with_activity()
    runs.claim(attempt)
    runs.report(attempt, "retry", claimed_by="worker")
    second = replace(attempt, attempt=2)
    backend.store.attempts.dispatch(second, state="backoff", entry=b"", pushes=runs.push())
    assert runs.claim(second).granted
    with backend.unchanged("dropped:other attempt"):
        assert runs.report(attempt, "failed").status == "dropped"
    assert backend.store.workers.claims("worker") == [(attempt.run_id, 1)]


def test_a_deadline_that_was_put_off_is_no_reason(backend: Backend, runs: Runs) -> None:
    """Who saw it pass may come late: by now it is another attempt's, and it stays."""
    attempt = runs.with_activity()
    runs.claim(attempt, close_ms=30_000)
    member = f"{attempt.run_id}/1/close"
    with backend.unchanged():
        assert runs.report(attempt, "failed", timer=member).status == "early"
        assert runs.report(attempt, "failed", timer=f"{attempt.run_id}/1/start").status == "early"
    assert "close" in _timers(runs, attempt)


def test_a_deadline_that_has_passed_ends_the_attempt_or_goes(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt, close_ms=0)
    member = f"{attempt.run_id}/1/close"
    assert runs.report(attempt, "failed", states="waiting", timer=member).detail == "attempt claimed"
    assert "close" not in _timers(runs, attempt)
    assert runs.report(attempt, "failed", timer=member).status == "early"


def test_a_report_of_a_parked_run_is_kept(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    backend.store.runs.park(attempt.run_id, fence=2, kind="k", reason="r")
    assert runs.report(attempt, owner="me", pushes=runs.push()).status == "accepted"
    assert runs.inbox(attempt.run_id) == [b"completed"]
    assert runs.queue() == []


def test_a_broker_key_of_another_type_stops_a_report(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        runs.report(attempt, pushes=runs.push())


# -- dispatch ---------------------------------------------------------------------------------------------------------


def test_a_retry_that_is_due_is_sent(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    runs.report(attempt, "retry", delay_ms=1_000)
    second = replace(attempt, attempt=2)
    sent = backend.store.attempts.dispatch(second, state="backoff", entry=b"e", start_ms=500, pushes=runs.push())
    assert sent.status == "sent"
    assert runs.queue() == [b"wake"]
    assert _timers(runs, attempt) == {"start", "whole"}
    assert set(runs.members(runs.keys(attempt.run_id).pending)) == {f"{attempt.run_id}/1"}
    with backend.unchanged():
        again = backend.store.attempts.dispatch(second, state="backoff", entry=b"e", pushes=runs.push())
    assert (again.status, again.detail) == ("dropped", "not backoff")
    assert runs.claim(second).granted


def test_without_pushes_a_dispatch_leaves_an_entry(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    keys = runs.keys(attempt.run_id)
    for _ in range(2):
        answer = backend.store.attempts.dispatch(attempt, state="scheduled", entry=b"e")
        assert (answer.status, answer.detail) == ("outbox", f"a/{attempt.run_id}/1/1")
        assert backend.call("HGETALL", keys.outbox) == {f"a/{attempt.run_id}/1/1".encode(): b"e"}
    backend.store.timers.finish(attempt.run_id, [answer.detail])


@pytest.mark.parametrize("changed", [{"attempt": 2}, {"token": "x"}, {"seq": 9}])
def test_a_dispatch_of_something_else_is_dropped(backend: Backend, runs: Runs, changed: dict[str, int | str]) -> None:
    attempt = replace(runs.with_activity(), **changed)  # type: ignore[arg-type]
    with backend.unchanged():
        assert backend.store.attempts.dispatch(attempt, state="scheduled", entry=b"").detail == "not scheduled"


def test_a_dispatch_after_the_claim_is_dropped(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt)
    with backend.unchanged():
        assert backend.store.attempts.dispatch(attempt, state="scheduled", entry=b"").status == "dropped"


def test_a_dispatch_in_a_run_that_ended_is_dropped(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    backend.store.runs.end(attempt.run_id, status="terminated", code=75, details=[])
    with backend.unchanged():
        answer = backend.store.attempts.dispatch(attempt, state="backoff", entry=b"", pushes=runs.push())
    assert answer.detail == "run terminated"
    # left over from a release that did not take them off
    keys, member = runs.keys(attempt.run_id), f"{attempt.run_id}/1"
    backend.call("ZADD", keys.timers, 1, f"{member}/retry")
    backend.call("ZADD", keys.pending, 1, member)
    backend.store.attempts.dispatch(attempt, state="backoff", entry=b"", pushes=runs.push())
    assert runs.members(keys.timers) == runs.members(keys.pending) == {}


def test_a_broker_key_of_another_type_stops_a_dispatch(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        backend.store.attempts.dispatch(attempt, state="scheduled", entry=b"", pushes=runs.push())


# -- heartbeat --------------------------------------------------------------------------------------------------------


def test_a_heartbeat_puts_its_deadline_off_and_keeps_the_progress(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    runs.claim(attempt, beat_ms=5_000)
    backend.pass_time(1_000)
    assert backend.store.attempts.heartbeat(attempt, details=b"half", beat_ms=5_000) == ""
    assert backend.store.attempts.heartbeat(attempt, details=b"", beat_ms=5_000) == ""
    due = runs.members(runs.keys(attempt.run_id).timers)[f"{attempt.run_id}/1/beat"]
    assert due >= backend.now_ms() + 4_500
    runs.report(attempt, "retry")
    second = replace(attempt, attempt=2)
    backend.store.attempts.dispatch(second, state="backoff", entry=b"", pushes=runs.push())
    assert runs.claim(second).details == b"half"


def test_a_heartbeat_hears_that_the_attempt_is_not_wanted(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    beat = backend.store.attempts.heartbeat
    with backend.unchanged():
        assert beat(attempt, details=b"d", beat_ms=1_000) == "other attempt"  # not claimed
        assert beat(replace(attempt, seq=9), details=b"d", beat_ms=1_000) == "activity closed"
    runs.claim(attempt)
    with backend.unchanged():
        assert beat(replace(attempt, token="x"), details=b"d", beat_ms=1_000) == "other attempt"
        assert beat(replace(attempt, attempt=2), details=b"d", beat_ms=1_000) == "other attempt"
    backend.store.runs.end(attempt.run_id, status="terminated", code=75, details=[])
    with backend.unchanged():
        assert beat(attempt, details=b"d", beat_ms=1_000) == "run terminated"
        assert beat(replace(attempt, run_id=backend.store.runs.new_id("x")), details=b"", beat_ms=0) == "run unknown"


def test_what_is_closed_is_not_read(backend: Backend, runs: Runs) -> None:
    attempt = runs.with_activity()
    assert backend.store.attempts.read(attempt.run_id, 9) is None
    assert backend.store.attempts.last_failure(attempt.run_id, 1) is None


def test_claims_are_known_for_as_long_as_their_bodies_may_take(backend: Backend, runs: Runs) -> None:
    """A process that died in a body that takes longer than ended runs are kept was not found."""
    attempt = runs.with_activity()
    store = Store(backend.connection, backend.keyspace, StoreOptions(retention_ms=1_000))
    options = {"owner": "worker", "nonce": "n", "beat_ms": 0, "queue": ""}
    assert store.attempts.claim(attempt, close_ms=3_600_000, **options).granted
    other = runs.sleeping(
        ["open", "1", b"activity"], ["open", "1:s", first_state("token")], ["sent", "RUN/1"], workflow_id="order-2"
    )
    assert store.attempts.claim(AttemptId(other, 1, 1, "token"), close_ms=1_000, **options).granted
    backend.pass_time(3_000_000)
    assert (attempt.run_id, 1) in store.workers.claims("worker")
