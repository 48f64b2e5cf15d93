"""The Redis that keeps the runs goes away: at the start, in the middle, killed and back from its append-only file."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from orchestration.embedded import EmbeddedRedis
from orchestration.errors import StoreUnavailableError
from tests.support import wait_until
from tests.support.fault_runs import ORDER, Bench, assert_store_clean, follow


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.slow)])
def test_killed_in_the_middle(pool: str, second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """Store, broker and result backend in one server, killed three times; work goes on each time it is back."""
    with Bench(second_redis.url, tmp_path, env={"FAULTS_WORK_MS": "100"}) as bench:
        bench.worker(pool=pool)
        orders = [bench.start(f"o-{number}") for number in range(3)]
        at = [1, 3, 6]

        def kill() -> None:
            if at and orders[0].completed >= at[0]:
                at.pop(0)
                second_redis.kill()
                second_redis.start()

        follow(orders, deadline_s=90, meanwhile=kill)
        assert not at
        for order in orders:
            order.check(faults=3)
        assert_store_clean(second_redis.url)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_away_for_longer_than_anyone_waits(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """A body ends while nothing can be reported, for longer than a client would try: it does not run again."""
    env = {"FAULTS_WORK_MS": "500", "ORCHESTRATION_START_TIMEOUT_MS": "1000"}
    with Bench(second_redis.url, tmp_path, env=env) as bench:
        bench.worker()
        order = bench.start()
        wait_until(lambda: order.look() or bench.ledger.executions().get("charge"), deadline_s=20, message="the charge")
        second_redis.kill()
        time.sleep(4)
        second_redis.start()
        follow([order], deadline_s=90)
        order.check()
        assert_store_clean(second_redis.url)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_away_for_longer_than_the_living_may_be_silent(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """When Redis is back nobody has been heard of for a while: those who live keep what they have claimed."""
    env = {
        "FAULTS_WORK_MS": "6000", "ORCHESTRATION_HEARTBEAT_MS": "300", "ORCHESTRATION_DEAD_AFTER_MS": "1500",
    }  # fmt: skip
    with Bench(second_redis.url, tmp_path, env=env) as bench:
        bench.worker()
        handle = bench.client.start_workflow("faults:fan", {"id": "fan", "width": 1}, id="fan")
        wait_until(bench.ledger.executions, deadline_s=20, message="the body")
        second_redis.kill()
        time.sleep(2.5)
        second_redis.start()
        assert handle.result(timeout=60) == 1
        assert bench.ledger.executions() == {"reserve": 1}
        assert_store_clean(second_redis.url)


def test_away_at_the_start_of_a_client(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """A start is tried for a while, then refused with what to look at; nothing is half done."""
    second_redis.kill()
    with Bench(second_redis.url, tmp_path, start_timeout_ms=500) as bench:
        with pytest.raises(StoreUnavailableError, match=r"no reply from Redis at 127.0.0.1:\d+/0 .* for 0.5 s"):
            bench.client.start_workflow(ORDER, {"id": "o-1", "nap": "1ms"}, id="o-1")
        second_redis.start()
        assert bench.client.list_workflows() == []


def test_back_while_a_client_tries(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    second_redis.kill()
    with Bench(second_redis.url, tmp_path) as bench:
        later = threading.Timer(1.0, second_redis.start)
        later.start()
        handle = bench.client.start_workflow(ORDER, {"id": "o-1", "nap": "1ms"}, id="o-1")
        later.join()
        assert handle.describe().status == "running"


def test_away_at_the_start_of_a_worker(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """A worker tries for a while, then ends and says why."""
    second_redis.kill()
    with Bench(second_redis.url, tmp_path, env={"ORCHESTRATION_START_TIMEOUT_MS": "1500"}) as bench:
        worker = bench.worker(wait=False)
        assert worker.wait_until_gone(deadline_s=30) != 0
        assert "no reply from Redis at 127.0.0.1:" in worker.log()
        assert "check that it runs and that orchestration_redis_url is right" in worker.log()


def test_back_while_a_worker_tries(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    second_redis.kill()
    with Bench(second_redis.url, tmp_path) as bench:
        worker = bench.worker(wait=False)
        worker.wait_for_log("Redis does not answer", deadline_s=30)
        second_redis.start()
        worker.wait_until_ready()
        order = bench.start(nap="1ms")
        follow([order])
        order.check()
