"""Updates: delivered once for their id, answered by a commit, known as long as their run."""

from __future__ import annotations

import pytest

from orchestration.store.base import StoreOptions
from orchestration.store.store import Store
from orchestration.store.updates import ACCEPTED, UpdateStatus, encode_answer
from orchestration.types import RunId
from tests.store.backends import Backend
from tests.store.runs import RETENTION_MS, Runs

DONE = encode_answer(UpdateStatus.DONE, b"\x05")


def test_an_update_is_delivered_once_for_its_id(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    assert backend.store.updates.read(run_id, "u").status is UpdateStatus.UNKNOWN
    sent = backend.store.updates.send(run_id, "u", b"input", pushes=runs.push())
    assert sent.status == "accepted"
    assert runs.inbox(run_id) == [b"input"]
    assert runs.queue() == [b"wake"]
    assert run_id in runs.members(runs.keys(run_id).ready)
    with backend.unchanged():
        assert backend.store.updates.send(run_id, "u", b"again", pushes=runs.push()).status == "duplicate"
    state = backend.store.updates.read(run_id, "u")
    assert (state.status, state.is_answered, state.run_status) == (UpdateStatus.UNREAD, False, "running")


def test_a_wake_up_that_a_script_cannot_give_out_is_left_to_the_caller(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    assert backend.store.updates.send(run_id, "u", b"input").status == "wake"
    runs.lease(run_id)
    assert backend.store.updates.send(run_id, "v", b"input").status == "accepted", "its holder finds it"


def test_an_update_of_a_run_that_has_ended_is_refused(backend: Backend, runs: Runs) -> None:
    run_id = runs.ended()
    with backend.unchanged():
        sent = backend.store.updates.send(run_id, "u", b"input")
    assert (sent.status, sent.detail) == ("closed", "completed")
    assert backend.store.updates.send(runs.store.runs.new_id("order-1"), "u", b"input").detail == "unknown"


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        (StoreOptions(inbox_bound=2), "2 inputs are unread"),
        (StoreOptions(updates_bound=2), "2 updates were sent to this run"),
    ],
)
def test_an_update_above_a_bound_is_refused(backend: Backend, runs: Runs, options: StoreOptions, detail: str) -> None:
    run_id = runs.sleeping()
    store = Store(backend.connection, backend.keyspace, options)
    for name in ("u", "v"):
        store.updates.send(run_id, name, b"input")
    with backend.unchanged():
        sent = store.updates.send(run_id, "w", b"input")
    assert (sent.status, sent.detail) == ("full", detail)
    assert store.updates.send(run_id, "u", b"input").status == "duplicate", "one that is known is no new one"


def test_a_broker_key_of_another_type_refuses_all(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    backend.call("SET", "broker:orders", "x")
    with backend.unchanged(), pytest.raises(Exception, match="is no list"):
        backend.store.updates.send(run_id, "u", b"input", pushes=runs.push())


@pytest.mark.parametrize(
    ("answer", "why", "status", "value"),
    [
        (ACCEPTED, "", UpdateStatus.ACCEPTED, b"\xc0"),
        (DONE, "", UpdateStatus.DONE, b"\x05"),
        (encode_answer(UpdateStatus.FAILED, b"\x06"), "", UpdateStatus.FAILED, b"\x06"),
        (encode_answer(UpdateStatus.REJECTED, b"\x07"), "update", UpdateStatus.REJECTED, b"\x07"),
    ],
)
def test_a_commit_answers(
    backend: Backend, runs: Runs, answer: bytes, why: str, status: UpdateStatus, value: bytes
) -> None:
    run_id = runs.sleeping()
    backend.store.updates.send(run_id, "u", b"input")
    subscription = backend.store.updates.subscribe(run_id)
    told = backend.store.updates.told_channel(run_id)
    runs.commit(runs.lease(run_id), ["answer", "u", answer, why], ["tell", told, "u"])
    assert subscription.wait(5)
    subscription.close()
    state = backend.store.updates.read(run_id, "u")
    assert (state.status, state.value) == (status, value)
    assert backend.store.runs.record(run_id).number("refused:update") == (1 if why else 0)
    assert runs.inbox(run_id) == []


def test_whoever_waits_is_told_of_the_end(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    subscription = backend.store.updates.subscribe(run_id)
    runs.commit(runs.lease(run_id), ending="failed")
    assert subscription.wait(5)
    assert not subscription.wait(0.01)
    subscription.close()


def test_answers_live_as_long_as_their_run(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    backend.store.updates.send(run_id, "u", b"input")
    runs.commit(runs.lease(run_id), ["answer", "u", DONE, ""])
    backend.pass_time(10 * RETENTION_MS)
    backend.store.updates.send(run_id, "last", b"input")
    runs.commit(runs.lease(run_id), ending="completed")
    assert backend.store.updates.read(run_id, "u").status is UpdateStatus.DONE
    state = backend.store.updates.read(run_id, "last")
    assert (state.status, state.run_status) == (UpdateStatus.UNREAD, "completed"), "never read, never answered"
    assert backend.store.updates.send(run_id, "u", b"input").status == "duplicate"
    backend.pass_time(RETENTION_MS + 1)
    state = backend.store.updates.read(run_id, "u")
    assert (state.status, state.run_status) == (UpdateStatus.UNKNOWN, "")


def test_a_start_brings_its_first_update(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(inputs=[b"started", b"signal", b"update"], update="u")
    assert runs.inbox(run_id) == [b"started", b"signal", b"update"]
    assert backend.store.updates.read(run_id, "u").status is UpdateStatus.UNREAD
    assert backend.store.updates.send(run_id, "u", b"update").status == "duplicate"


def test_a_start_that_finds_a_run_gives_it_what_comes_with_it(backend: Backend, runs: Runs) -> None:
    """In the same script, so that there is no start that was answered whose signals are lost."""
    run_id = runs.sleeping()
    options = {"inputs": [b"started", b"signal", b"update"], "update": "u", "conflict": "use_existing"}
    found = runs.start(request_id="r", **options)
    assert (found.status, found.run_id, found.detail) == ("exists", run_id, "wake")
    assert runs.inbox(run_id) == [b"signal", b"update"]
    assert run_id in runs.members(runs.keys(run_id).ready)
    with backend.unchanged():
        assert runs.start(request_id="r", **options).status == "duplicate"
    assert runs.start(request_id="other", **options).detail == "wake"
    assert runs.inbox(run_id) == [b"signal", b"update", b"signal"], "the run has been sent this update already"
    runs.lease(run_id)
    assert runs.start(request_id="third", **options).detail == "", "its holder finds them"


def test_a_start_that_finds_a_full_inbox_is_refused(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    store = Store(backend.connection, backend.keyspace, StoreOptions(inbox_bound=2))
    store.updates.send(run_id, "u", b"input")
    runs.store = store
    with backend.unchanged():
        found = runs.start(conflict="use_existing", inputs=[b"started", b"one", b"two"])
    assert (found.status, found.run_id, found.detail) == ("full", run_id, "1")


def test_an_id_is_only_one_run_s(backend: Backend, runs: Runs) -> None:
    first, second = runs.sleeping(), runs.sleeping(workflow_id="order-2")
    assert backend.store.updates.send(first, "u", b"a").status == "wake"
    assert backend.store.updates.send(RunId(second), "u", b"b").status == "wake"
