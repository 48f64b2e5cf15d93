"""Valkey in the place of Redis, where there is one: ``valkey-server`` on the PATH, or named by ``VALKEY_SERVER``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.errands import errands, run_errands
from tests.support.projects import deployed
from tests.support.redis_servers import RedisProcess, free_ports

VALKEY = os.environ.get("VALKEY_SERVER") or shutil.which("valkey-server") or ""


@pytest.mark.slow
@pytest.mark.skipif(not VALKEY, reason="no valkey-server is installed, and VALKEY_SERVER names none")
def test_all_that_workflows_do(tmp_path: Path) -> None:
    with RedisProcess(port := free_ports(1)[0], binary=VALKEY):
        with deployed(errands(), tmp_path, f"redis://127.0.0.1:{port}/0") as deployment:
            deployment.worker()
            run_errands(deployment.client)
            assert deployment.orchestration.runtime.messages.atomic
