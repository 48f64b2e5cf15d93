"""Workers are killed, stopped and started at random while orders come in: every order ends as if nothing had been.

``ORCHESTRATION_TEST_SEED`` repeats a run's choices (not its timing).
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.fault_runs import Bench, Follower, assert_store_clean, follow
from tests.support.workers import WorkerProcess

_CONCURRENCY = 2


@pytest.mark.timeout(180)
def test_short(redis_url: str, tmp_path: Path) -> None:
    _storm(redis_url, tmp_path, seconds=8, orders=6)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_long(redis_url: str, tmp_path: Path) -> None:
    _storm(redis_url, tmp_path, seconds=120, orders=150)


def _storm(url: str, folder: Path, *, seconds: float, orders: int) -> None:
    seed = int(os.environ.get("ORCHESTRATION_TEST_SEED") or random.randrange(10**6))
    print(f"ORCHESTRATION_TEST_SEED={seed}")
    chance = random.Random(seed)
    with Bench(url, folder, env={"FAULTS_WORK_MS": "60"}) as bench:
        storm = _Storm(bench, chance)
        started: list[Follower] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            due = min(orders, 1 + int(orders * (1 - (end - time.monotonic()) / seconds)))
            while len(started) < due:
                started.append(bench.start(f"o-{len(started)}", nap=f"{chance.randrange(1, 900)}ms"))
            storm.strike()
            calm = time.monotonic() + chance.uniform(0.2, 1.2)
            wait_until(lambda until=calm: _look(started) or time.monotonic() > until, every_s=0.05)
        storm.clear()
        while len(started) < orders:
            started.append(bench.start(f"o-{len(started)}"))
        follow(started, deadline_s=90)
        for order in started:
            order.check(faults=storm.faults)
        # One fault hits what one worker executes at that moment.
        assert sum(bench.ledger.executions().values()) <= 8 * orders + storm.faults * _CONCURRENCY
        assert_store_clean(url, deadline_s=20)


def _look(orders: list[Follower]) -> bool:
    """Watch the orders, so that they get their signals."""
    for order in orders:
        order.look()
    return False


class _Storm:
    """What happens to the workers of a bench; three of them, one of the prefork pool."""

    def __init__(self, bench: Bench, chance: random.Random) -> None:
        self._bench = bench
        self._chance = chance
        self._workers = [bench.worker(pool=pool, wait=False) for pool in ("threads", "threads", "prefork")]
        self._pools = ["threads", "threads", "prefork"]
        self._paused: list[WorkerProcess] = []
        self.faults = 0
        for worker in self._workers:
            worker.wait_until_ready()

    def strike(self) -> None:
        """One more thing happens."""
        what = self._chance.choice([self._kill, self._kill, self._kill_child, self._pause, self._resume])
        what()

    def clear(self) -> None:
        """Nothing more happens, and everybody is back."""
        while self._paused:
            self._resume()
        for worker in self._workers:
            worker.wait_until_ready()

    def _kill(self) -> None:
        number = self._chance.randrange(len(self._workers))
        worker = self._workers[number]
        if worker in self._paused:
            self._paused.remove(worker)
        worker.kill()
        self._workers[number] = self._bench.worker(
            pool=self._pools[number], concurrency=_CONCURRENCY, wait=False
        )
        self.faults += 1

    def _kill_child(self) -> None:
        # Celery gives up when the children of a pool that is just starting die: that is not the case at hand.
        if self._workers[2] in self._paused:
            return  # it may have been stopped while it was starting
        self._workers[2].wait_until_ready()
        self._workers[2].kill_children()
        self.faults += 1

    def _pause(self) -> None:
        worker = self._chance.choice(self._workers)
        if worker not in self._paused and worker.is_running:
            worker.pause()
            self._paused.append(worker)
            self.faults += 1

    def _resume(self) -> None:
        if self._paused:
            self._paused.pop(0).resume()
