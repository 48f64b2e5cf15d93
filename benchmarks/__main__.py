"""Measures workflows against a plain Celery chain of the same no-op tasks, on the same broker, pool and worker.

    python -m benchmarks [--pool prefork|threads|solo] [--concurrency N] [--rounds N] [--only NAME]

Both sides run in turn, round by round, in the same minutes; ratios are of medians. The chain runs in its fastest
setting: only its last task stores a result, prefetching as Celery does by default. Each activity is one message
through the broker and one claim. Redis keeps an append-only file, fsync every second, for both.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.idle import idle
from benchmarks.listing import listing
from benchmarks.processes import processes
from orchestration.embedded import EmbeddedRedis
from orchestration.processes import start_bound


def main() -> int:
    """Run the benchmarks and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--pool", default="prefork", choices=["prefork", "threads", "solo"])
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["latency", "throughput", "flat", "replay", "listing", "processes", "idle"])
    options = parser.parse_args()
    if options.only == "listing":
        listing()
        return 0
    if options.only == "idle":
        idle(options.rounds, options.pool, options.concurrency)
        return 0
    if options.only == "processes":
        processes(options.rounds)
        return 0
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as server:
        os.environ["REDIS_URL"] = server.url
        log = Path(folder) / "worker.log"
        with log.open("wb") as out:
            worker = start_bound(
                [sys.executable, "-m", "celery", "-A", "benchmarks.app", "worker", "-P", options.pool,
                 "-c", str(options.concurrency), "-l", "WARNING", "--without-gossip", "--without-mingle"],
                env=dict(os.environ), output=out,
            )  # fmt: skip
            try:
                measure(options)
            finally:
                worker.terminate()
                worker.wait(30)
        problems = [line for line in log.read_text().splitlines() if "ERROR" in line or "WARNING" in line]
        print("\n".join(problems[-10:]))
    return 0


def measure(options: argparse.Namespace) -> None:
    """All figures, one after the other."""
    from benchmarks.app import app, last, noop
    from orchestration import Client

    client = Client(app)
    app.control.ping(timeout=20, limit=1)
    print(f"pool {options.pool}, concurrency {options.concurrency}, rounds {options.rounds}")

    def chain(steps: int) -> Any:
        from celery import chain as celery_chain

        return celery_chain(noop.s(0), *(noop.s() for _ in range(steps - 2)), last.s()).apply_async()

    def workflow(steps: int) -> Any:
        return app.send_task("bench:steps", args=[steps])

    for warm in (chain, workflow):
        for _ in range(3):
            assert warm(10).get(timeout=60) == 10

    if options.only in (None, "latency"):
        rounds = options.rounds * 10
        compare("10 steps, start to result", rounds, lambda: latency(chain), lambda: latency(workflow), "ms")
    if options.only in (None, "throughput"):
        compare(
            "300 × 10 steps at once", options.rounds, lambda: throughput(chain, 300), lambda: throughput(workflow, 300),
            "steps/s",
        )  # fmt: skip
    if options.only in (None, "flat"):
        flat(client, options.rounds)
    if options.only in (None, "replay"):
        replay_cost(client, options.rounds)
    if options.only is None:
        listing()


def compare(name: str, rounds: int, one: Callable[[], float], other: Callable[[], float], unit: str) -> None:
    """Run two sides in turn and print medians and their ratio."""
    chain_figures, workflow_figures = [], []
    for _ in range(rounds):
        chain_figures.append(one())
        workflow_figures.append(other())
    a, b = statistics.median(chain_figures), statistics.median(workflow_figures)
    print(
        f"{name}: chain {a:.1f} {unit} ({min(chain_figures):.1f}-{max(chain_figures):.1f}), "
        f"workflow {b:.1f} {unit} ({min(workflow_figures):.1f}-{max(workflow_figures):.1f}), ratio {b / a:.2f}"
    )


def latency(start: Callable[[int], Any]) -> float:
    """Milliseconds from start to result of ten steps."""
    begin = time.perf_counter()
    assert start(10).get(timeout=60) == 10
    return (time.perf_counter() - begin) * 1000


def throughput(start: Callable[[int], Any], count: int) -> float:
    """Steps a second of many at once, from the first start to the last result."""
    begin = time.perf_counter()
    results = [start(10) for _ in range(count)]
    for result in results:
        assert result.get(timeout=300) == 10
    return count * 10 / (time.perf_counter() - begin)


def flat(client: Any, rounds: int) -> None:
    """Per-step cost of the first and the last steps of one run of 2,000."""
    ratios = []
    for _ in range(max(rounds // 2, 1)):
        handle = client.start_workflow("bench:steps", 2000)
        assert handle.result(timeout=600) == 2000
        times = [event.time_ms for event in handle.history() if hasattr(event, "time_ms")]
        first = (times[200] - times[1]) / 199
        late = (times[2000] - times[1800]) / 200
        ratios.append(late / first)
        figures = f"{first:.2f} ms a step at 1-200, {late:.2f} at 1,800-2,000"
        print(f"one run of 2,000 steps: {figures}, ratio {ratios[-1]:.2f}")
    print(f"flat: median ratio {statistics.median(ratios):.2f}")


def replay_cost(client: Any, rounds: int) -> None:
    """Milliseconds to replay a history of 10,000 events, and of 2,000 steps, on a fresh machine."""
    from benchmarks.histories import steps_history
    from orchestration.core.machine import Machine
    from orchestration.core.replay import replay

    del client
    for steps in (2000, 4999):
        bundle, history = steps_history(steps)
        figures = []
        for _ in range(max(rounds, 5)):
            begin = time.perf_counter()
            machine = Machine(bundle)
            replay(machine, history)
            figures.append((time.perf_counter() - begin) * 1000)
            machine.close()
        median = statistics.median(figures)
        print(f"replay of {len(history)} events: median {median:.1f} ms, best {min(figures):.1f} ms")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    sys.exit(main())
