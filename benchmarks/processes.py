"""Measures processes: what an idle one costs, how fast messages go, on real workers and a real Redis."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import redis

from orchestration.embedded import EmbeddedRedis
from orchestration.processes import start_bound

__all__ = ["processes"]

CONFIG = Path(__file__).parent / "actors"
IDLE = 10_000
LOOK_S = 10.0


def processes(rounds: int = 5, idle: int = IDLE) -> None:
    """Print goals and figures.

    Args:
        rounds: Of each rate; the median is shown, with the least and the most.
        idle: Number of idle processes.
    """
    os.environ["ORCHESTRATION_CONFIG"] = str(CONFIG)
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as server:
        os.environ["REDIS_URL"] = server.url
        with _worker(folder, "bench:left") as left, _worker(folder, "bench:right"):
            from benchmarks.app import app, orchestration
            from orchestration import Client


            app.finalize()
            client = Client(app)
            _wait_for_hosts(orchestration, 2)
            _messages(client, rounds)
            _crowd(client, app, left, server.url, idle)
        for log in sorted(Path(folder).glob("*.log")):
            problems = [line for line in log.read_text().splitlines() if "ERROR" in line or "WARNING" in line]
            print("\n".join(problems[-10:]), end="")


@contextlib.contextmanager
def _worker(folder: str, host: str) -> Iterator[psutil.Process]:
    """A worker with the threads pool that serves a host, and takes functions and tasks from Celery."""
    name = host.rpartition(":")[2]
    with (Path(folder) / f"{name}.log").open("wb") as out:
        process = start_bound(
            [sys.executable, "-m", "celery", "-A", "benchmarks.app", "worker", "-P", "threads", "-c", "2",
             "--hosts", host, "-n", f"{name}@bench", "-Q", f"celery,{name}", "-l", "WARNING",
             "--without-gossip", "--without-mingle"],
            env=dict(os.environ), output=out,
        )  # fmt: skip
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()


def _wait_for_hosts(orchestration: Any, count: int) -> None:
    actors = orchestration.runtime.store("default").actors
    while sum(len(actors.serving(host)) for host in ("bench:left", "bench:right")) < count:
        time.sleep(0.1)


def _messages(client: Any, rounds: int) -> None:
    """Rates of messages, and the ring."""
    near, far = ("bench:left", "bench:left"), ("bench:left", "bench:right")
    plans = [
        ("one worker, one way", "bench:stream", near, [50_000, 1], 50_000.0),
        ("one worker, question and answer", "bench:turns", near, [5_000], None),
        ("two workers, one way, 20 senders", "bench:stream", far, [10_000, 20], 5_000.0),
        ("two workers, one way, one sender that waits for each to be accepted", "bench:stream", far, [1_000, 1], None),
        ("two workers, question and answer", "bench:turns", far, [500], None),
    ]
    for name, function, hosts, args, goal in plans:
        client.call(function, *hosts, args[0] // 10, *args[1:], timeout=120)
        figures = [client.call(function, *hosts, *args, timeout=120) for _ in range(rounds)]
        _show(name, figures, "messages/s", None if goal is None else f">= {goal:,.0f}")
    figures = [client.call("bench:exec", "bench:ring", "bench:left", "bench:left", 1000, 100, timeout=300)
               for _ in range(max(1, rounds // 2))]  # fmt: skip
    _show("a token 100 times round 1,000 processes", figures, "s", "done")
    print(f"  that is {100_000 / statistics.median(figures):,.0f} messages/s")


def _crowd(client: Any, app: Any, worker: psutil.Process, url: str, idle: int) -> None:
    """Cost of idle processes."""
    quiet = _rest(worker, url)
    before = worker.memory_info().rss
    begin = time.perf_counter()
    client.call("bench:exec", "bench:crowd", "bench:left", "bench:idle", "bench:left", idle, 20, timeout=600)
    seconds = time.perf_counter() - begin
    print(f"{idle:,} processes started in {seconds:.1f} s: {idle / seconds:,.0f}/s")
    time.sleep(2.0)
    rss = (worker.memory_info().rss - before) / idle / 1024
    lua = app.send_task("bench.lua_memory", queue="left").get(timeout=60)
    print(f"memory of an idle process: {rss:.1f} KiB resident, {lua / 1024:.1f} KiB in Lua at the median (<= 96 KiB)")
    busy = _rest(worker, url)
    print(f"idle worker: {busy[0] * 100:.2f} % of a CPU with them, {quiet[0] * 100:.2f} % without (no more with them)")
    print(f"Redis, two workers: {busy[1]:.1f} commands/s with them, {quiet[1]:.1f} without")
    for name, rate in sorted(busy[2].items(), key=lambda item: -item[1])[:8]:
        print(f"  {name}: {rate:.1f}/s (without: {quiet[2].get(name, 0.0):.1f})")


def _rest(worker: psutil.Process, url: str) -> tuple[float, float, dict[str, float]]:
    """Share of a CPU that a worker takes, and commands a second that Redis gets, while nothing happens."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:

        def calls() -> dict[str, int]:
            stats = client.info("commandstats")
            return {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}

        before, times = calls(), worker.cpu_times()
        time.sleep(LOOK_S)
        after, now = calls(), worker.cpu_times()
    used = now.user + now.system - times.user - times.system
    rates = {name: (count - before.get(name, 0)) / LOOK_S for name, count in after.items()}
    return used / LOOK_S, sum(rates.values()), {name: rate for name, rate in rates.items() if rate}


def _show(name: str, figures: list[float], unit: str, goal: str | None) -> None:
    middle = statistics.median(figures)
    aim = "" if goal is None else f", goal {goal}"
    print(f"{name}: {middle:,.1f} {unit} ({min(figures):,.1f}-{max(figures):,.1f}){aim}", flush=True)
