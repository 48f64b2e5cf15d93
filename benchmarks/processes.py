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
from typing import Any, NamedTuple

import psutil
import redis

from orchestration.embedded import EmbeddedRedis
from orchestration.processes import start_bound

__all__ = ["processes"]

CONFIG = Path(__file__).parent / "actors"
IDLE = 10_000
_SENT = ("evalsha", "blmove", "ping")
"""What nodes send; the other commands are called by scripts."""
LOOK_S = 10.0


class _Rest(NamedTuple):
    """What idle workers take: the share of a CPU of one of them, and calls a second of each command of Redis."""

    cpu: float
    commands: dict[str, float]


def processes(rounds: int = 5, idle: int = IDLE) -> None:
    """Print goals and figures.

    Args:
        rounds: Of each rate; the median is shown, with the least and the most.
        idle: Number of idle processes.
    """
    os.environ["ORCHESTRATION_CONFIG"] = str(CONFIG)
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as server:
        os.environ["REDIS_URL"] = server.url
        from benchmarks.app import app, orchestration
        from orchestration import Client

        app.finalize()
        client = Client(app)
        with _worker(folder, "none", "left") as left, _worker(folder, "none", "right"):
            _wait_for_workers(app, 2)
            without = _rest(left, server.url)
        with _worker(folder, "bench:left", "left") as left, _worker(folder, "bench:right", "right"):
            _wait_for_hosts(orchestration, 2)
            _messages(client, rounds)
            _crowd(client, app, left, server.url, idle, without)
        for log in sorted(Path(folder).glob("*.log")):
            problems = [line for line in log.read_text().splitlines() if "ERROR" in line or "WARNING" in line]
            print("\n".join(problems[-10:]), end="")


@contextlib.contextmanager
def _worker(folder: str, hosts: str, name: str) -> Iterator[psutil.Process]:
    """A worker with the threads pool that serves hosts, and takes functions and tasks from Celery."""
    with (Path(folder) / f"{name}.log").open("ab") as out:
        process = start_bound(
            [sys.executable, "-m", "celery", "-A", "benchmarks.app", "worker", "-P", "threads", "-c", "2",
             "--hosts", hosts, "-n", f"{name}@bench", "-Q", f"celery,{name}", "-l", "WARNING",
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
    deadline = time.monotonic() + 60
    while sum(len(actors.serving(host)) for host in ("bench:left", "bench:right")) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} workers with process hosts did not come up within 60 s")
        time.sleep(0.1)


def _wait_for_workers(app: Any, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(app.control.ping(timeout=1.0, limit=count)) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} workers did not answer within 60 s")


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


def _crowd(client: Any, app: Any, worker: psutil.Process, url: str, idle: int, without: _Rest) -> None:
    """Cost of idle processes, beside workers without any host."""
    before = worker.memory_info().rss
    begin = time.perf_counter()
    client.call("bench:exec", "bench:crowd", "bench:left", "bench:idle", "bench:left", idle, 20, timeout=600)
    seconds = time.perf_counter() - begin
    print(f"{idle:,} processes started in {seconds:.1f} s: {idle / seconds:,.0f}/s")
    time.sleep(2.0)
    rss = (worker.memory_info().rss - before) / idle / 1024
    print(f"memory of an idle process: {_lua_kib(app, 'bench:idle'):.1f} KiB of Lua at the median (goal <= 96 KiB), "
          f"{rss:.1f} KiB resident")  # fmt: skip
    busy = _rest(worker, url)
    print(f"idle worker with them: {busy.cpu:.2%} of a CPU; without hosts: {without.cpu:.2%} (goal: no more)")
    more = sum(busy.commands.get(name, 0.0) - without.commands.get(name, 0.0) for name in _SENT) / 2
    print(f"Redis: {more:.1f} commands/s more from each worker than without hosts (goal <= 5/s)")
    for name in sorted(busy.commands.keys() | without.commands.keys()):
        rates = busy.commands.get(name, 0.0), without.commands.get(name, 0.0)
        if abs(rates[0] - rates[1]) >= 0.15:
            print(f"  {name}: {rates[0]:.1f}/s, without hosts {rates[1]:.1f}/s")
    client.call("bench:exec", "bench:crowd", "bench:left", "bench:timed", "bench:left", idle // 10, 20, timeout=600)
    print(f"one that waits for a timer, too: {_lua_kib(app, 'bench:timed'):.1f} KiB of Lua")


def _lua_kib(app: Any, entry_id: str) -> float:
    """Of the processes of an entry on the worker that serves ``bench:left``, at the median."""
    size: float = app.send_task("bench.lua_memory", args=[entry_id], queue="left").get(timeout=60)
    return size / 1024


def _rest(worker: psutil.Process, url: str) -> _Rest:
    """What a worker takes while nothing happens."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:

        def calls() -> dict[str, int]:
            stats = client.info("commandstats")
            return {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}

        before, times = calls(), worker.cpu_times()
        time.sleep(LOOK_S)
        after, now = calls(), worker.cpu_times()
    used = now.user + now.system - times.user - times.system
    return _Rest(used / LOOK_S, {name: (count - before.get(name, 0)) / LOOK_S for name, count in after.items()})


def _show(name: str, figures: list[float], unit: str, goal: str | None) -> None:
    middle = statistics.median(figures)
    aim = "" if goal is None else f", goal {goal}"
    print(f"{name}: {middle:,.1f} {unit} ({min(figures):,.1f}-{max(figures):,.1f}){aim}", flush=True)
