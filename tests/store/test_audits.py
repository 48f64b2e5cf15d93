"""What the audit reads of a run, and what is put back."""

from __future__ import annotations

import itertools
from typing import Any

import msgpack
import pytest

from orchestration.health.judging import Mender, child_entries, judge
from orchestration.store.attempts import AttemptId, backoff_state
from orchestration.store.audits import Mend, Snapshot
from orchestration.store.inputs import encode_input
from orchestration.types import RunId
from tests.store.backends import Backend
from tests.store.runs import DIGEST, Runs

LATE_MS = 30_000


@pytest.fixture
def runs(backend: Backend) -> Runs:
    return Runs(backend)


def seen(runs: Runs, run_id: str) -> Snapshot:
    (snapshot,) = runs.store.audits.inspect([RunId(run_id)])
    return snapshot


def faults(runs: Runs, run_id: str) -> list[tuple[str, int, Mender]]:
    _, found = judge(seen(runs, run_id), late_ms=LATE_MS)
    return [(fault.kind, fault.seq, fault.by) for fault in found]


def wakes(runs: Runs, run_id: str) -> list[str]:
    found, wrong = judge(seen(runs, run_id), late_ms=LATE_MS)
    assert not wrong
    return [wake.source for wake in found]


def mend(runs: Runs, run_id: str, *ops: Any, code: bytes = b"") -> str:
    return runs.store.audits.mend(seen(runs, run_id), Mend(list(ops), code)).status


def test_what_moves_a_run_is_told_at_each_of_its_stages(runs: Runs) -> None:
    run_id = runs.started()
    assert wakes(runs, run_id) == ["1 input unread"]
    lease = runs.lease(run_id)
    assert wakes(runs, run_id) == ["a worker that is at it (me)"]
    due = runs.backend.now_ms() + 60_000
    runs.commit(
        lease, ["open", "1", b"t"], ["timer", f"{run_id}/1/timer", due], ["open", "2", b"o"],
        ["out", f"m/{run_id}/2", b"e"],
    )  # fmt: skip
    assert wakes(runs, run_id) == ["timer 1", "the outbox entry of request 2 to another run"]
    runs.store.repairs.pause(run_id, by="ana", note="")
    assert wakes(runs, run_id)[0] == "an operator: it is paused"


def test_a_run_that_waits_for_a_message_is_sound(runs: Runs) -> None:
    assert wakes(runs, runs.sleeping()) == ["a message: a signal, an update or a cancel request"]


@pytest.mark.parametrize("moves", [False, True])
def test_thousands_of_commands_are_read_in_pages(runs: Runs, monkeypatch: pytest.MonkeyPatch, moves: bool) -> None:
    monkeypatch.setattr("orchestration.store.audits._MOST", 4)
    run_id = runs.sleeping(*[["open", str(seq), b"o"] for seq in range(1, 11)])
    run, calls = runs.backend.connection.run, itertools.count(1)

    def and_move(*order: Any) -> Any:
        if order[0].name == "inspect_run" and next(calls) % 2 == 0:
            runs.store.runs.deliver(run_id, encode_input(5, "t", b"\x90"))
        return run(*order)

    if moves:
        monkeypatch.setattr(runs.backend.connection, "run", and_move)
    assert [command.seq for command in seen(runs, run_id).commands] == list(range(1, 11))


def test_ended_and_unknown_runs_are_left_out(runs: Runs) -> None:
    ended, unknown = runs.ended(), runs.store.runs.new_id("nobody")
    assert runs.store.audits.inspect([ended, unknown]) == []
    assert runs.store.audits.inspect([]) == []


def test_unread_inputs_that_nobody_looks_after_are_found_and_mended(runs: Runs) -> None:
    run_id = runs.started()
    runs.backend.call("ZREM", runs.keys(run_id).ready, run_id)
    assert faults(runs, run_id) == [("inbox", 0, Mender.AUDIT)]
    assert mend(runs, run_id, ["ready"]) == "mended"
    assert faults(runs, run_id) == []
    assert runs.sweep().runs == (run_id,)


def test_a_start_that_is_lost_cannot_be_mended(runs: Runs) -> None:
    run_id = runs.started()
    runs.backend.call("DEL", runs.keys(run_id).inbox(run_id))
    assert faults(runs, run_id) == [("start", 0, Mender.OPERATOR)]


def test_a_start_delay_and_a_deadline_are_among_the_timers(runs: Runs) -> None:
    run_id = runs.started(delay_ms=60_000, execution_timeout_ms=90_000)
    assert wakes(runs, run_id) == ["its start delay"]
    record = runs.store.runs.record(run_id)
    runs.backend.call("ZREM", runs.keys(run_id).timers, f"{run_id}/delay", f"{run_id}/exec")
    assert faults(runs, run_id) == [("delay", 0, Mender.AUDIT), ("deadline", 0, Mender.AUDIT)]
    ops = [
        ["timer", f"{run_id}/{word}", record.number(name), "", b""]
        for word, name in (("delay", "delayed"), ("exec", "deadline"))
    ]
    assert mend(runs, run_id, *ops) == "mended"
    assert wakes(runs, run_id) == ["its start delay"]


def test_a_run_timeout_and_an_expiry_are_among_the_timers(runs: Runs) -> None:
    """Without its timer a run that has expired is begun by nobody and ended by nobody."""
    opts = {"type": "shop:order", "opts": '{"run":90000}'}
    run_id = runs.started(run_timeout_ms=90_000, expires_ms=60_000, fields=opts)
    assert wakes(runs, run_id) == ["1 input unread"]
    runs.backend.call("ZREM", runs.keys(run_id).timers, f"{run_id}/run", f"{run_id}/expire")
    assert faults(runs, run_id) == [("timeout", 0, Mender.AUDIT), ("expiry", 0, Mender.AUDIT)]
    due = runs.backend.now_ms() + 60_000
    ops = [["timer", f"{run_id}/{word}", due, "", b""] for word in ("run", "expire")]
    assert mend(runs, run_id, *ops) == "mended"
    assert wakes(runs, run_id) == ["1 input unread"]


def test_an_open_run_on_no_list_is_found_by_the_index(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.store.audits._PAGE", 2)
    ids = [runs.started(f"order-{number}") for number in range(7)]
    runs.ended("order-7")
    assert list(runs.store.audits.unlisted()) == []
    for run_id in ids[2:5]:
        runs.backend.call("ZREM", runs.keys(run_id).open_runs, run_id)
    assert sorted(itertools.chain(*runs.store.audits.unlisted())) == sorted(ids[2:5])
    assert faults(runs, ids[2]) == [("unlisted", 0, Mender.AUDIT)]
    for run_id in ids[2:5]:
        started = runs.store.runs.record(run_id).number("started")
        assert mend(runs, run_id, ["listed"]) == mend(runs, run_id, ["listed"]) == "mended"
        assert runs.members(runs.keys(run_id).open_runs)[run_id] == started
    assert list(runs.store.audits.unlisted()) == []
    assert faults(runs, ids[2]) == []


@pytest.mark.parametrize("stage", ["scheduled", "claimed", "backoff"])
def test_what_moves_an_activity_is_one_thing(runs: Runs, stage: str) -> None:
    attempt = runs.with_activity()
    run_id, keys = attempt.run_id, runs.keys(attempt.run_id)
    if stage == "scheduled":
        runs.store.foreign.await_report(attempt, close_ms=60_000)  # both: its message, and its time
    else:
        runs.claim(attempt)
    if stage == "backoff":
        runs.report(attempt, "retry", delay_ms=60_000)
    assert len(wakes(runs, run_id)) == 1
    own = runs.members(keys.timers) | runs.members(keys.pending)
    runs.backend.call("ZADD", keys.pending, 1, f"{run_id}/1")
    for word in ("close", "retry"):
        runs.backend.call("ZADD", keys.timers, "NX", 5, f"{run_id}/1/{word}")
    assert faults(runs, run_id) == [("surplus", 1, Mender.AUDIT)]
    (command,) = seen(runs, run_id).commands
    expected = {"scheduled": ("/retry",), "claimed": ("/retry", "pending"), "backoff": ("/close", "pending")}
    assert command.surplus == expected[stage]
    ops = [
        ["drop", f"{run_id}/1{'' if name == 'pending' else name}", "1", command.packed] for name in command.surplus
    ]
    with runs.backend.unchanged():
        assert mend(runs, run_id, *[[*op[:3], b"another state"] for op in ops]) == "moved"
    assert mend(runs, run_id, *ops) == "mended"
    assert faults(runs, run_id) == []
    left = runs.members(keys.timers) | runs.members(keys.pending)
    assert left.keys() == own.keys()


def test_a_lost_timer_is_found_and_one_whose_answer_is_unread_is_not(runs: Runs) -> None:
    run_id = runs.with_timer(delay_ms=1, seq=300)
    runs.backend.pass_time(5)
    runs.store.timers.fire(run_id, 300)
    assert "timer 300 has fired, unread" in wakes(runs, run_id)
    runs.backend.call("DEL", runs.keys(run_id).inbox(run_id))
    assert faults(runs, run_id) == [("timer", 300, Mender.AUDIT)]
    op = ["timer", f"{run_id}/300/timer", runs.backend.now_ms() + 5_000, "300", b""]
    assert mend(runs, run_id, op) == mend(runs, run_id, op) == "mended"
    assert wakes(runs, run_id) == ["timer 300"]


def test_an_answer_whose_number_stands_elsewhere_may_be_any(runs: Runs) -> None:
    run_id = runs.with_timer()
    runs.backend.call("ZREM", runs.keys(run_id).timers, f"{run_id}/1/timer")
    runs.store.runs.deliver(run_id, b"\x93\x02" + b"\xc7\x48\x63" + bytes(72))
    assert faults(runs, run_id) == []


@pytest.mark.parametrize("seq", [1, 127, 128, 255, 256, 65_535, 65_536])
def test_the_number_of_an_answer_is_read_whatever_its_length(runs: Runs, seq: int) -> None:
    run_id = runs.with_timer(seq=seq)
    runs.backend.call("ZREM", runs.keys(run_id).timers, f"{run_id}/{seq}/timer")
    runs.store.runs.deliver(run_id, encode_input(4, seq))
    assert faults(runs, run_id) == []
    runs.backend.call("DEL", runs.keys(run_id).inbox(run_id))
    runs.store.runs.deliver(run_id, encode_input(5, "topic", b"\x90"))
    assert faults(runs, run_id) == [("timer", seq, Mender.AUDIT)]


@pytest.mark.parametrize("stage", ["scheduled", "claimed", "external", "waiting", "backoff", "reported"])
def test_each_stage_of_an_activity_has_its_source(runs: Runs, stage: str) -> None:
    attempt = runs.with_activity()
    run_id, keys = attempt.run_id, runs.keys(attempt.run_id)
    if stage != "scheduled":
        runs.claim(attempt)
    outcome = {"external": "external", "waiting": "waiting", "backoff": "retry", "reported": "completed"}.get(stage)
    if outcome:
        runs.report(attempt, outcome, delay_ms=60_000, item=encode_input(2, 1, b"\xc0"))
    assert len(wakes(runs, run_id)) == (2 if stage == "reported" else 1)
    runs.backend.call("ZREM", keys.pending, f"{run_id}/1")
    runs.backend.call("ZREM", keys.timers, f"{run_id}/1/close", f"{run_id}/1/retry")
    if stage == "reported":
        runs.backend.call("DEL", keys.inbox(run_id))
    by = Mender.OPERATOR if stage == "reported" else Mender.AUDIT
    assert faults(runs, run_id) == [("activity", 1, by)]
    if stage != "reported":
        packed, due = seen(runs, run_id).commands[0].packed, runs.backend.now_ms() + 5_000
        word = "retry" if stage == "backoff" else "close"
        op = ["pending", f"{run_id}/1", "1", packed] if stage == "scheduled" else None
        assert mend(runs, run_id, op or ["timer", f"{run_id}/1/{word}", due, "1", packed]) == "mended"
        assert faults(runs, run_id) == []


def test_an_activity_without_its_state_is_told(runs: Runs) -> None:
    run_id = runs.sleeping(["open", "1", b"\x99\xa1a"])
    assert wakes(runs, run_id) == ["command 1 (not known to this release)"]


def test_outbox_entries_that_nobody_takes_up_are_found_and_mended(runs: Runs) -> None:
    run_id = runs.sleeping(["open", "1", b"o"], ["out", "x/RUN/1", b"e"])
    entry = f"x/{run_id}/1"
    runs.backend.call("ZREM", runs.keys(run_id).outbox_due, entry)
    assert faults(runs, run_id) == [("outbox", 1, Mender.AUDIT)]
    assert mend(runs, run_id, ["due", entry]) == "mended"
    assert [name for name, _ in runs.sweep(hold_ms=1).outbox] == [entry]
    runs.store.timers.finish(run_id, [entry])
    assert faults(runs, run_id) == [("request", 1, Mender.AUDIT)]
    assert mend(runs, run_id, ["out", entry, b"again", "1", b""]) == "mended"
    assert runs.sweep().outbox == ((entry, b"again"),)


def test_a_child_is_asked_for_by_its_parent_or_told_by_itself(runs: Runs) -> None:
    entry = msgpack.packb(["orphan", "default", "RUN", 1, "{a|b}", "child-1", True])
    parent = runs.sleeping(["open", "1", b"c" + entry])
    (child,) = child_entries(seen(runs, parent))
    assert msgpack.unpackb(child.content)[5] == "child-1"
    assert faults(runs, parent) == [("child", 1, Mender.AUDIT)]
    assert runs.store.audits.children([("child-1", parent, 1)]) == [False]
    run_id = runs.started("child-1", fields={"type": "a:b", "parent": f"{parent}/1"})
    assert runs.store.audits.children([("child-1", parent, 1), ("child-1", parent, 2)]) == [True, False]
    runs.store.chains.watch(run_id, f"default/{parent}/2", pid="{a|b}")
    assert runs.store.audits.children([("child-1", parent, 2)]) == [True]
    runs.store.runs.end(run_id, status="terminated", code=11, details=["", ""], outbox_id=f"c/{run_id}", entry=b"e")
    assert runs.store.audits.children([("child-1", parent, 1)]) == [True]  # its end is being told
    runs.store.timers.finish(run_id, [f"c/{run_id}"])
    assert runs.store.audits.children([("child-1", parent, 1)]) == [False]
    assert judge(seen(runs, parent), late_ms=LATE_MS, told=[1])[1] == []


def test_what_should_have_come_and_has_not_is_late(runs: Runs) -> None:
    run_id = runs.with_timer(delay_ms=1)
    runs.backend.call("ZADD", runs.keys(run_id).timers, 1, f"{run_id}/1/timer")
    assert faults(runs, run_id) == [("late", 1, Mender.SWEEP)]
    found = runs.store.audits.backlog(late_ms=LATE_MS, unclaimed_ms=1)
    assert (found.timers_late, found.runs_late, found.entries_late, found.attempts_late) == (1, 0, 0, 0)


def test_a_parked_run_is_listed_as_one(runs: Runs) -> None:
    run_id = runs.sleeping()
    runs.store.runs.park(run_id, fence=2, kind="limit", reason="r")
    assert wakes(runs, run_id) == ["an operator: it is parked"]
    runs.backend.call("ZREM", runs.keys(run_id).parked_runs, run_id)
    assert faults(runs, run_id) == [("listing", 0, Mender.AUDIT)]
    assert mend(runs, run_id, ["parked"]) == "mended"
    assert faults(runs, run_id) == []


def test_nothing_is_put_back_when_the_run_has_changed(runs: Runs) -> None:
    attempt = runs.with_activity()
    run_id = attempt.run_id
    before = seen(runs, run_id)
    op = ["pending", f"{run_id}/1", "1", before.commands[0].packed]
    runs.claim(attempt)  # moves without the fence
    with runs.backend.unchanged():
        assert runs.store.audits.mend(before, Mend([op])).status == "moved"
    other = AttemptId(run_id, 1, 1, "token")
    op[3] = backoff_state(other, 1)
    with runs.backend.unchanged():
        assert runs.store.audits.mend(seen(runs, run_id), Mend([op])).status == "moved"
    now = seen(runs, run_id)
    runs.store.runs.deliver(run_id, encode_input(5, "t", b"\x90"))
    with runs.backend.unchanged():
        assert runs.store.audits.mend(now, Mend([["ready"]])).status == "moved"
    now = seen(runs, run_id)
    runs.store.runs.end(run_id, status="terminated", code=11, details=["", ""], outbox_id=f"c/{run_id}", entry=b"e")
    with runs.backend.unchanged():
        answer = runs.store.audits.mend(now, Mend([["ready"]]))
    assert (answer.status, answer.detail) == ("closed", "terminated")


def test_a_missing_bundle_is_found_and_stored_again(runs: Runs) -> None:
    run_id = runs.sleeping()
    assert runs.store.audits.missing_bundles(run_id, [DIGEST]) == set()
    runs.backend.call("DEL", runs.keys(run_id).bundle(DIGEST))
    assert runs.store.audits.missing_bundles(run_id, [DIGEST]) == {DIGEST}
    assert runs.store.audits.lost_bundles() == {DIGEST: 1}
    assert mend(runs, run_id, code=b"code") == "mended"
    assert runs.store.audits.lost_bundles() == {}
    assert runs.store.runs.bundle(run_id, DIGEST) == b"code"


def test_queues_of_runs_and_who_sweeps_are_read(runs: Runs) -> None:
    first, second = runs.started("a"), runs.started("b", fields={"type": "a:b"})
    assert runs.store.audits.queues([first, second]) == ["orders", ""]
    assert not runs.store.workers.is_swept()
    runs.store.workers.take_turn("w", turn_ms=60_000)
    assert runs.store.workers.is_swept()


def test_entries_without_their_mark_are_counted(runs: Runs) -> None:
    numbers = itertools.count(1)
    run_id = runs.sleeping(*[["out", f"m/RUN/{next(numbers)}", b"e"] for _ in range(3)])
    assert runs.store.audits.backlog(late_ms=1, unclaimed_ms=1).unmarked == ()
    runs.backend.call("ZREM", runs.keys(run_id).outbox_due, f"m/{run_id}/2")
    found = runs.store.audits.backlog(late_ms=1, unclaimed_ms=1)
    assert (found.entries, found.unmarked) == (3, (f"m/{run_id}/2",))
    assert runs.store.audits.unmarked() == [f"m/{run_id}/2"]
    runs.store.audits.mark(f"m/{run_id}/9")
    runs.store.audits.mark(f"m/{run_id}/2")
    assert runs.store.audits.unmarked() == []
    runs.store.timers.finish(run_id, found.unmarked)
