"""A worker that is told to stop finishes what it runs, loses nothing, and is quick."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.support.fault_runs import Bench, assert_store_clean, follow


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.slow)])
def test_warm_shutdown(pool: str, redis_url: str, tmp_path: Path) -> None:
    """Stopped (SIGTERM) again and again in the middle of its work, each time another takes over: nothing runs twice."""
    with Bench(redis_url, tmp_path, env={"FAULTS_WORK_MS": "150"}) as bench:
        orders = [bench.start(f"o-{number}") for number in range(4)]
        worker = bench.worker(pool=pool)
        for completed in (1, 3, 5):
            wait_until(
                lambda n=completed: [order.look() for order in orders] and orders[0].completed >= n,
                deadline_s=30,
                message=lambda: bench.logs()[-4000:],
            )
            began = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - began < 5
            worker = bench.worker(pool=pool)
        follow(orders, deadline_s=60)
        for order in orders:
            order.check()
        assert sum(bench.ledger.executions().values()) == 32
        assert_store_clean(redis_url)
        assert "Traceback" not in bench.logs()
