"""With an archive, an ended run is kept until it has been archived, and its retention counts from its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestration.store.base import StoreOptions
from tests.store.backends import Backend, MemoryBackend, RedisBackend
from tests.store.runs import RETENTION_MS, Runs


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    options = StoreOptions(archives=True)
    made: Backend
    if request.param == "memory":
        made = MemoryBackend(options=options)
    else:
        made = RedisBackend(request.getfixturevalue("redis_url"), options=options)
    yield made
    made.check()
    made.close()


@pytest.mark.parametrize("how", ["commit", "end"])
def test_a_run_is_kept_until_it_has_been_archived(backend: Backend, runs: Runs, how: str) -> None:
    if how == "commit":
        run_id = runs.ended(search={"n": 1})
    else:
        run_id = runs.started(search={"n": 1})
        backend.store.runs.end(run_id, status="terminated", code=75, details=[])
    keys, archives = runs.keys(run_id), backend.store.archives
    backend.pass_time(2 * RETENTION_MS)
    runs.sweep()
    assert backend.store.runs.record(run_id).number("closed")
    assert [found for found, _ in backend.store.visibility.page([], page_size=5).runs] == [run_id]
    shard = archives.shards[0]
    assert archives.take(shard, limit=5, hold_ms=60_000) == [run_id]
    with backend.unchanged():
        assert archives.take(shard, limit=5, hold_ms=60_000) == []  # another has it in hand
    backend.pass_time(60_001)
    assert archives.take(shard, limit=5, hold_ms=60_000) == [run_id]
    for _ in range(2):
        archives.finish(run_id)
        assert backend.call("PTTL", keys.record(run_id)) <= 1000
        assert backend.call("EXISTS", keys.unarchived) == 0
    runs.sweep()
    backend.pass_time(1_001)
    assert backend.store.runs.records([run_id]) == []
    assert backend.store.visibility.page([], page_size=5).runs == ()
    assert backend.call("EXISTS", keys.index, keys.ended) == 0


def test_the_retention_of_an_archived_run_counts_from_its_end(backend: Backend, runs: Runs) -> None:
    run_id = runs.ended()
    keys = runs.keys(run_id)
    backend.call("HSET", keys.updates(run_id), "update", "its outcome")
    backend.pass_time(RETENTION_MS - 100_000)
    backend.store.archives.finish(run_id)
    for key in (keys.record(run_id), keys.extra(run_id), keys.history(run_id), keys.updates(run_id)):
        assert 90_000 < backend.call("PTTL", key) <= 100_000


def test_a_run_that_is_gone_waits_no_more(backend: Backend, runs: Runs) -> None:
    run_id = runs.ended()
    backend.call("DEL", runs.keys(run_id).record(run_id), runs.keys(run_id).extra(run_id))
    backend.call("DEL", runs.keys(run_id).history(run_id))
    backend.store.archives.finish(run_id)
    assert backend.store.archives.take(backend.store.archives.shards[0], limit=5, hold_ms=1) == []
