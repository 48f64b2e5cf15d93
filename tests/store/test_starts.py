"""Starting a run: once for a request, as the policies allow, all of it or nothing."""

from __future__ import annotations

import pytest

from orchestration.errors import StoreError
from orchestration.store.results import Pushes
from tests.store.backends import Backend
from tests.store.runs import DIGEST, RETENTION_MS, Runs


def test_start_stores_everything_a_worker_needs(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(fields={"type": "t", "n": 2**62}, inputs=[b"a", b"b"], run_timeout_ms=5_000)
    keys = runs.keys(run_id)
    record = backend.store.runs.record(run_id, extra=True)
    assert record.status == "running"
    assert record.fields["id"] == "order-1"
    assert record.fields["n"] == str(2**62)
    assert record.extra == {"outer": b"\x80"}
    assert record.unread == 2
    assert runs.inbox(run_id) == [b"a", b"b"]
    assert backend.store.runs.current("order-1") == run_id
    assert backend.store.runs.bundle(run_id, DIGEST) == b"code"
    assert set(runs.members(keys.open_runs)) == set(runs.members(keys.ready)) == {run_id}
    assert set(runs.members(keys.timers)) == {f"{run_id}/run"}
    assert backend.store.runs.listing(closed=False, limit=5)[0][0] == run_id
    assert backend.store.runs.counts() == {"open": 1, "parked": 0, "closed": 0}


def test_start_again_with_the_same_request_is_answered_with_the_first_run(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(request_id="r")
    with backend.unchanged():
        again = runs.start(request_id="r", conflict="use_existing")
    assert (again.status, again.run_id) == ("duplicate", run_id)


@pytest.mark.parametrize("request_id", ["plain", "50%", "{a}", "a:b", "ünï"])
def test_a_request_is_remembered_when_another_run_has_taken_the_id(
    backend: Backend, runs: Runs, request_id: str
) -> None:
    """The mark of the earlier request is written by the script; it once missed the escaping of the key's name."""
    first = runs.ended(request_id=request_id)
    second = runs.started(request_id="other")
    with backend.unchanged():
        again = runs.start(request_id=request_id)
    assert (again.status, again.run_id) == ("duplicate", first)
    assert backend.store.runs.current("order-1") == second
    backend.pass_time(RETENTION_MS + 1)
    assert runs.start("order-2", request_id=request_id).status == "started"


def test_start_of_an_open_id_is_refused_and_changes_nothing(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    with backend.unchanged():
        result = runs.start(pushes=runs.push())
    assert (result.status, result.run_id) == ("open", run_id)
    assert runs.queue() == []


def test_use_existing_answers_with_the_open_run_and_remembers_the_request(backend: Backend, runs: Runs) -> None:
    run_id = runs.started()
    assert runs.start(request_id="x", conflict="use_existing").status == "exists"
    with backend.unchanged():
        again = runs.start(request_id="x", conflict="use_existing")
    assert (again.status, again.run_id) == ("duplicate", run_id)


@pytest.mark.parametrize(
    ("ended", "reuse", "status"),
    [
        ("completed", "reject_duplicate", "refused"),
        ("failed", "reject_duplicate", "refused"),
        ("completed", "allow_duplicate_failed_only", "refused"),
        ("failed", "allow_duplicate_failed_only", "started"),
        ("completed", "allow_duplicate", "started"),
    ],
)
def test_reuse_policy(backend: Backend, runs: Runs, ended: str, reuse: str, status: str) -> None:
    run_id = runs.ended(status=ended)
    if status == "refused":
        with backend.unchanged():
            result = runs.start(reuse=reuse)
        assert (result.status, result.run_id, result.detail) == ("refused", run_id, ended)
    else:
        assert runs.start(reuse=reuse).status == "started"


def test_start_without_the_code_says_so(backend: Backend, runs: Runs) -> None:
    with backend.unchanged():
        assert runs.start(bundle=b"").status == "bundle_missing"
    runs.started("order-1")
    assert runs.start("order-2", bundle=b"").status == "started"


def test_a_bundle_outlives_its_runs_and_is_kept_by_a_new_one(backend: Backend, runs: Runs) -> None:
    run_id = runs.ended()
    bundle = runs.keys(run_id).bundle(DIGEST)
    assert backend.call("PTTL", bundle) > RETENTION_MS
    runs.started("order-2", bundle=b"")
    assert backend.call("PTTL", bundle) == -1
    assert backend.call("HGET", runs.keys(run_id).bundles, DIGEST) == b"1"


def test_the_wake_up_is_given_out_with_the_start(backend: Backend, runs: Runs) -> None:
    runs.started(pushes=runs.push())
    assert runs.queue() == [b"wake"]


def test_the_wake_up_reaches_the_brokers_database(backend: Backend, runs: Runs) -> None:
    database = (backend.connection.database + 1) % 64
    broker = backend.at(database)
    run_id = runs.started(pushes=Pushes(database, (("lpush", "broker:q", b"m"), ("lpush", "broker:q", b"n"))))
    assert broker.call("LRANGE", "broker:q", 0, -1) == [b"n", b"m"]
    assert backend.store.runs.record(run_id).status == "running"
    assert runs.queue("broker:q") == []
    broker.call("DEL", "broker:q")


@pytest.mark.parametrize("name", ["lpush", "LPUSH"])
def test_a_broker_key_of_another_type_stops_the_start_before_it_writes(backend: Backend, runs: Runs, name: str) -> None:
    backend.call("SET", "broker:orders", "x")
    pushes = Pushes(backend.connection.database, ((name, "broker:orders", b"m"),))
    with backend.unchanged(), pytest.raises(StoreError, match="broker:orders"):
        runs.start(pushes=pushes)


def test_a_field_that_a_script_cannot_take_is_refused_before_anything_is_written(backend: Backend, runs: Runs) -> None:
    """It once was noticed by ``HSET`` in the middle of the script, with half a run written."""
    for value in (True, None, 1.5, ["a"]):
        with backend.unchanged(), pytest.raises(TypeError, match="'odd'"):
            runs.start(fields={"odd": value})


def test_many_startup_signals(backend: Backend, runs: Runs) -> None:
    run_id = runs.started(inputs=[b"%d" % i for i in range(9_000)])
    assert len(runs.inbox(run_id)) == 9_000


def test_a_request_of_another_workflow_is_another_request(backend: Backend, runs: Runs) -> None:
    """Marks are one for a shard: whether two workflows share one must make no difference."""
    runs.ended("order-1", request_id="r")
    runs.started("order-1", request_id="later")  # now the first request stands in a mark of its own
    assert runs.start("order-2", request_id="r").status == "started"
    with backend.unchanged():
        assert runs.start("order-2", request_id="r").status == "duplicate"
