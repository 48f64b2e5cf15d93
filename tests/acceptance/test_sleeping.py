"""A sleeping run costs bytes in Redis and nothing else."""

from __future__ import annotations

import contextlib
import gc

import pytest
import redis

from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.projects import Deployment, Project, deployed

project = Project(tasks=["tests.acceptance.tasks"])
project.celery_task("add", "accept.add")
nap = project.workflow(
    "nap",
    """
    local time = require("time")
    local function main(input)
        time.sleep("1h")
        return input
    end
    return main
    """,
    modules=["time"],
)

INPUT = {"order": "A-1", "amount": 4990, "customer": "Ana"}
KIB = 1024


def sleeping_runs(deployment: Deployment, number: int, *, by_celery: bool) -> None:
    """Start so many and wait until all of them sleep, with those that sleep already."""
    already = _timers(deployment)
    for index in range(number):
        if by_celery:
            deployment.app.send_task(nap, args=[INPUT])
        else:
            deployment.client.start_workflow(nap, INPUT, id=f"order-{already + index:06d}")
    wait_until(lambda: _timers(deployment) >= already + number, deadline_s=30 + number / 100, message="all asleep")


def _timers(deployment: Deployment) -> int:
    with contextlib.closing(redis.Redis.from_url(deployment.redis_url)) as client:
        return sum(client.zcard(key) for key in client.scan_iter("*:timers"))


def used_memory(url: str) -> int:
    """Memory of the data set alone: everything that is not the server's own."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        client.execute_command("MEMORY", "PURGE")
        stats = client.memory_stats()
        return int(stats["dataset.bytes"]) + sum(
            value["overhead.hashtable.main"] + value["overhead.hashtable.expires"]
            for key, value in stats.items()
            if str(key).startswith("db.")
        )


@pytest.mark.parametrize("by_celery", [True, False], ids=["send_task", "client"])
def test_a_sleeping_run_costs_two_kibibytes(by_celery, tmp_path, capsys):
    with EmbeddedRedis() as server, deployed(project, tmp_path, server.url) as deployment:
        deployment.worker()
        sleeping_runs(deployment, 20, by_celery=by_celery)  # bundles, and what else is there once
        before, number = used_memory(server.url), 600
        already = _timers(deployment)
        for index in range(number):
            if by_celery:
                deployment.app.send_task(nap, args=[INPUT])
            else:
                deployment.client.start_workflow(nap, INPUT, id=f"number-{index:06d}")
        wait_until(lambda: _timers(deployment) == number + already, deadline_s=60, every_s=0.2, message="all asleep")
        # A caller that may ask for the result listens to a channel for each: that is the caller's, not the run's.
        deployment.app.backend.result_consumer.stop()
        each = wait_until(lambda: _at_most(2 * KIB, (used_memory(server.url) - before) / number),
                          message=lambda: f"{(used_memory(server.url) - before) / number} bytes for a run")  # fmt: skip
        largest = _largest_run(server.url)
    with capsys.disabled():
        print(f"\n  a sleeping run: {each:.0f} bytes of used memory, keys of one: {largest} bytes; ", end="")
    assert each <= 2 * KIB
    assert largest <= 2 * KIB


def _at_most(most: float, figure: float) -> float:
    """The figure, once the server has let go of what its clients held: 0 before."""
    return figure if figure <= most else 0


def _largest_run(url: str) -> int:
    """Sum of MEMORY USAGE of all keys of one run, the largest of a few."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        runs = [key.decode().rpartition(":")[2] for key in client.scan_iter("*:run:*", count=1000)][:20]
        keys = [key.decode() for key in client.scan_iter("*", count=1000)]
        return max(sum(client.memory_usage(key, samples=0) for key in keys if run_id in key) for run_id in runs)


def grown(deployment: Deployment, number: int) -> float:
    """MiB that a worker's memory grows by while so many runs begin to sleep."""
    worker = deployment.workers[0]
    sleeping_runs(deployment, 200, by_celery=False)
    gc.collect()
    before, already = worker.memory_bytes(), _timers(deployment)
    for index in range(number):
        deployment.client.start_workflow(nap, INPUT, id=f"sleeper-{already + index:06d}")
    wait_until(lambda: _timers(deployment) >= already + number, deadline_s=30 + number / 50, message="asleep")
    return (worker.memory_bytes() - before) / KIB / KIB


def test_sleeping_runs_cost_a_worker_nothing(running, capsys):
    growth = grown(running, 1000)
    with capsys.disabled():
        print(f"\n  a worker with 1,000 sleeping runs has grown by {growth:.1f} MiB; ", end="")
    assert growth < 20


@pytest.mark.slow
def test_ten_thousand_sleeping_runs_cost_a_worker_less_than_twenty_mebibytes(running, capsys):
    growth = grown(running, 10_000)
    with capsys.disabled():
        print(f"\n  a worker with 10,000 sleeping runs has grown by {growth:.1f} MiB; ", end="")
    assert growth < 20
