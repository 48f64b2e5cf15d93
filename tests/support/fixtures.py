"""Fixtures of the whole suite; ``tests/conftest.py`` makes them known."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestration.embedded import EmbeddedRedis, find_server
from orchestration.errors import ConfigError
from tests.support.workers import WorkerProcess, start_worker

__all__ = ["redis_client", "redis_server", "redis_url", "second_redis", "worker"]

_databases = itertools.cycle(range(64))


def _require_server() -> None:
    try:
        find_server()
    except ConfigError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A real Redis for the whole session. Tests that stop, kill or flush a server take ``second_redis``."""
    _require_server()
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """URL of a database that is empty and this test's own."""
    url = redis_server.url_of(next(_databases))
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        client.flushdb()
    return url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the test's own database; answers are bytes."""
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        yield client


@pytest.fixture
def second_redis() -> Iterator[EmbeddedRedis]:
    """A server of this test's own, which it may stop, kill, pause or flush."""
    _require_server()
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start workers on the test's own database: ``worker(pool="prefork", env={...})``; all are killed at the end.

    Takes what :func:`tests.support.workers.start_worker` takes. The ledger of the examples is in ``tmp_path``.
    """
    started: list[WorkerProcess] = []

    @functools.wraps(start_worker)
    def start(**options: Any) -> WorkerProcess:
        options.setdefault("redis_url", redis_url)
        options.setdefault("log_dir", tmp_path)
        env = {"ORCHESTRATION_EXAMPLES_LEDGER": str(tmp_path / "ledger.sqlite"), **options.pop("env", {})}
        wait = options.pop("wait", True)
        process = start_worker(env=env, wait=False, **options)
        started.append(process)
        if wait:
            process.wait_until_ready()
        return process

    yield start
    for process in started:
        process.kill()
