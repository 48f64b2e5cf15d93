"""A worker dies, or stands still, at every named point of its work; the order it was at ends as if nothing had been."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from orchestration.faults import FAULT_POINTS
from tests.support import wait_until
from tests.support.fault_runs import Bench, Follower, assert_store_clean, follow

LONGEST_PAUSE_S: Final = 10.0
"""From a kill to the next thing that happens to the run, with default settings."""

_ONCE: Final = frozenset({
    "after_start", "after_report", "before_complete", "after_complete", "before_finish", "before_fire", "after_fire",
})  # fmt: skip
"""Points that an order may pass once only; at the others the third passing kills, in the middle of the order."""

_SWEEP: Final = frozenset({"before_fire", "after_fire"})
"""Points of the sweep: it fires a timer itself when its wake-up cannot be left with the broker."""

_GROUPS: Final = {
    "attempt": ("before_claim", "after_claim", "after_body", "after_report"),
    "step": ("after_lease", "after_advance", "before_commit", "after_commit"),
    "end": ("before_complete", "after_complete", "before_finish"),
    "start and timers": ("after_start", "before_fire", "after_fire"),
}
"""Orders of one group run at the same time, each with workers and a database of its own."""

_POOLS: Final = ("threads", "prefork")


@dataclass(frozen=True)
class Kill:
    """A point and the pool of the worker that dies there."""

    point: str
    pool: str

    def __str__(self) -> str:
        return f"{self.point} in {self.pool}"


_SAMPLE: Final = {
    group: [Kill(point, _POOLS[(number + shift) % 2]) for number, point in enumerate(points)]
    for shift, (group, points) in enumerate(_GROUPS.items())
}
"""Every point once, the pools by turns; the other half of the matrix is slow."""

_REST: Final = {
    group: [Kill(kill.point, _POOLS[1 - _POOLS.index(kill.pool)]) for kill in kills] for group, kills in _SAMPLE.items()
}


def test_every_point_has_a_test() -> None:
    assert sorted(itertools.chain(*_GROUPS.values())) == sorted(FAULT_POINTS)
    both = {(kill.point, kill.pool) for kills in (*_SAMPLE.values(), *_REST.values()) for kill in kills}
    assert both == set(itertools.product(FAULT_POINTS, _POOLS))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("group", _GROUPS)
def test_killed_at(group: str, urls: list[str], tmp_path: Path) -> None:
    _run_kills(_SAMPLE[group], urls, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("group", _GROUPS)
def test_killed_at_in_the_other_pool(group: str, urls: list[str], tmp_path: Path) -> None:
    _run_kills(_REST[group], urls, tmp_path)


def _run_kills(kills: list[Kill], urls: list[str], folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        markers, benches = [], []
        for kill, url in zip(kills, urls, strict=False):
            bench = stack.enter_context(Bench(url, folder / str(kill)))
            marker = bench.folder / "killed"
            env = {"ORCHESTRATION_FAULT": f"{kill.point}:{1 if kill.point in _ONCE else 3}:{marker}"}
            if kill.point in _SWEEP:
                env["ORCHESTRATION_ETA_TASKS_MAX"] = "0"
            # A child of the prefork pool is replaced by its parent. Where the main process dies, another takes over.
            main_dies = kill.pool == "threads" or kill.point in _SWEEP
            for _ in range(2 if main_dies else 1):
                bench.worker(pool=kill.pool, concurrency=2 if kill.pool == "threads" else 1, env=env, wait=False)
            markers.append(marker)
            benches.append(bench)
        for bench in benches:
            for worker in bench.workers:
                worker.wait_until_ready(deadline_s=60)
        followers = [
            bench.start(name=str(kill), foreign=kill.point == "after_start")
            for kill, bench in zip(kills, benches, strict=True)
        ]
        follow(followers, deadline_s=60)
        problems = [
            problem
            for follower, marker in zip(followers, markers, strict=True)
            for problem in _problems(follower, marker)
        ]
        assert not problems, "\n".join(problems)


def _problems(follower: Follower, marker: Path) -> Iterator[str]:
    """What is wrong with an order that had one kill."""
    if not marker.exists():
        yield f"{follower.name}: the point was never passed"
        return
    pause = follower.longest_pause_s(marker.stat().st_mtime)
    if pause > LONGEST_PAUSE_S:
        yield f"{follower.name}: nothing happened for {pause:.1f} s"
    try:
        follower.check(faults=1)
        assert_store_clean(follower.bench.redis_url)
    except AssertionError as error:
        yield f"{follower.name}: {error}\n{follower.bench.logs()[-6000:]}"


# --- a worker that stands still, and goes on when its work has been given to others ----------------------------------

_STOPS: Final = {
    "after_claim": "attempt not run|report dropped",
    "after_body": "report dropped",
    "after_lease": "commit fenced",
    "before_commit": "commit fenced",
}
"""A point, and what a worker says that comes too late there; '|' separates alternatives."""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.slow)])
def test_stopped_past_its_lease_and_continued(pool: str, urls: list[str], tmp_path: Path) -> None:
    """A worker that was taken for dead comes back when the run has long ended: it leaves no trace."""
    env = {
        "ORCHESTRATION_LEASE_MS": "1000", "ORCHESTRATION_HEARTBEAT_MS": "300", "ORCHESTRATION_DEAD_AFTER_MS": "1500",
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        benches = {}
        for point, url in zip(_STOPS, urls, strict=False):
            bench = benches[point] = stack.enter_context(Bench(url, tmp_path / point, env=env))
            fault = {"ORCHESTRATION_FAULT": f"{point}:2:{bench.folder / 'stopped'}:SIGSTOP"}
            for _ in range(2):
                bench.worker(pool=pool, concurrency=1, env=fault, wait=False)
        for bench in benches.values():
            for worker in bench.workers:
                worker.wait_until_ready(deadline_s=60)
        followers = [bench.start(name=point) for point, bench in benches.items()]
        follow(followers, deadline_s=60)
        before = {}
        for follower in followers:
            assert (follower.bench.folder / "stopped").exists(), f"{follower.name} was never passed"
            before[follower.name] = list(follower.handle.raw_history())
            for worker in follower.bench.workers:
                worker.resume()
        for follower in followers:
            said = _STOPS[follower.name].split("|")
            wait_until(
                lambda f=follower, s=said: any(text in f.bench.logs() for text in s),
                deadline_s=20,
                message=lambda f=follower, s=said: f"{f.name}: {s} in\n{f.bench.logs()[-6000:]}",
            )
            follower.check(faults=1)
            assert list(follower.handle.raw_history()) == before[follower.name]
            assert_store_clean(follower.bench.redis_url)


def test_many_results_at_once_are_no_failing_workers(redis_url: str, tmp_path: Path) -> None:
    """Results that arrive together in one process share one lease: the run is not held to kill its workers."""
    with Bench(redis_url, tmp_path) as bench:
        bench.worker(concurrency=16)
        handle = bench.client.start_workflow("faults:fan", {"id": "fan", "width": 60}, id="fan")
        assert handle.result(timeout=30) == 60
        assert "run parked" not in bench.logs()
        assert_store_clean(redis_url)


