"""take_shown and put_shown: runs whose Celery tasks are looked after."""

from __future__ import annotations

from tests.store.backends import Backend
from tests.store.runs import Runs


def _take(backend: Backend, runs: Runs) -> tuple[str, list[str]]:
    shown = backend.store.shown
    (shard,) = [shard for shard in shown.shards if shard.tag == runs.keys(runs.store.runs.new_id("order-1")).tag]
    held, found = shown.take(shard, limit=10, hold_ms=30_000)
    return held, list(found)


def test_a_step_asks_and_the_earliest_time_counts(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping(["show", 2_000])
    due = runs.members(runs.keys(run_id).shown)[run_id]
    backend.store.runs.deliver(run_id, b"in")
    runs.commit(runs.lease(run_id), ["show", 9_000])
    assert runs.members(runs.keys(run_id).shown)[run_id] == due
    assert _take(backend, runs)[1] == []
    backend.pass_time(2_001)
    assert _take(backend, runs)[1] == [run_id]
    assert _take(backend, runs)[1] == []
    backend.pass_time(30_001)
    assert _take(backend, runs)[1] == [run_id]


def test_what_a_step_asks_for_meanwhile_counts(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping(["show", 1_000])
    backend.pass_time(1_001)
    held, _ = _take(backend, runs)
    backend.store.runs.deliver(run_id, b"in")
    runs.commit(runs.lease(run_id), ["show", 1_000])
    with backend.unchanged():
        assert not backend.store.shown.put(run_id, after_ms=60_000, held=held)
    backend.pass_time(1_001)
    held, found = _take(backend, runs)
    assert found == [run_id]
    assert backend.store.shown.put(run_id, after_ms=60_000, held=held)
    backend.pass_time(59_000)
    assert _take(backend, runs)[1] == []
    backend.pass_time(1_001)
    held, found = _take(backend, runs)
    assert found == [run_id]
    assert backend.store.shown.put(run_id, after_ms=0, held=held)
    assert runs.members(runs.keys(run_id).shown) == {}


def test_a_run_that_was_never_shown_leaves_nothing_when_it_ends(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping(["show", 1_000])
    backend.store.runs.deliver(run_id, b"in")
    runs.commit(runs.lease(run_id), ending="completed")
    assert runs.members(runs.keys(run_id).shown) == {}


def test_the_end_of_a_run_that_was_shown_is_looked_at(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping(["show", 1_000])
    backend.pass_time(1_001)
    held, _ = _take(backend, runs)
    backend.store.runs.deliver(run_id, b"in")
    runs.commit(runs.lease(run_id), ending="completed")
    backend.pass_time(30_001)
    held, found = _take(backend, runs)
    assert found == [run_id]
    assert backend.store.shown.put(run_id, after_ms=0, held=held)


def test_a_start_asks_before_the_run_has_begun(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(show_ms=1_000)
    backend.pass_time(1_001)
    held, found = _take(backend, runs)
    assert found == [run_id]
    backend.store.runs.end(run_id, status="terminated", code=75, details=[])
    assert backend.store.shown.put(run_id, after_ms=0, held=held)


def test_a_run_that_follows_is_looked_after(backend: Backend, runs: Runs) -> None:
    run_id = runs.sleeping()
    assert backend.store.shown.put(run_id, after_ms=500)
    assert backend.store.shown.put(run_id, after_ms=5_000)
    backend.pass_time(501)
    assert _take(backend, runs)[1] == [run_id]


def test_the_sweep_of_the_shard_says_when_the_next_look_is(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    assert runs.sweep().shown_ms == 0
    before = backend.now_ms()
    backend.store.shown.put(run_id, after_ms=9_000)
    assert before + 9_000 <= runs.sweep().shown_ms <= backend.now_ms() + 9_000
