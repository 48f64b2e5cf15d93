"""Advancing a run: one holder at a time, and one commit for each state of the run."""

from __future__ import annotations

import threading

import pytest

from orchestration.core.events import Code
from orchestration.errors import StoreError
from orchestration.store.inputs import encode_input
from orchestration.store.results import Pushes
from tests.store.backends import Backend
from tests.store.runs import DIGEST, RETENTION_MS, Runs

LEASE_MS = 3_000
GRACE_MS = 2_000


def test_a_lease_hands_over_what_is_unread(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(inputs=[b"a", b"b"])
    before = backend.now_ms()
    lease = runs.lease(run_id)
    assert (lease.fence, lease.length, lease.tries, lease.inputs) == (1, 0, 1, (b"a", b"b"))
    assert before <= lease.time_ms <= backend.now_ms()
    due = runs.members(runs.keys(run_id).ready)[run_id]
    assert before + LEASE_MS <= due <= backend.now_ms() + LEASE_MS


def test_a_lease_is_refused_while_another_holds_it(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    runs.lease(run_id)
    with backend.unchanged():
        assert backend.store.runs.take_lease(run_id, "other").status == "busy"
    backend.pass_time(LEASE_MS + 1)
    assert runs.lease(run_id, "other").tries == 2


def test_a_lease_asked_for_again_by_its_holder_is_given_again(runs: Runs) -> None:
    run_id = runs.started()
    first, second = runs.lease(run_id), runs.lease(run_id)
    assert (first.fence, first.inputs) == (second.fence, second.inputs)


def test_no_lease_where_there_is_nothing_to_read(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    with backend.unchanged():
        assert backend.store.runs.take_lease(run_id, "me").status == "idle"


@pytest.mark.parametrize("which", ["ended", "unknown"])
def test_no_lease_of_a_run_that_is_not_open(backend: Backend, runs: Runs, which: str) -> None:
    run_id = runs.ended() if which == "ended" else backend.store.runs.new_id("x")
    with backend.unchanged():
        answer = backend.store.runs.take_lease(run_id, "me")
    assert (answer.status, answer.detail) == ("closed", "completed" if which == "ended" else "unknown")


def test_the_sweep_list_forgets_a_run_that_is_gone(backend: Backend, runs: Runs) -> None:
    run_id = backend.store.runs.new_id("x")
    backend.call("ZADD", runs.keys(run_id).ready, 1, run_id)
    assert backend.store.runs.take_lease(run_id, "me").status == "closed"
    assert runs.members(runs.keys(run_id).ready) == {}


def test_a_lease_hands_over_no_more_than_a_page(runs: Runs) -> None:
    run_id = runs.started(inputs=[b"%d" % i for i in range(450)])
    seen: list[bytes] = []
    lease = runs.lease(run_id)
    while True:
        assert len(lease.inputs) <= 200
        seen += lease.inputs
        answer = runs.commit(lease)
        if answer.lease is None:
            break
        lease = answer.lease
    assert answer.status == "done"
    assert seen == [b"%d" % i for i in range(450)]


def test_a_lease_hands_over_no_more_than_a_few_mebibytes(runs: Runs) -> None:
    run_id = runs.started(inputs=[b"x" * 1_500_000 for _ in range(5)] + [b"y" * 9_000_000])
    sizes = []
    lease = runs.lease(run_id)
    while lease is not None:
        sizes.append(len(lease.inputs))
        following = runs.commit(lease).lease
        if following is None:
            break
        lease = following
    assert sizes == [2, 2, 1, 1]


# -- deliver ----------------------------------------------------------------------------------------------------------


def test_an_input_for_a_run_that_nobody_holds_needs_a_wake_up(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    assert backend.store.runs.deliver(run_id, b"in", request_id="s1").status == "wake"
    assert runs.inbox(run_id) == [b"in"]
    assert run_id in runs.members(runs.keys(run_id).ready)
    with backend.unchanged():
        assert backend.store.runs.deliver(run_id, b"in", request_id="s1").status == "duplicate"


def test_the_wake_up_of_an_input_is_given_out_with_it(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    assert backend.store.runs.deliver(run_id, b"in", pushes=runs.push()).status == "accepted"
    assert runs.queue() == [b"wake"]


def test_an_input_for_a_held_run_is_found_by_the_holder(backend: Backend, runs: Runs) -> None:
    """No wake-up is given out: the commit says that there is more."""
    run_id = runs.started()
    lease = runs.lease(run_id)
    assert backend.store.runs.deliver(run_id, b"late", owner="other", pushes=runs.push()).status == "accepted"
    assert runs.queue() == []
    backend.pass_time(1_000)
    answer = runs.commit(lease)
    assert answer.lease is not None
    assert (answer.lease.inputs, answer.lease.fence, answer.lease.length) == ((b"late",), 2, 1)
    keys = runs.keys(run_id)
    assert runs.members(keys.ready)[run_id] == backend.store.runs.record(run_id).number("until"), "and not before"


def test_an_input_can_bring_the_lease_with_it(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    answer = backend.store.runs.deliver(run_id, b"in", owner="me", pushes=runs.push())
    assert answer.lease is not None
    assert answer.lease.inputs == (b"in",)
    assert runs.queue() == []


def test_an_input_is_refused_by_a_run_that_ended_or_is_full(backend: Backend, runs: Runs) -> None:
    run_id = runs.ended()
    with backend.unchanged():
        answer = backend.store.runs.deliver(run_id, b"in", request_id="s", pushes=runs.push())
        assert (answer.status, answer.detail) == ("closed", "completed")
    unknown = backend.store.runs.new_id("x")
    assert backend.store.runs.deliver(unknown, b"in").detail == "unknown"
    full = runs.started("order-2", inputs=[b"x"] * 10_000)
    with backend.unchanged():
        answer = backend.store.runs.deliver(full, b"in", request_id="s")
        assert (answer.status, answer.detail) == ("full", "10000")


@pytest.mark.parametrize("code", ["CANCEL_REQUESTED", "OPERATION_DONE", "CHILD_STARTED", "CHILD_ENDED"])
def test_a_full_inbox_takes_what_nobody_would_send_again(backend: Backend, runs: Runs, code: str) -> None:
    """The answers to a parent once were refused with the signals; its outbox entry was done, and the parent waited."""
    full = runs.started(inputs=[b"x"] * 10_000)
    assert backend.store.runs.deliver(full, encode_input(Code[code], 1, b"")).status in ("accepted", "wake")
    assert backend.store.runs.deliver(full, encode_input(Code.SIGNAL, "t", b"", "")).status == "full"


def test_a_stream_of_inputs_does_not_put_off_the_sweep(backend: Backend, runs: Runs) -> None:
    """Each delivery once moved the time of the sweep's look; with wake-ups lost, the run never moved again."""
    run_id = runs.sleeping()
    for _ in range(4):
        backend.store.runs.deliver(run_id, b"in")
        backend.pass_time(GRACE_MS // 3)
    assert runs.sweep().runs == (run_id,)


def test_an_input_for_a_parked_run_waits(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    assert backend.store.runs.park(run_id, fence=2, kind="limit", reason="why")
    assert backend.store.runs.deliver(run_id, b"in", pushes=runs.push()).status == "accepted"
    assert runs.queue() == []
    backend.store.runs.unpark(run_id)
    assert runs.sweep().runs == (run_id,)


def test_a_broker_key_of_another_type_stops_a_delivery(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        backend.store.runs.deliver(run_id, b"in", request_id="s", pushes=runs.push())


# -- commit -----------------------------------------------------------------------------------------------------------


def test_a_commit_writes_the_whole_step(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    answer = runs.commit(
        lease,
        ["open", "1", b"blob"], ["timer", f"{run_id}/1/timer", lease.time_ms + 500], ["sent", f"{run_id}/2"],
        ["extra", "places", b"\x90"], ["out", "o/1", b"entry"], ["input", b"own"],
        events=[b"one", b"three"], pushes=runs.push(), dropped=1,
    )  # fmt: skip
    keys = runs.keys(run_id)
    assert answer.lease is not None
    assert answer.lease.inputs == (b"own",)
    assert list(backend.store.runs.history(run_id)) == [b"one", b"three"]
    assert backend.store.runs.last_event(run_id) == b"three"
    assert backend.store.runs.open_commands(run_id) == {"1": b"blob"}
    assert runs.members(keys.timers) == {f"{run_id}/1/timer": lease.time_ms + 500}
    assert set(runs.members(keys.pending)) == {f"{run_id}/2"}
    assert backend.call("HGETALL", keys.outbox) == {b"o/1": b"entry"}
    assert runs.queue() == [b"wake"]
    record = backend.store.runs.record(run_id, extra=True)
    assert record.extra["places"] == b"\x90"
    assert [record.number(name) for name in ("fence", "length", "bytes", "dropped:command closed")] == [2, 2, 8, 1]
    assert runs.commit(answer.lease, ["shut", "1", "cancelled"], ["shut", "2", "cancelled"]).status == "done"
    backend.store.timers.finish(run_id, ["o/1"])


def test_the_same_commit_again_is_answered_as_the_first_time(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    first = runs.commit(lease, ["out", "o/1", b"entry"], commit_id="c", pushes=runs.push())
    with backend.unchanged():
        again = runs.commit(lease, ["out", "o/1", b"entry"], commit_id="c", pushes=runs.push())
    assert first == again
    assert first.status == "done"
    backend.store.timers.finish(run_id, ["o/1"])


def test_the_same_commit_again_hands_over_what_came_since(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    backend.store.runs.deliver(run_id, b"late")
    first, again = (runs.commit(lease, commit_id="c") for _ in range(2))
    assert first.lease is not None
    assert again.lease is not None
    assert first.lease.inputs == again.lease.inputs == (b"late",)
    assert first.lease.fence == again.lease.fence
    assert list(backend.store.runs.history(run_id)) == [b"event"]


def test_the_same_commit_again_does_not_take_the_lease_from_another(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    runs.commit(lease, commit_id="c")
    backend.store.runs.deliver(run_id, b"in", owner="other")
    with backend.unchanged():
        assert runs.commit(lease, commit_id="c").status == "done"


def test_of_two_holders_only_one_commits(backend: Backend, runs: Runs) -> None:
    """A holder that was stopped past its lease finds that the run has moved, and leaves no trace."""
    run_id = runs.started()
    stopped = runs.lease(run_id, "stopped")
    backend.pass_time(LEASE_MS + 1)
    other = runs.lease(run_id, "other")
    assert runs.commit(other, owner="other").status == "done"
    with backend.unchanged():
        answer = runs.commit(
            stopped, ["out", "o", b""], ["timer", f"{run_id}/1/timer", 1], owner="stopped", pushes=runs.push()
        )
    assert (answer.status, answer.detail) == ("fenced", "2")
    assert runs.queue() == []


def test_a_late_holder_may_commit_as_long_as_nobody_else_has(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    late = runs.lease(run_id, "late")
    backend.pass_time(LEASE_MS + 1)
    other = runs.lease(run_id, "other")
    assert runs.commit(late, owner="late").status == "done"
    with backend.unchanged():
        assert runs.commit(other, owner="other").status == "fenced"
    assert list(backend.store.runs.history(run_id)) == [b"event"]


@pytest.mark.parametrize("how", ["park", "end"])
def test_what_changes_a_run_from_outside_fences_its_holder(backend: Backend, runs: Runs, how: str) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    if how == "park":
        assert backend.store.runs.park(run_id, fence=lease.fence, kind="k", reason="r")
    else:
        backend.store.runs.end(run_id, status="terminated", code=75, details=["why"])
    with backend.unchanged():
        assert runs.commit(lease, pushes=runs.push()).status == "fenced"


def test_a_large_step_is_committed_whole(backend: Backend, runs: Runs) -> None:
    """Lua's ``unpack`` ends at about 8,000 values."""
    run_id = runs.started()
    events = [b"%d" % i for i in range(20_000)]
    pushes = Pushes(backend.connection.database, tuple(("lpush", "broker:q", b"m") for _ in range(9_000)))
    ops = [["open", str(i), b"c"] for i in range(9_000)]
    runs.commit(runs.lease(run_id), *ops, events=events, pushes=pushes)
    assert list(backend.store.runs.history(run_id)) == events
    assert list(backend.store.runs.history(run_id, start=3, stop=5)) == [b"3", b"4"]
    assert len(backend.store.runs.open_commands(run_id)) == 9_000
    assert len(runs.queue("broker:q")) == 9_000
    assert backend.store.runs.record(run_id).number("length") == 20_000


@pytest.mark.parametrize(
    "op",
    [
        ["oepn", "1", b""],
        ["open", "1"],
        ["open", "1", None],
        ["timer", "m", "soon"],
        ["shut", True],
        ["eta", "m", 1, 2],
    ],
)
def test_an_effect_that_cannot_be_written_stops_the_step_before_it_writes(
    backend: Backend, runs: Runs, op: list[object]
) -> None:
    """An error in the middle of a script does not roll back: it once left history without its effects."""
    lease = runs.lease(runs.started())
    with backend.unchanged(), pytest.raises(StoreError, match="op"):
        runs.commit(lease, ["open", "1", b"fine"], op, pushes=runs.push())


@pytest.mark.parametrize("where", ["pushes", "eta"])
def test_a_broker_key_of_another_type_stops_the_step_before_it_writes(backend: Backend, runs: Runs, where: str) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    backend.call("SET", "broker:orders", "x")
    database, command = backend.connection.database, ["lpush", "broker:orders", b"m"]
    ops = [] if where == "pushes" else [["eta", f"{run_id}/1/timer", 5, command]]
    pushes = runs.push() if where == "pushes" else Pushes(database)
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        runs.commit(lease, *ops, pushes=pushes)


def test_near_timers_wait_in_the_broker_up_to_a_bound(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    due = backend.now_ms() + 1_000
    keys, others = runs.keys(run_id), [f"x{i}" for i in range(999)]
    backend.call("HSET", keys.open(run_id), *[part for seq in others for part in (seq, b"t")])
    backend.call("ZADD", keys.handed, *[part for seq in others for part in (due, f"{run_id}/{seq}/timer")])
    ops: list[list[object]] = []
    for seq in (1, 2):
        member = f"{run_id}/{seq}/timer"
        ops += [["open", str(seq), b"t"], ["timer", member, due]]
        ops.append(["eta", member, due, ["lpush", "broker:q", b"%d" % seq]])
    runs.commit(runs.lease(run_id), *ops, pushes=Pushes(backend.connection.database))
    assert runs.queue("broker:q") == [b"1"]
    handed = runs.members(runs.keys(run_id).handed)
    assert f"{run_id}/1/timer" in handed
    assert f"{run_id}/2/timer" not in handed


def test_a_run_that_ends_leaves_only_what_is_kept_for_a_while(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(run_timeout_ms=60_000)
    lease = runs.lease(run_id)
    far = backend.now_ms() + 60_000
    kinds = ("timer", "start", "close", "beat", "retry", "whole")
    runs.commit(
        lease, ["open", "1", b"a"], ["open", "1:s", b"s"], ["sent", f"{run_id}/1"],
        *[["timer", f"{run_id}/1/{kind}", far] for kind in kinds],
        ["eta", f"{run_id}/1/timer", far, ["lpush", "broker:q", b"m"]],
        pushes=Pushes(backend.connection.database),
    )  # fmt: skip
    backend.store.runs.deliver(run_id, b"a")
    backend.store.runs.deliver(run_id, b"unread")
    answer = runs.commit(runs.lease(run_id), consumed=1, ending="completed")
    assert answer.status == "done"
    keys = runs.keys(run_id)
    gone = (keys.open(run_id), keys.inbox(run_id), keys.timers, keys.handed, keys.pending, keys.ready, keys.open_runs)
    for key in (*gone, keys.bundles):
        assert backend.call("EXISTS", key) == 0, key
    for key in (keys.record(run_id), keys.extra(run_id), keys.history(run_id), keys.workflow("order-1")):
        assert 0 < backend.call("PTTL", key) <= RETENTION_MS, key
    assert backend.call("PTTL", keys.bundle(DIGEST)) > RETENTION_MS
    record = backend.store.runs.record(run_id)
    assert (record.status, record.number("undelivered"), record.fields["owner"]) == ("completed", 1, "")
    assert backend.store.runs.listing(closed=True, limit=5)[0][0] == run_id
    backend.pass_time(2 * RETENTION_MS)
    runs.sweep()
    assert backend.dump().keys() == {backend.keyspace.meta, keys.types, "broker:q"}


def test_a_bundle_stays_as_long_as_a_run_names_it(backend: Backend, runs: Runs) -> None:
    first, second = runs.started("order-1"), runs.started("order-2")
    bundle = runs.keys(first).bundle(DIGEST)
    runs.commit(runs.lease(first), ending="completed")
    assert backend.call("PTTL", bundle) == -1
    runs.commit(runs.lease(second), workflow_id="order-2", ending="failed")
    assert backend.call("PTTL", bundle) > 0


def test_the_commit_that_ends_a_run_can_be_sent_again(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    runs.commit(lease, commit_id="c", ending="completed")
    with backend.unchanged():
        assert runs.commit(lease, commit_id="c", ending="completed").status == "done"
        assert runs.commit(lease, commit_id="d", ending="completed").status == "fenced"


def test_whoever_waits_for_the_end_is_told(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    waiting = backend.store.runs.subscribe_end(run_id)
    assert not waiting.wait(0.01)
    timer = threading.Timer(0.05, lambda: runs.commit(runs.lease(run_id), ending="completed"))
    timer.start()
    assert waiting.wait(5)
    timer.join()
    waiting.close()
