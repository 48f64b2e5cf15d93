"""``orchestration query`` and ``orchestration update``, as people run them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from orchestration.client import Client
from tests.support.projects import Deployment, Project
from tests.support.warm_cli import ProjectCli, project_cli

project = Project()

counter = project.workflow(
    "counter",
    """
    local workflow, time = require("workflow"), require("time")
    return function()
      local total = 0
      workflow.query("total", function(factor) return total * (factor or 1) end)
      workflow.query("broken", function() error(errors.new{ message = "not today", kind = "Closed" }) end)
      workflow.update("add", function(n) total = total + n return { total = total } end, {
        validate = function(n) if n < 0 then error("not below zero", 0) end end,
      })
      workflow.update("fail", function() return nil, errors.new{ message = "as asked", kind = "Given" } end)
      workflow.update("wait", function() time.sleep("1h") end)
      workflow.wait(function() return total > 99 end)
      return total
    end
    """,
)


@pytest.fixture(scope="module")
def cli(running: Deployment) -> Iterator[ProjectCli]:
    with project_cli(running) as run:
        yield run


def test_query(cli: ProjectCli, client: Client) -> None:
    handle = client.start_workflow(counter, id="asked")
    names = json.loads(cli("query", "asked").stdout)
    assert names == {"queries": ["broken", "total"], "updates": ["add", "fail", "wait"]}
    handle.update("add", 4)
    assert cli("query", "asked", "total", "3").stdout == "12\n"
    assert json.loads(cli("query", "asked", "total", "--json").stdout) == {
        "id": "asked", "run_id": handle.run_id, "query": "total", "result": 4,
    }  # fmt: skip
    broken = cli("query", "asked", "broken", code=1)
    assert broken.stderr == "error: query 'broken' of 'asked' failed: Closed: not today\n"
    failure = json.loads(cli("query", "asked", "none", "--json", code=1).stdout)["failure"]
    assert failure["kind"] == "NotFound"
    assert "no workflow with the id 'none'" in cli("query", "none", code=3).stderr


def test_query_of_a_run_that_nobody_has_taken(cli: ProjectCli, client: Client) -> None:
    client.start_workflow(counter, id="unborn", task_queue="nobody")
    assert "is a worker up" in cli("query", "unborn", "total", "--timeout", "100ms", code=5).stderr


def test_update(cli: ProjectCli, client: Client) -> None:
    handle = client.start_workflow(counter, id="changed")
    for _ in range(2):
        assert json.loads(cli("update", "changed", "add", "5", "--update-id", "once").stdout) == {"total": 5}
    rejected = cli("update", "changed", "add", "--", "-1", code=6)
    assert rejected.stderr == "error: 'changed' rejected the update 'add': Internal: not below zero\n"
    failed = json.loads(cli("update", "changed", "fail", "--json", code=1).stdout)
    assert failed == {
        "id": "changed", "run_id": handle.run_id, "update": "fail", "failure": {"message": "as asked", "kind": "Given"},
    }  # fmt: skip
    assert "ask again with the update id 'late'" in (
        cli("update", "changed", "wait", "--update-id", "late", "--timeout", "100ms", code=5).stderr
    )
    assert "does not begin with '@'" in cli("update", "changed", "@add", code=2).stderr
    cli("update", "changed", "add", "95")
    handle.result(timeout=10)
    assert "takes no more updates" in cli("update", "changed", "add", "1", code=6).stderr
