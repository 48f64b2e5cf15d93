"""The application that is measured: one task that does nothing, and a workflow that calls it again and again."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from celery import Celery

from orchestration import Orchestration
from orchestration.host.lua_cell import LuaCell

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
def lua_memory(entry_id: str) -> float:
    """Bytes of the Lua worlds of the processes of an entry on this worker, at the median."""
    cells = list(orchestration.runtime.node.cells.values())
    return statistics.median(
        cell.memory_bytes() for cell in cells if isinstance(cell, LuaCell) and cell.entry_id == entry_id
    )


orchestration = Orchestration(app, config=str(Path(__file__).parent / "config"))
