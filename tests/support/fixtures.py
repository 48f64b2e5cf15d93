"""Fixtures of the whole suite; ``tests/conftest.py`` makes them known."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestration.client import Client
from orchestration.embedded import EmbeddedRedis, find_server
from orchestration.errors import ConfigError
from tests.support.projects import Deployment, Project, deployed
from tests.support.workers import WorkerProcess, start_worker

__all__ = [
    "client", "empty_database", "redis_client", "redis_server", "redis_url", "running", "second_redis", "urls",
    "worker",
]  # fmt: skip

_DATABASES = 8192
_databases = iter(range(64, _DATABASES))
"""Each is given out once: what an earlier test has left running, or remembers of its broker, is no part of a later.
The first are left to tests that name a database themselves."""


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
    with EmbeddedRedis(databases=_DATABASES) as server:
        yield server


def empty_database(server: EmbeddedRedis) -> str:
    """URL of a database that is empty and the caller's own."""
    return server.url_of(next(_databases))


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> Iterator[str]:
    """URL of a database that is empty and this test's own."""
    url = empty_database(redis_server)
    yield url
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        client.flushdb()


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The module's ``project``: its definitions written, one worker that serves them, on a database of its own."""
    project: Project = request.module.project
    with deployed(project, tmp_path_factory.mktemp("project"), empty_database(redis_server)) as deployment:
        deployment.worker()
        yield deployment


@pytest.fixture
def client(running: Deployment) -> Client:
    """A client beside the worker that serves the module's ``project``."""
    return running.client


@pytest.fixture
def urls(redis_server: EmbeddedRedis) -> list[str]:
    """URLs of eight databases that are empty and this test's own."""
    return [empty_database(redis_server) for _ in range(8)]


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
