"""Threads that talk to Redis, however many they are."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from orchestration.store.connection import RedisConnection
from orchestration.store.scripts import load_script

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
