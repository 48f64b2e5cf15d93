"""The processes that a worker starts for hosts and for queue consumers: started again whatever kept them from it."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from orchestration.host import step
from orchestration.tasks.consumers import serving
from tests.support.waiting import wait_until


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What came of each launch; the machine has no memory for the first two."""
    found: list[Any] = []

    def launch(command: list[str], **_: Any) -> subprocess.Popen[bytes]:
        del command
        if len(found) < 2:
            found.append(OSError(12, "Cannot allocate memory"))
            raise found[-1]
        found.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True))
        return found[-1]

    module: ModuleType
    for module in (step, serving):
        monkeypatch.setattr(module, "start_bound", launch)
    monkeypatch.setattr(step, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(serving, "_AGAIN_AFTER_S", 0.01)
    return found


def test_hosts_are_served_once_the_machine_has_room_again(
    children: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    host = SimpleNamespace(lifecycle=SimpleNamespace(stop_timeout=1_000))
    orchestration = SimpleNamespace(settings=SimpleNamespace(host_app="shop"), registry={"app:host": host})
    worker = SimpleNamespace(
        app=SimpleNamespace(orchestration=orchestration), hostname="w@vm", loglevel="INFO", logfile=None
    )
    child = step._Child(worker, ("app:host",))  # type: ignore[arg-type]
    child.start()
    wait_until(lambda: len(children) == 3)
    wait_until(lambda: child._process is children[2])
    child.stop()
    assert children[2].returncode is not None
    assert caplog.text.count("the process hosts could not be started, trying again") == 2


def test_queues_are_consumed_once_the_machine_has_room_again(
    children: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    process = serving.ConsumersProcess("shop", ["app:orders"], level=20, logfile=None)
    process.start()
    wait_until(lambda: len(children) == 3)
    wait_until(lambda: process._process is children[2])
    process.stop(timeout_s=10)
    assert children[2].returncode is not None
    assert caplog.text.count("the process of the queue consumers could not be started, trying again") == 2
