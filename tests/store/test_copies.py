"""Runs that begin with the history of another one: reset takes its place, fork is another workflow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from orchestration.errors import StoreError
from orchestration.store.attempts import AttemptId, first_state
from orchestration.store.results import Copy, Delivery, Following, Lease, RunRecord
from orchestration.types import RunId
from tests.store.backends import Backend
from tests.store.runs import DIGEST, Runs

TERMINATED = 11


def grown(runs: Runs, **started: Any) -> RunId:
    """A run of five events that waits for an activity, a timer and a child."""
    run_id = runs.started(**started)
    lease = runs.lease(run_id)
    later = runs.backend.now_ms() + 60_000
    ops = [
        ["open", "1", b"activity"], ["open", "1:s", first_state("token")], ["sent", f"{run_id}/1"],
        ["open", "2", b"t"], ["timer", f"{run_id}/2/timer", later], ["open", "3", b"corphan"], ["open", "9", b"cother"],
    ]  # fmt: skip
    assert runs.commit(lease, *ops, events=[b"%d" % number for number in range(1, 6)]).status == "done"
    return run_id


def copy_of(runs: Runs, **changed: Any) -> Copy:
    new_id = runs.store.runs.new_id("order-1")
    run = Following(run_id=new_id, digest=DIGEST, code=b"code", fields={"reset_of": "x/1"}, inputs=[b"in"],
                    pushes=runs.push())  # fmt: skip
    options: dict[str, Any] = {
        "started": b"first", "length": 3,
        "ops": [["open", "1", b"activity"], ["open", "1:s", first_state("new")], ["sent", f"{new_id}/1"]],
        "kept": [3], **changed,
    }  # fmt: skip
    return Copy(run=replace(run, **options.pop("run", {})), **options)


def reset(backend: Backend, record: RunRecord, copy: Copy) -> Delivery:
    chains = backend.store.chains
    return backend.store.repairs.reset(record, copy, code=TERMINATED, details=["why", ""], chains=chains)


def forget_orphans(backend: Backend, run_id: str) -> list[str]:
    """The children that closing left to be ended; taken off."""
    keys = backend.keyspace.of_run(run_id)
    found = [name.decode() for name in backend.call("HKEYS", keys.outbox)]
    backend.store.timers.finish(RunId(run_id), found)
    return found


def _with_input(runs: Runs, run_id: RunId) -> Lease:
    runs.store.runs.deliver(run_id, b"input")
    return runs.lease(run_id)


def test_who_waited_for_a_run_that_has_ended_does_not_wait_for_the_one_in_its_place(
    backend: Backend, runs: Runs
) -> None:
    old = grown(runs, extra={"request": b"outer", "memo:a": b"m", "watch:default/x/1": b"pid"})
    assert runs.commit(_with_input(runs, old), ending="completed").status == "done"
    forget_orphans(backend, old)
    copy = copy_of(runs)
    assert reset(backend, backend.store.runs.record(old), copy).status == "reset"
    assert set(backend.store.runs.record(copy.run.run_id, extra=True).extra) == {"memo:a"}


def test_a_new_run_takes_the_place_of_one(backend: Backend, runs: Runs) -> None:
    old = grown(runs, extra={"request": b"outer", "memo:a": b"m", "watch:default/x/1": b"pid"})
    backend.store.runs.deliver(old, b"unread")
    copy = copy_of(runs)
    new = copy.run.run_id
    ended = backend.store.runs.subscribe_end(old)
    assert reset(backend, backend.store.runs.record(old), copy).status == "reset"
    assert ended.wait(5)
    ended.close()
    assert list(backend.store.runs.history(old))[:5] == [b"1", b"2", b"3", b"4", b"5"]
    code, _, *details = msgpack.unpackb(backend.store.runs.last_event(old) or b"")
    assert (code, details) == (TERMINATED, ["why", ""])
    assert list(backend.store.runs.history(new)) == [b"first", b"2", b"3"]
    one, other = (backend.store.runs.record(run_id, extra=True) for run_id in (old, new))
    assert (one.status, one.fields["next"], other.status) == ("terminated", new, "running")
    assert (other.number("length"), other.number("bytes"), other.number("fence")) == (3, 7, 1)
    assert (other.fields["first"], other.fields["prev"], other.fields["reset_of"]) == (old, old, "x/1")
    assert (other.extra["request"], other.extra["memo:a"]) == (b"outer", b"m")
    assert "watch:default/x/1" in other.extra
    assert "watch:default/x/1" not in one.extra
    assert backend.store.runs.current("order-1") == new
    assert runs.inbox(new) == [b"in"]
    assert runs.queue() == [b"wake"]
    assert runs.members(runs.keys(new).pending).keys() == {f"{new}/1"}
    assert runs.members(runs.keys(new).timers) == {}
    assert forget_orphans(backend, old) == [f"p/{old}/9"]  # the child that goes on is kept
    assert runs.claim(AttemptId(new, 1, 1, "new")).granted
    assert not runs.claim(AttemptId(old, 1, 1, "token")).granted
    lease = runs.lease(new)
    assert (lease.length, lease.inputs) == (3, (b"in",))
    assert runs.commit(lease, ending="completed").status == "done"
    backend.store.timers.finish(RunId(new), [])


def test_the_same_reset_again_is_answered_as_the_first_time(backend: Backend, runs: Runs) -> None:
    record, copy = backend.store.runs.record(grown(runs)), copy_of(runs)
    first = reset(backend, record, copy)
    forget_orphans(backend, record.run_id)
    with backend.unchanged():
        assert reset(backend, record, copy) == first
        other = reset(backend, record, copy_of(runs))
    assert (other.status, other.detail) == ("not_latest", copy.run.run_id)


def test_a_run_that_has_changed_since_is_not_reset(backend: Backend, runs: Runs) -> None:
    run_id = grown(runs)
    record = backend.store.runs.record(run_id)
    backend.store.runs.deliver(run_id, b"in")
    with backend.unchanged():
        assert reset(backend, record, copy_of(runs)).status == "moved"
    record = backend.store.runs.record(run_id)
    backend.store.repairs.pause(run_id, by="", note="")
    with backend.unchanged():
        assert reset(backend, record, copy_of(runs)).status == "moved"
    lease_refused = backend.store.runs.record(run_id)
    keys = runs.keys(run_id)
    backend.call("HSET", keys.outbox, f"k/{run_id}/3", b"e")
    backend.call("ZADD", keys.outbox_due, 1, f"k/{run_id}/3")
    with backend.unchanged():  # the child is being started at this moment
        assert reset(backend, lease_refused, copy_of(runs)).status == "moved"
    backend.store.timers.finish(run_id, [f"k/{run_id}/3"])
    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        reset(backend, lease_refused, copy_of(runs))
    backend.call("DEL", "broker:orders")
    assert reset(backend, lease_refused, copy_of(runs)).status == "reset"
    forget_orphans(backend, run_id)


def test_a_step_in_the_making_is_refused_by_a_reset(backend: Backend, runs: Runs) -> None:
    run_id = grown(runs)
    backend.store.runs.deliver(run_id, b"in")
    lease = runs.lease(run_id)
    reset(backend, backend.store.runs.record(run_id), copy_of(runs))
    forget_orphans(backend, run_id)
    with backend.unchanged():
        assert runs.commit(lease).status == "fenced"


@pytest.mark.parametrize("is_done", [True, False])
def test_a_run_that_has_ended_is_reset_and_who_was_told_of_its_end_is_left_alone(
    backend: Backend, runs: Runs, is_done: bool
) -> None:
    run_id = runs.started(extra={"request": b"outer"}, fields={"type": "a:b", "parent": "p/1"})
    runs.commit(runs.lease(run_id), events=[b"1", b"2", b"3", b"4"], ending="failed")
    copy = copy_of(runs, run={"fields": {"task": "t"}})
    record = backend.store.runs.record(run_id)
    if not is_done:
        keys = runs.keys(run_id)
        backend.call("HSET", keys.outbox, f"c/{run_id}", b"e")
        backend.call("ZADD", keys.outbox_due, 1, f"c/{run_id}")
        with backend.unchanged():
            assert reset(backend, record, copy).status == "moved"
        backend.store.timers.finish(run_id, [f"c/{run_id}"])
    assert reset(backend, record, copy).status == "reset"
    old, new = (backend.store.runs.record(item, extra=True) for item in (run_id, copy.run.run_id))
    assert (old.status, old.number("length"), new.fields["task"]) == ("failed", 4, "t")
    assert "parent" not in new.fields
    assert "request" not in new.extra
    assert backend.call("PTTL", runs.keys(run_id).bundle(DIGEST)) == -1
    assert backend.call("PTTL", runs.keys(run_id).workflow("order-1")) == -1


def test_a_deadline_that_is_over_is_not_taken_over(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    backend.call("HSET", runs.keys(run_id).record(run_id), "deadline", backend.now_ms() - 1)
    runs.commit(runs.lease(run_id), events=[b"1", b"2", b"3"])
    copy = copy_of(runs)
    reset(backend, backend.store.runs.record(run_id), copy)
    assert "deadline" not in backend.store.runs.record(copy.run.run_id).fields
    assert not any(member.endswith("/exec") for member in runs.members(runs.keys(run_id).timers))


def test_a_fork_is_a_workflow_of_its_own(backend: Backend, runs: Runs) -> None:
    old = grown(runs)
    before = backend.store.runs.record(old)
    copy = copy_of(runs, run={"fields": {"type": "a:b", "forked_from": f"{old}/1"}, "run_timeout_ms": 5_000})
    new = copy.run.run_id
    events = [b"first", b"2", b"3"]
    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        backend.store.repairs.fork("fork-1", copy, events, extra={})
    backend.call("DEL", "broker:orders")
    assert backend.store.repairs.fork("fork-1", copy, events, extra={"memo:a": b"m"}).status == "forked"
    assert backend.store.runs.record(old) == before
    assert new in runs.members(runs.keys(new).ready), "if the wake-up is lost, the sweep finds it"
    record = backend.store.runs.record(new, extra=True)
    assert (record.status, record.fields["id"], record.fields["forked_from"]) == ("running", "fork-1", f"{old}/1")
    assert (record.number("length"), record.number("bytes"), record.extra["memo:a"]) == (3, 7, b"m")
    assert list(backend.store.runs.history(new)) == events
    assert backend.store.runs.current("fork-1") == new
    assert f"{new}/run" in runs.members(runs.keys(new).timers)
    assert runs.queue() == [b"wake"]
    assert runs.claim(AttemptId(new, 1, 1, "new")).granted
    assert runs.lease(new).inputs == (b"in",)
    with backend.unchanged():
        assert backend.store.repairs.fork("fork-1", copy, events, extra={}).status == "forked"  # its reply was lost
        again = backend.store.repairs.fork("fork-1", copy_of(runs), events, extra={})
    assert (again.status, again.detail) == ("exists", new)


def test_a_run_that_was_moved_while_it_was_being_ended_spoils_no_code(backend: Backend, runs: Runs) -> None:
    """Whoever ends a run has read its digest before; another run may be on that code."""
    run_id, other = runs.sleeping(), runs.started("order-2")
    new = "e" * 64
    original = backend.store.runs.record

    def moved_meanwhile(wanted: RunId, **options: bool) -> RunRecord:
        record = original(wanted, **options)
        backend.store.repairs.change_bundle(run_id, fence=2, old=DIGEST, new=new, code=b"other")
        return record

    backend.store.runs.record = moved_meanwhile  # type: ignore[method-assign]
    backend.store.runs.end(run_id, status="terminated", code=TERMINATED, details=[])
    keys = runs.keys(other)
    assert backend.call("PTTL", keys.bundle(DIGEST)) == -1
    assert backend.call("PTTL", keys.bundle(new)) > 0
