"""Each test of the store runs over memory, over a real Redis, and over a real cluster of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.backends import Backend, ClusterBackend, MemoryBackend, RedisBackend
from tests.store.runs import Runs


@pytest.fixture(params=["memory", "redis", pytest.param("cluster", marks=pytest.mark.slow)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A store with one shard. When the test is over, every key left must have a lifetime or a reason to stay."""
    made: Backend
    if request.param == "memory":
        made = MemoryBackend()
    elif request.param == "cluster":
        made = ClusterBackend(request.getfixturevalue("redis_cluster"))
    else:
        made = RedisBackend(request.getfixturevalue("redis_url"))
    yield made
    made.check()
    made.close()


@pytest.fixture
def runs(backend: Backend) -> Runs:
    """Shorthands for the verbs, with everything that a test does not care about filled in."""
    return Runs(backend)
