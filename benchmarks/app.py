"""The application that is measured: one task that does nothing, and a workflow that calls it again and again."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from celery import Celery

from orchestration import Orchestration

app = Celery("bench", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, result_expires=600)


@app.task(name="bench.noop", ignore_result=True)
def noop(value: int) -> int:
    """One step: count."""
    return value + 1


@app.task(name="bench.last")
def last(value: int) -> int:
    """The last step of a chain: the only one whose result is stored."""
    return value + 1


@app.task(name="bench.lua_memory")
def lua_memory() -> float:
    """Bytes of the Lua world of a process of this worker, at the median."""
    return statistics.median(cell.memory_bytes() for cell in list(orchestration.runtime.node.cells.values()))


orchestration = Orchestration(app, config=str(Path(__file__).parent / "config"))
