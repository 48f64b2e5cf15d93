"""Threads that talk to Redis, however many they are."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestration.errors import StoreUnavailableError
from orchestration.store.actors import Actors
from orchestration.store.addresses import read_address
from orchestration.store.cluster import ClusterConnection
from orchestration.store.connection import RedisConnection
from orchestration.store.keys import Keyspace
from orchestration.store.scripts import load_script
from tests.support import wait_until
from tests.support.redis_servers import HOST, RedisProcess, free_ports

THREADS = 150


def test_more_threads_than_redis_py_would_have_connections_for(redis_url: str) -> None:
    """With redis-py's bound of 100 the others were told that Redis does not answer, for as long as those lived."""
    script = load_script("worker_ages")
    all_at_once = threading.Barrier(THREADS)
    with contextlib.closing(RedisConnection(redis_url, patience_s=1)) as connection:

        def ask(_: int) -> object:
            answer = connection.run(script, ["orc:workers"], [])
            all_at_once.wait(30)
            return answer

        with ThreadPoolExecutor(THREADS) as threads:
            assert len(list(threads.map(ask, range(THREADS)))) == THREADS


def test_threads_that_let_go_leave_their_connection_to_others(redis_url: str) -> None:
    script = load_script("worker_ages")
    with contextlib.closing(RedisConnection(redis_url, patience_s=1, name="frugal")) as connection:

        def ask() -> None:
            connection.run(script, ["orc:workers"], [])
            connection.let_go()
            connection.let_go()  # it has none any more

        with contextlib.ExitStack() as stack:
            for _ in range(10):  # threads that live on
                stack.enter_context(ThreadPoolExecutor(1)).submit(ask).result()
            clients = bytes(connection.call("CLIENT", "LIST"))
        assert clients.count(b"name=frugal") == 1


def test_a_cluster_that_is_away_as_a_whole_is_waited_for_and_found_again() -> None:
    """What redis-py raises when it finds no node to ask is none of its own errors."""
    script = load_script("worker_ages")
    (port,) = free_ports(1, below=55_000)
    with RedisProcess(port, ["cluster-enabled yes", "cluster-config-file nodes.conf"]) as node:
        node.ask("CLUSTER", "ADDSLOTS", *range(16_384))
        wait_until(lambda: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"), deadline_s=20)
        address = read_address(f"redis+cluster://{HOST}:{port}")
        with contextlib.closing(ClusterConnection(address, patience_s=1)) as connection:
            connection.run(script, ["orc:workers"], [])
            assert connection.wait(0.01, "BLMOVE", "a", "a", "LEFT", "LEFT", 0.01) is None
            node.kill()
            for ask in (
                lambda: connection.run(script, ["orc:workers"], []), lambda: connection.call("GET", "a"),
                lambda: connection.run_many([(script, ["orc:workers"], [])]),
            ):  # fmt: skip
                began = time.monotonic()
                with pytest.raises(StoreUnavailableError):
                    ask()
                assert time.monotonic() - began > 0.2, "it was not tried again"
            node.start()
            with connection.patience(20):
                assert connection.run(script, ["orc:workers"], []) is not None


def test_a_wait_for_mail_may_be_longer_than_an_answer_may_take(redis_url: str) -> None:
    """Each idle wait was taken for a lost answer, with warnings for ever and mail that came seconds late."""
    with contextlib.closing(RedisConnection(redis_url, patience_s=10, connect_s=0.5)) as connection:
        actors = Actors(connection, Keyspace("waits", "default", 1).actors)
        began = time.monotonic()
        assert not actors.wait_for_mail("aaaaaaaaaaaa", timeout_s=1.3)
        assert time.monotonic() - began >= 1.3
        assert connection.losses == 0
        actors.join("aaaaaaaaaaaa", {})
        actors.run([actors.post("", "aaaaaaaaaaaa", [("", b"letter")])])
        began = time.monotonic()
        assert actors.wait_for_mail("aaaaaaaaaaaa", timeout_s=30)
        assert time.monotonic() - began < 15
        assert actors.take_mail("aaaaaaaaaaaa", []) == [b"letter"]
        actors.bury("aaaaaaaaaaaa")


def test_a_wait_ends_when_redis_does_not_answer_in_time_after_it() -> None:
    (port,) = free_ports(1)
    with RedisProcess(port) as server, contextlib.closing(
        RedisConnection(f"redis://{HOST}:{port}/0", patience_s=10, connect_s=0.5)
    ) as connection:  # fmt: skip
        actors = Actors(connection, Keyspace("waits", "default", 1).actors)
        assert not actors.wait_for_mail("aaaaaaaaaaaa", timeout_s=0.01)
        server.pause()
        with connection.patience(0), pytest.raises(StoreUnavailableError):
            actors.wait_for_mail("aaaaaaaaaaaa", timeout_s=0.2)
        server.resume()
        assert not actors.wait_for_mail("aaaaaaaaaaaa", timeout_s=0.01)


@pytest.mark.slow
def test_the_redis_py_of_celery_5_5(redis_url: str, tmp_path: Path) -> None:
    """Its kombu allows none after 5.2.1, whose pools have to be told what a connection is for."""
    folder = tmp_path / "redis-py"
    install = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(folder), "redis==5.2.1"]
    try:
        subprocess.run(install, check=True, timeout=300)
    except subprocess.SubprocessError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"redis-py 5.2.1 cannot be installed here: {error}")
    code = f"""
import redis
from orchestration.store.connection import RedisConnection
from orchestration.store.scripts import load_script
assert redis.VERSION == (5, 2, 1), redis.VERSION
connection = RedisConnection({redis_url!r}, patience_s=5)
assert connection.run(load_script("worker_ages"), ["orc:workers"], []) is not None
assert connection.wait(0.01, "BLMOVE", "a", "a", "LEFT", "LEFT", 0.01) is None
"""
    paths = os.pathsep.join([str(folder), *filter(None, sys.path)])
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ, "PYTHONPATH": paths})
