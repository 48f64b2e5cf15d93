"""What a function hears of the workflows around it."""

from __future__ import annotations

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
