"""What a function hears of the workflows around it."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.tasks.neighbours import Neighbours
from orchestration.testing import WorkflowEnvironment
from orchestration.types import RunId
from tests.support.projects import Project

project = Project()
project.workflow("ends", "return function() return 1 end")


class AtOnce(Neighbours):
    """Hears of the end before anything else can happen."""

    def _wait(self, namespace: str, run_id: RunId, tell: Callable[[bool, bytes], None]) -> None:
        tell(True, payload.NIL)


def test_the_end_of_what_is_watched_is_told_after_the_answer(tmp_path: Path) -> None:
    """It was lost when its thread was faster: the code did not know yet that it watched."""
    heard: list[int] = []
    with WorkflowEnvironment(project.write(tmp_path)) as env:
        handle = env.start("app:ends")
        handle.result()
        runtime = env.app.orchestration.runtime
        AtOnce(runtime, "{a@b|c}", {}, lambda item: heard.append(item[1])).watch(1, handle.pid)
    assert heard == [Code.OPERATION_DONE, Code.WATCHED_ENDED]


def test_what_is_watched_and_not_known_any_more_has_ended(tmp_path: Path) -> None:
    """The thread that waited died of it, and the function waited for ever."""
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with WorkflowEnvironment(project.write(tmp_path)) as env:
        runtime = env.app.orchestration.runtime
        store = runtime.store("default")
        neighbours = Neighbours(runtime, "{a@b|c}", {}, heard.put)
        neighbours._wait("default", store.runs.new_id("gone"), lambda ok, value: heard.put(value if not ok else b""))
        assert payload.decode_failure(heard.get(timeout=5))["kind"] == "NotFound"
