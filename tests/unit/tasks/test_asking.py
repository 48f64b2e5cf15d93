"""Workers are asked for their queues in the main process of a worker, which forks those of its pool."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest
import redis
from celery import Celery

from orchestration import Orchestration
from orchestration.tasks.foreign.consumers import Consumers
from tests.support.waiting import wait_until


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads, and a fork
def test_processes_that_are_forked_while_it_asks_close_celerys_pool_at_once(redis_url: str) -> None:
    """They waited for the answer that the worker was waiting for: none that had ended could be replaced."""
    app = Celery("asks", broker=redis_url, backend=redis_url, set_as_current=False)
    runtime = Orchestration(app, config=[]).runtime
    asking = threading.Thread(target=Consumers(runtime, "one@here")._listen)
    asking.start()
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        wait_until(lambda: any(found["cmd"] == "brpop" for found in client.client_list()), message="it listens")
    children = [_fork(app) for _ in range(3)]
    try:
        for child in list(children):
            wait_until(lambda child=child: os.waitpid(child, os.WNOHANG)[0] == child, deadline_s=5)  # type: ignore[misc]
            children.remove(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        asking.join()
        runtime.close()
        app.close()


def _fork(app: Celery) -> int:
    child = os.fork()
    if child == 0:
        app.pool.force_close_all()  # as kombu does in each process that multiprocessing forks
        os._exit(0)
    return child
