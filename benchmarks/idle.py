"""What the extension costs a project that does not use it: its own tasks, with and without it, pair by pair."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import redis

from orchestration.embedded import EmbeddedRedis
from orchestration.processes import start_bound

__all__ = ["idle"]

TASKS = 6_000
_WARM = 400


class _Figures(NamedTuple):
    """Of one side of a pair: tasks a second, and processor time of the worker in ms a task."""

    rate: float
    cpu_ms: float


def idle(rounds: int, pool: str, concurrency: int) -> None:
    """Print the figures of pairs of workers that run the same tasks, one after the other in changing order.

    Args:
        rounds: Number of pairs.
        pool: Of the workers.
        concurrency: Of the workers.
    """
    pairs: list[tuple[_Figures, _Figures]] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as server:
        for number in range(rounds):
            found: dict[str, _Figures] = {}
            for side in ("", "1") if number % 2 else ("1", ""):
                found[side] = _measure(folder, server.url, side, pool, concurrency)
            pairs.append((found[""], found["1"]))
    for what, unit, index in (("throughput", "tasks/s", 0), ("processor time", "ms a task", 1)):
        without, with_it = [statistics.median(pair[side][index] for pair in pairs) for side in (0, 1)]
        ratios = sorted(pair[1][index] / pair[0][index] for pair in pairs)
        print(
            f"own tasks, {what}: without {without:.3g} {unit}, with {with_it:.3g} {unit}; ratio of pairs: median "
            f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}-{ratios[-1]:.3f})"
        )


def _measure(folder: str, url: str, extension: str, pool: str, concurrency: int) -> _Figures:
    from benchmarks.shop.app import app, price

    app.conf.update(broker_url=url, result_backend=url)
    client: Any = redis.Redis.from_url(url)
    client.flushall()
    env = {**os.environ, "SHOP_REDIS": url, "SHOP_EXTENSION": extension}
    with (Path(folder) / f"shop{extension}.log").open("ab") as out:
        process = start_bound(
            [sys.executable, "-m", "celery", "-A", "benchmarks.shop.app", "worker", "-P", pool, "-c", str(concurrency),
             "-l", "WARNING", "--without-gossip", "--without-mingle"],
            env=env, output=out,
        )  # fmt: skip
        try:
            _run(client, price, _WARM)
            worker = psutil.Process(process.pid)
            before = _cpu_s(worker)
            rate = _run(client, price, TASKS)
            return _Figures(rate, (_cpu_s(worker) - before) * 1000 / TASKS)
        finally:
            process.terminate()
            process.wait(30)


def _run(client: Any, task: Any, count: int) -> float:
    """Tasks a second, from the first to the last that has been run; all wait in the queue before any is taken."""
    client.delete("done")
    queue = "held"
    with task.app.producer_pool.acquire(block=True) as producer:
        for number in range(count):
            task.apply_async((number,), producer=producer, queue=queue)
    begin = time.perf_counter()
    client.rename(queue, "celery")
    while int(client.get("done") or 0) < count:
        time.sleep(0.005)
        if time.perf_counter() - begin > 120:
            raise TimeoutError("the worker does not take the tasks")
    return count / (time.perf_counter() - begin)


def _cpu_s(worker: psutil.Process) -> float:
    total = 0.0
    for process in (worker, *worker.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system
    return total
