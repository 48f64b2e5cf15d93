"""A broker that loses, doubles or forgets its messages: the order ends as if it had kept them all."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
import redis
from celery.result import AsyncResult

from orchestration.embedded import EmbeddedRedis
from orchestration.errors import WorkflowNotFoundError
from tests.support import wait_until
from tests.support.broker import Relay, Rule, dropped_once, duplicated
from tests.support.fault_runs import ORDER, QUEUES, Bench, assert_store_clean, expected_result, follow

_IMPATIENT: Final = {
    "ORCHESTRATION_SWEEP_INTERVAL_MS": "200",
    "ORCHESTRATION_OUTBOX_GRACE_MS": "300",
    "ORCHESTRATION_RESUME_GRACE_MS": "300",
}
"""What is lost many times in a row is found sooner; how soon it is found by default, other tests tell."""


_SLOW_THREADS: Final = ["prefork", pytest.param("threads", marks=pytest.mark.slow)]


@pytest.mark.timeout(150)
@pytest.mark.parametrize("pool", ["threads", "prefork"])
@pytest.mark.parametrize("rule", [duplicated, pytest.param(dropped_once, marks=pytest.mark.slow)])
def test_every_message(rule: Rule, pool: str, redis_url: str, tmp_path: Path) -> None:
    with Relay(redis_url, QUEUES, rule) as relay, Bench(redis_url, tmp_path, env=_IMPATIENT) as bench:
        for _ in range(2):
            bench.worker(pool=pool, env={"FAULTS_RELAY": "1"}, wait=False)
        for worker in bench.workers:
            worker.wait_until_ready()
        orders = [bench.start(f"o-{number}", foreign=rule is duplicated and number == 2) for number in range(3)]
        follow(orders, deadline_s=90)
        for order in orders:
            order.check()
        assert relay.copies > 24
        if rule is dropped_once:
            lost = [identity for identity, seen in relay.seen.items() if seen > 1]
            assert len(lost) >= 24, "every activity's message was sent twice"
        assert_store_clean(redis_url)
        assert sum(bench.ledger.executions().values()) == 24


@pytest.mark.parametrize("pool", _SLOW_THREADS)
def test_every_message_dropped_of_many_at_once(pool: str, redis_url: str, tmp_path: Path) -> None:
    with Relay(redis_url, QUEUES, dropped_once) as relay, Bench(redis_url, tmp_path, env=_IMPATIENT) as bench:
        bench.worker(pool=pool, env={"FAULTS_RELAY": "1"})
        handle = bench.client.start_workflow("faults:fan", {"id": "fan", "width": 8}, id="fan")
        assert handle.result(timeout=60) == 8
        assert sum(seen == 2 for seen in relay.seen.values()) >= 8
        assert_store_clean(redis_url)
        assert bench.ledger.executions() == {"reserve": 8}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pool", _SLOW_THREADS)
def test_separate_broker_flushed(pool: str, redis_url: str, second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """Whatever is in the broker goes three times, bindings included; the store is another server."""
    with Bench(redis_url, tmp_path, broker_url=second_redis.url, env={"FAULTS_WORK_MS": "100"}) as bench:
        bench.worker(pool=pool)
        orders = [bench.start(f"o-{number}") for number in range(4)]
        at = [1, 3, 6]
        broker = redis.Redis.from_url(second_redis.url)

        def flush() -> None:
            if at and orders[0].completed >= at[0]:
                at.pop(0)
                broker.flushall()

        follow(orders, deadline_s=90, meanwhile=flush)
        assert not at
        for order in orders:
            order.check()
        assert_store_clean(redis_url, broker_url=second_redis.url)
        assert sum(bench.ledger.executions().values()) == 32
        broker.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_separate_broker_away(pool: str, redis_url: str, second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """The broker is killed between two steps and comes back, empty: no run is given up for it."""
    with Bench(redis_url, tmp_path, broker_url=second_redis.url, env={"FAULTS_WORK_MS": "300"}) as bench:
        bench.worker(pool=pool)
        orders = [bench.start(f"o-{number}") for number in range(2)]

        def charged() -> bool:
            return [order.look() for order in orders] and all(order.completed >= 1 for order in orders)

        wait_until(charged, deadline_s=20, message="the first activities")
        second_redis.kill()
        time.sleep(3)  # activities end, timers fire and steps are made while nothing can be published
        second_redis.start()
        follow(orders, deadline_s=90)
        for order in orders:
            order.check()
        assert "run parked" not in bench.logs()
        assert_store_clean(redis_url, broker_url=second_redis.url)
        assert sum(bench.ledger.executions().values()) == 16


@pytest.mark.parametrize("orchestrated", [True, False])
def test_redelivered_start(orchestrated: bool, redis_url: str, tmp_path: Path) -> None:
    """The same start message arrives twice at once, again after a restart, and again when the run has ended."""
    with Bench(redis_url, tmp_path) as bench:
        client = bench.app if orchestrated else bench.foreign
        args = [{"id": "o-1", "nap": "300ms"}]
        client.send_task(ORDER, args=args, task_id="o-1", queue="faults")
        broker = redis.Redis.from_url(redis_url)
        (message,) = broker.lrange("faults", 0, -1)
        broker.lpush("faults", message)
        worker = bench.worker()
        order = bench.start_of("o-1")
        wait_until(lambda: order.look() or order.completed >= 2, deadline_s=20, message="the charge")
        worker.stop()
        broker.lpush("faults", message)
        bench.worker()
        follow([order])
        run_id, history = order.handle.run_id, list(order.handle.raw_history())
        for _ in range(2):
            broker.lpush("faults", message)
        wait_until(lambda: not broker.llen("faults"), message="the messages taken")
        assert_store_clean(redis_url)
        assert bench.client.count_workflows() == {"open": 0, "parked": 0, "closed": 1}
        assert (order.handle.run_id, list(order.handle.raw_history())) == (run_id, history)
        order.check()
        assert Counter(bench.ledger.executions().values()) == {1: 8}
        broker.close()


def test_plain_start_from_a_foreign_client(redis_url: str, tmp_path: Path) -> None:
    """An application that has never heard of workflows starts one by name and waits for its result."""
    with Bench(redis_url, tmp_path) as bench:
        bench.worker()
        order = bench.start(foreign=True)
        follow([order])
        order.check()
        assert AsyncResult("o-1", app=bench.foreign).get(timeout=5) == expected_result("o-1")


def test_plain_start_is_as_safe_as_the_broker(redis_url: str, tmp_path: Path) -> None:
    """Outside the promise: a foreign start whose message is lost before any worker has it has never happened.

    The same start from a client with the extension is a run from the moment it was sent.
    """
    with Bench(redis_url, tmp_path) as bench:
        bench.foreign.send_task(ORDER, args=[{"id": "o-1", "nap": "1ms"}], task_id="o-1", queue="faults")
        order = bench.start("o-2", nap="1ms")
        assert redis.Redis.from_url(redis_url).delete("faults") == 1
        bench.worker()
        follow([order])
        with pytest.raises(WorkflowNotFoundError):
            bench.client.get_workflow("o-1").describe()
        assert AsyncResult("o-1", app=bench.foreign).state == "PENDING"
        assert bench.ledger.effects(subject="o-1") == []
