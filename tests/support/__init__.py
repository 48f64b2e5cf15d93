"""What tests share: a real Redis, real worker processes, waiting with a deadline."""

from __future__ import annotations

from tests.support.waiting import wait_until
from tests.support.workers import WorkerProcess, start_worker

__all__ = ["WorkerProcess", "start_worker", "wait_until"]
