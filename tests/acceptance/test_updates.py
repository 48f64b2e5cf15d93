"""Updates when workers die: carried out once, answered once, whatever happens on the way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from orchestration.core import events
from tests.support import wait_until
from tests.support.projects import Project, deployed

project = Project()

till = project.workflow(
    "till",
    """
    local workflow, time = require("workflow"), require("time")
    return function()
      local total = workflow.side_effect(function() return 0 end)
      workflow.update("add", function(n)
        time.sleep("300ms")
        total = total + n
        return total
      end, { validate = function(n) total = total + 1000 return n > 0 end })
      workflow.wait(function() return total >= 10 end)
      return total
    end
    """,
)


@pytest.mark.parametrize("point", ["before_commit", pytest.param("after_commit", marks=pytest.mark.slow)])
def test_an_update_survives_the_death_of_its_worker(tmp_path: Path, redis_url: str, point: str) -> None:
    with deployed(project, tmp_path, redis_url) as deployment:
        dying = deployment.worker(env={"ORCHESTRATION_FAULT": f"{point}:2:{tmp_path / 'marker'}"})
        handle = deployment.client.start_workflow(till)
        wait_until(lambda: handle.describe().history_length)
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(handle.update("add", 3, update_id="u", timeout=30)))
        asking.start()
        dying.wait_until_gone()
        deployment.worker()
        asking.join(30)
        assert answers == [3]
        assert handle.update("add", 3, update_id="u") == 3
        assert handle.update("add", 7) == 10
        assert handle.result(timeout=10) == 10
        kinds = [event.CODE for event in handle.history()]
        assert kinds.count(events.Code.UPDATE) == kinds.count(events.Code.UPDATE_DONE) == 2
