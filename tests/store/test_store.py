"""A store is opened by those who agree with it; workers are heard of; key names cannot run into each other."""

from __future__ import annotations

import pytest

from orchestration.errors import ConfigError
from orchestration.store.keys import Keyspace, check_workflow_id
from orchestration.store.store import Store
from tests.store.backends import Backend, MemoryBackend, RedisBackend
from tests.store.runs import Runs


def test_a_store_is_opened_again_with_the_same_number_of_shards(backend: Backend) -> None:
    with backend.unchanged():
        Store(backend.connection, Keyspace("orc", "default", 1)).open()
        backend.store.open()


def test_another_number_of_shards_is_refused(backend: Backend) -> None:
    with backend.unchanged(), pytest.raises(ConfigError, match=r"made with 1 shards.*set it to 1"):
        Store(backend.connection, Keyspace("orc", "default", 8)).open()


def test_another_format_is_refused(backend: Backend) -> None:
    backend.call("HSET", backend.keyspace.meta, "format", 2)
    with backend.unchanged(), pytest.raises(ConfigError, match="has format 2, this release reads format 1"):
        Store(backend.connection, backend.keyspace).open()


def test_namespaces_are_apart(backend: Backend, runs: Runs) -> None:
    runs.started("order-1")
    other = Store(backend.connection, Keyspace("orc", "other", 2))
    assert other.runs.counts()["open"] == 0
    assert other.runs.records([other.runs.new_id("order-1")]) == []


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_eight_shards_hold_what_one_does(kind: str, request: pytest.FixtureRequest) -> None:
    backend: Backend
    if kind == "memory":
        backend = MemoryBackend(shards=8)
    else:
        backend = RedisBackend(request.getfixturevalue("redis_url"), shards=8)
    runs = Runs(backend)
    ids = [runs.started(f"order-{number}") for number in range(20)]
    assert len({run_id[:2] for run_id in ids}) > 3
    for number, run_id in enumerate(ids):
        assert backend.store.runs.current(f"order-{number}") == run_id
        assert runs.commit(runs.lease(run_id), workflow_id=f"order-{number}").status == "done"
    assert {run_id for run_id, _ in backend.store.runs.listing(closed=False, limit=50)} == set(ids)
    assert backend.store.runs.counts()["open"] == 20
    backend.check()
    backend.close()


def test_workers_are_heard_of_until_they_leave(backend: Backend) -> None:
    workers = backend.store.workers
    assert workers.ages() == {}
    workers.beat("a")
    backend.pass_time(500)
    workers.beat("b")
    ages = workers.ages()
    assert set(ages) == {"a", "b"}
    assert ages["a"] >= 500 > ages["b"] >= 0
    workers.beat("a")
    assert workers.ages()["a"] < 500
    workers.leave("b", silent_ms=60_000)
    assert set(workers.ages()) == {"a", "b"}, "it has been heard of after all"
    for _ in range(2):
        workers.leave("b")
        assert set(workers.ages()) == {"a"}


def test_workers_take_turns(backend: Backend) -> None:
    workers = backend.store.workers
    assert workers.take_turn("a", turn_ms=60_000)
    assert workers.take_turn("a", turn_ms=60_000)
    with backend.unchanged():
        assert not workers.take_turn("b", turn_ms=60_000)
    backend.pass_time(60_001)
    assert workers.take_turn("b", turn_ms=60_000)


def test_claims_of_a_process_that_has_none(backend: Backend) -> None:
    assert backend.store.workers.claims("nobody") == []


# -- names ------------------------------------------------------------------------------------------------------------


def test_all_keys_of_a_shard_share_its_hash_tag() -> None:
    for shard in Keyspace("p{x}", "n}s", 3):
        names = [
            shard.workflow("{a}b%"), shard.request("}"), shard.record("r"), shard.extra("r"), shard.history("r"),
            shard.inbox("r"), shard.open("r"), shard.claims("o"), shard.bundle("d"), shard.done_channel("r"),
            shard.bundles, shard.timers, shard.handed, shard.ready, shard.pending, shard.frontier, shard.outbox,
            shard.outbox_due, shard.open_runs, shard.closed_runs, shard.parked_runs, shard.index,
            shard.types, shard.ended, shard.unarchived,
        ]  # fmt: skip
        assert len(set(names)) == len(names)
        assert len({name[name.index("{") : name.index("}") + 1] for name in names}) == 1


def test_names_that_differ_give_keys_that_differ() -> None:
    shard = Keyspace("orc", "n", 1).all[0]
    texts = ["a", "a%", "a%25", "a{", "a%7B", "a}", "{a}", "a:b", "ä", " "]
    assert len({shard.workflow(text) for text in texts}) == len(texts)


@pytest.mark.parametrize("run_id", ["", "0", "02ff", "-1ab", "+1ab", " 1ab", "zz", "1_0", "0A"])
def test_what_is_no_run_id_of_this_store_is_refused(run_id: str) -> None:
    """``int`` takes a sign and blanks: ``-1`` once named the last shard."""
    with pytest.raises(ValueError, match="is not a run id"):
        Keyspace("orc", "n", 2).of_run(run_id)


def test_a_run_id_finds_its_workflows_shard() -> None:
    keyspace = Keyspace("orc", "n", 256)
    for number in range(500):
        workflow_id = f"order-{number}"
        assert keyspace.of_run(keyspace.new_run_id(workflow_id)) == keyspace.of_workflow(workflow_id)


@pytest.mark.parametrize("shards", [0, 257, -1])
def test_a_number_of_shards_out_of_range_is_refused(shards: int) -> None:
    with pytest.raises(ValueError, match="1 to 256"):
        Keyspace("orc", "n", shards)


@pytest.mark.parametrize("workflow_id", ["a", "a" * 255, "ü" * 127, "a b", "{}%:"])
def test_workflow_ids_that_are_fine(workflow_id: str) -> None:
    assert check_workflow_id(workflow_id) == workflow_id


@pytest.mark.parametrize("workflow_id", ["", "a" * 256, "ü" * 128, "a\n", "\x00", "\x7f", "\x85", "\ud800"])
def test_workflow_ids_that_are_refused(workflow_id: str) -> None:
    with pytest.raises(ValueError, match="a workflow id has"):
        check_workflow_id(workflow_id)
