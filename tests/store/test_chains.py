"""Runs that follow one another, begin late, are watched, and starts that come too late."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from orchestration.errors import StoreError
from orchestration.store.inputs import encode_input
from orchestration.store.results import Delivery, Following
from orchestration.types import RunId
from tests.store.backends import Backend
from tests.store.runs import DIGEST, RETENTION_MS, Runs

SIGNAL = encode_input(5, "topic", b"\x90", "")
TIMER = encode_input(4, 7)
START = encode_input(1, {}, b"\x90")


def following(backend: Backend, workflow_id: str = "order-1", **changed: Any) -> Following:
    return Following(
        **{"run_id": backend.store.runs.new_id(workflow_id), "digest": DIGEST, "inputs": [START], **changed}
    )  # fmt: skip


def succeeded(backend: Backend, runs: Runs, run_id: RunId, run: Following, status: str = "continued_as_new") -> None:
    packed = backend.store.chains.pack(run, workflow_id="w")
    assert runs.commit(runs.lease(run_id), ending=status, following=packed).status == "done"


# -- following --------------------------------------------------------------------------------------------------------


def test_a_run_that_follows_takes_over_what_belongs_to_the_workflow(backend: Backend, runs: Runs) -> None:
    extra = {"request": b"\x80", "search:a": b"\x01", "places": b"\x90", "watch:default/r/1": "{a|b}"}
    run_id = runs.started(fields={"type": "shop:order", "queue": "orders", "parent": "p/1", "opts": "{}"}, extra=extra,
                          execution_timeout_ms=60_000)  # fmt: skip
    new = following(backend, fields={"attempt": 2}, run_timeout_ms=5_000)
    succeeded(backend, runs, run_id, new)
    old, record = (backend.store.runs.record(one, extra=True) for one in (run_id, new.run_id))
    assert (old.status, old.fields["next"]) == ("continued_as_new", new.run_id)
    assert set(old.extra) == {"search:a", "places"}, "nobody waits for it any more"
    assert (record.status, record.fields["prev"], record.fields["first"]) == ("running", run_id, run_id)
    kept = {name: record.fields[name] for name in ("id", "type", "queue", "parent", "opts", "deadline", "attempt")}
    assert kept == {
        "id": "order-1", "type": "shop:order", "queue": "orders", "parent": "p/1", "opts": "{}", "attempt": "2",
        "deadline": old.fields["deadline"],
    }  # fmt: skip
    assert set(record.extra) == {"request", "search:a", "watch:default/r/1"}
    assert backend.store.runs.current("order-1") == new.run_id
    keys = runs.keys(run_id)
    assert runs.members(keys.timers) == {
        f"{new.run_id}/exec": record.number("deadline"), f"{new.run_id}/run": record.number("started") + 5_000,
    }  # fmt: skip
    assert set(runs.members(keys.open_runs)) == {new.run_id}
    assert set(runs.members(keys.ready)) == {new.run_id}
    assert runs.lease(new.run_id).inputs == (START,)
    assert backend.call("HGET", keys.bundles, DIGEST) == b"1"
    assert backend.call("PTTL", keys.workflow("order-1")) == -1
    assert backend.call("PTTL", keys.record(run_id)) > 0


def test_a_chain_keeps_its_first_run(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    second = following(backend)
    succeeded(backend, runs, run_id, second)
    third = following(backend)
    succeeded(backend, runs, second.run_id, third)
    assert backend.store.runs.record(third.run_id).fields["first"] == run_id
    assert backend.store.runs.record(third.run_id).fields["prev"] == second.run_id


def test_unread_signals_go_over_and_answers_to_commands_do_not(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    for item in (SIGNAL, TIMER, SIGNAL, encode_input(6, "why", "")):
        backend.store.runs.deliver(run_id, item)
    new = following(backend, inputs=[START, encode_input(5, "taken", b"\x90", "")])
    packed = backend.store.chains.pack(new, workflow_id="w")
    assert runs.commit(lease, ending="continued_as_new", following=packed).status == "done"
    assert runs.inbox(new.run_id) == [*new.inputs, SIGNAL, SIGNAL, encode_input(6, "why", "")]
    assert backend.store.runs.record(run_id).number("undelivered") == 1


def test_unread_updates_go_over_under_their_ids(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease = runs.lease(run_id)
    ids = ("u", "ü" * 15, "longer than 31 bytes, and so encoded otherwise", "x" * 255)
    for update in ids:
        backend.store.runs.deliver(run_id, encode_input(13, update, "name", b"\x90", ""))
    new = following(backend)
    packed = backend.store.chains.pack(new, workflow_id="w")
    assert runs.commit(lease, ending="continued_as_new", following=packed).status == "done"
    fields = backend.dump()[runs.keys(new.run_id).updates(new.run_id)][1]
    assert {name.decode() for name in fields} == set(ids)


def test_the_same_commit_again_makes_one_following_run(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    lease, packed = runs.lease(run_id), backend.store.chains.pack(following(backend), workflow_id="w")
    first = runs.commit(lease, ending="completed", following=packed, commit_id="c")
    with backend.unchanged():
        assert runs.commit(lease, ending="completed", following=packed, commit_id="c") == first


def test_a_following_run_on_other_code_brings_it(backend: Backend, runs: Runs) -> None:
    run_id, other = runs.started(), "e" * 64
    lease = runs.lease(run_id)
    packed = backend.store.chains.pack(following(backend, digest=other), workflow_id="w")
    with backend.unchanged(), pytest.raises(Exception, match="bundle is missing"):
        runs.commit(lease, ending="continued_as_new", following=packed)
    new = following(backend, digest=other, code=b"other code", fields={"type": "shop:other"})
    succeeded(backend, runs, run_id, new)
    assert backend.store.runs.bundle(new.run_id, other) == b"other code"
    assert backend.store.runs.record(new.run_id).fields["type"] == "shop:other"
    assert backend.call("HGETALL", runs.keys(run_id).bundles) in ([other.encode(), b"1"], {other.encode(): b"1"})


def test_a_run_ended_by_its_deadline_may_be_followed(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(run_timeout_ms=10)
    backend.pass_time(20)
    new = following(backend, pushes=runs.push())

    def end() -> Delivery:
        return backend.store.runs.end(
            run_id, status="timed_out", code=12, details=["run"], timer=f"{run_id}/run",
            following=backend.store.chains.pack(new, workflow_id="w"),
        )  # fmt: skip

    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        end()
    backend.call("DEL", "broker:orders")
    assert end().status == "ended"
    assert backend.store.runs.record(run_id).fields["next"] == new.run_id
    assert runs.queue() == [b"wake"]


def test_the_start_request_still_leads_to_the_workflow(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(request_id="r-1")
    new = following(backend)
    succeeded(backend, runs, run_id, new)
    with backend.unchanged():
        assert runs.start(request_id="r-1").run_id == new.run_id


# -- late beginnings --------------------------------------------------------------------------------------------------


def test_a_delayed_run_begins_when_its_time_has_come(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(delay_ms=1_000, run_timeout_ms=500, pushes=runs.push())
    record = backend.store.runs.record(run_id)
    assert record.number("delayed") == record.number("started") + 1_000
    assert runs.members(runs.keys(run_id).timers)[f"{run_id}/run"] == record.number("started") + 1_500
    assert runs.queue() == []
    assert backend.store.runs.deliver(run_id, SIGNAL, pushes=runs.push()).status == "accepted"
    assert backend.store.runs.take_lease(run_id, "me").status == "idle"
    with backend.unchanged():
        assert backend.store.chains.begin(run_id, pushes=runs.push()).status == "early"
    assert runs.queue() == []
    backend.pass_time(1_100)
    assert runs.sweep().fire == (f"{run_id}/delay",)
    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        backend.store.chains.begin(run_id, pushes=runs.push())
    backend.call("DEL", "broker:orders")
    assert backend.store.chains.begin(run_id, pushes=runs.push()).status == "accepted"
    assert runs.queue() == [b"wake"]
    assert "delayed" not in backend.store.runs.record(run_id).fields
    with backend.unchanged():
        assert backend.store.chains.begin(run_id, pushes=runs.push()).status == "gone"
    assert len(runs.lease(run_id).inputs) == 2


def test_a_delayed_run_that_is_paused_is_woken_by_being_resumed(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(delay_ms=10)
    backend.store.repairs.pause(run_id, by="me", note="")
    backend.pass_time(20)
    assert backend.store.chains.begin(run_id, pushes=runs.push()).status == "gone"
    assert runs.queue() == []
    backend.store.repairs.resume(run_id)
    assert len(runs.lease(run_id).inputs) == 1


def test_a_delayed_run_that_is_resumed_is_left_alone_until_its_time_has_come(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(delay_ms=60_000)
    backend.store.repairs.pause(run_id, by="me", note="")
    backend.store.repairs.resume(run_id)
    backend.store.runs.take_lease(run_id, "me")
    backend.pass_time(10_000)
    assert runs.sweep().runs == ()
    backend.pass_time(60_000)
    assert backend.store.chains.begin(run_id).status == "wake"
    assert len(runs.lease(run_id).inputs) == 1


def test_a_beginning_without_a_push_asks_for_a_wake_up(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(delay_ms=10)
    backend.pass_time(20)
    assert backend.store.chains.begin(run_id).status == "wake"


def test_a_following_run_may_begin_late(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    new = following(backend, delay_ms=1_000, pushes=runs.push())
    succeeded(backend, runs, run_id, new, status="failed")
    assert runs.queue() == []
    assert backend.store.runs.take_lease(new.run_id, "me").status == "idle"
    assert set(runs.members(runs.keys(run_id).timers)) == {f"{new.run_id}/delay"}


def test_a_delayed_run_that_is_ended_leaves_no_timer(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(delay_ms=1_000, run_timeout_ms=500, execution_timeout_ms=9_000)
    backend.store.runs.end(run_id, status="terminated", code=11, details=["", ""])
    assert runs.members(runs.keys(run_id).timers) == {}


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_a_deadline_is_put_off_once(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(run_timeout_ms=1_000)
    member = f"{run_id}/run"
    with backend.unchanged():
        assert backend.store.chains.extend_deadline(run_id, member, grace_ms=500).status == "early"
        assert backend.store.chains.extend_deadline(run_id, f"{run_id}/exec", grace_ms=500).status == "early"
    backend.pass_time(1_001)
    assert backend.store.chains.extend_deadline(run_id, member, grace_ms=500).status == "extended"
    with backend.unchanged():
        assert backend.store.chains.extend_deadline(run_id, member, grace_ms=500).status == "early"
    backend.pass_time(501)
    with backend.unchanged():
        assert backend.store.chains.extend_deadline(run_id, member, grace_ms=500).status == "over"


def test_the_deadline_of_a_workflow_that_was_put_off_is_the_next_runs_and_the_last(
    backend: Backend, runs: Runs
) -> None:
    run_id = runs.started(execution_timeout_ms=1_000)
    backend.pass_time(1_001)
    assert backend.store.chains.extend_deadline(run_id, f"{run_id}/exec", grace_ms=5_000).status == "extended"
    due = runs.members(runs.keys(run_id).timers)[f"{run_id}/exec"]
    new = following(backend, run_timeout_ms=2_000)
    succeeded(backend, runs, run_id, new)
    timers = runs.members(runs.keys(run_id).timers)
    assert timers[f"{new.run_id}/exec"] == due
    backend.pass_time(6_000)
    for kind in ("run", "exec"):
        assert backend.store.chains.extend_deadline(new.run_id, f"{new.run_id}/{kind}", grace_ms=500).status == "over"


def test_a_run_that_was_put_off_by_its_own_deadline_leaves_the_next_its_time(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(run_timeout_ms=1_000)
    backend.pass_time(1_001)
    assert backend.store.chains.extend_deadline(run_id, f"{run_id}/run", grace_ms=5_000).status == "extended"
    new = following(backend, run_timeout_ms=1_000)
    succeeded(backend, runs, run_id, new)
    backend.pass_time(1_001)
    member = f"{new.run_id}/run"
    assert backend.store.chains.extend_deadline(new.run_id, member, grace_ms=5_000).status == "extended"


# -- watchers and late starts -----------------------------------------------------------------------------------------


def test_an_open_run_is_watched_and_an_ended_one_says_so(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    for _ in range(2):
        assert backend.store.chains.watch(run_id, "default/r/1", pid="{a|b}").status == "watching"
    assert backend.store.runs.record(run_id, extra=True).extra["watch:default/r/1"] == b"{a|b}"
    ended = runs.ended("order-2")
    with backend.unchanged():
        assert backend.store.chains.watch(ended, "default/r/1", pid="").detail == "completed "
        unknown = backend.store.runs.new_id("x")
        assert backend.store.chains.watch(unknown, "default/r/1", pid="").detail == "unknown "


def test_a_barred_start_starts_nothing(backend: Backend, runs: Runs) -> None:
    for _ in range(2):
        assert backend.store.chains.bar_start("order-1", "child/p/1") is None
    with backend.unchanged():
        answer = runs.start(request_id="child/p/1")
    assert (answer.status, answer.run_id) == ("duplicate", "")


def test_a_start_that_has_come_cannot_be_barred(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(request_id="child/p/1")
    with backend.unchanged():
        assert backend.store.chains.bar_start("order-1", "child/p/1") == run_id
    backend.store.runs.end(run_id, status="terminated", code=11, details=["", ""])
    runs.started(request_id="another")
    with backend.unchanged():
        assert backend.store.chains.bar_start("order-1", "child/p/1") == run_id


def test_a_run_that_ends_leaves_word_what_becomes_of_its_children(backend: Backend, runs: Runs) -> None:
    entry: bytes = msgpack.packb(["orphan"])
    run_id = runs.sleeping(["open", "1", b"c" + entry], ["open", "2", b"c"], ["open", "3", b"t"])
    backend.store.runs.end(run_id, status="terminated", code=11, details=["", ""])
    assert runs.sweep().outbox == ((f"p/{run_id}/1", entry),)


def test_code_is_given_once_to_a_run_that_was_started_without(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(digest="", bundle=b"", fields={"type": "custom name"})
    chains = backend.store.chains
    assert chains.pin_bundle(run_id, digest=DIGEST, code=b"code", entry_id="shop:order") == DIGEST
    record = backend.store.runs.record(run_id)
    assert (record.fields["bundle"], record.fields["type"]) == (DIGEST, "shop:order")
    assert backend.store.runs.bundle(run_id, DIGEST) == b"code"
    backend.check()
    with backend.unchanged():
        assert chains.pin_bundle(run_id, digest="e" * 64, code=b"other", entry_id="shop:order") == DIGEST
    assert runs.commit(runs.lease(run_id), ending="completed").status == "done"
    assert backend.call("HLEN", runs.keys(run_id).bundles) == 0
    with backend.unchanged():
        assert chains.pin_bundle(run_id, digest="e" * 64, code=b"other", entry_id="x:y") == ""


def test_a_run_without_code_that_ends_takes_no_code_along(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(digest="", bundle=b"")
    backend.store.runs.end(run_id, status="terminated", code=11, details=["", ""])
    assert backend.call("HLEN", runs.keys(run_id).bundles) == 0
    assert 0 < backend.call("PTTL", runs.keys(run_id).record(run_id)) <= RETENTION_MS


def test_what_was_told_of_an_end_is_kept_as_long_as_the_run(backend: Backend, runs: Runs) -> None:
    run_id = runs.ended(extra={"request": b"\x80"})
    key = runs.keys(run_id).extra(run_id)
    for _ in range(2):
        backend.store.chains.note_told(run_id, "told")
    assert backend.store.runs.record(run_id, extra=True).extra["told"] == b"1"
    assert 0 < backend.call("PTTL", key) <= RETENTION_MS
    with backend.unchanged():
        backend.store.chains.note_told(backend.store.runs.new_id("nobody"), "told")
