"""A paused run takes what comes in and makes no step, until it is resumed; alone, several, all that are like that."""

from __future__ import annotations

import json

import pytest

from orchestration.errors import WorkflowClosedError, WorkflowNotFoundError
from tests.support import wait_until
from tests.support.projects import Project
from tests.support.warm_cli import project_cli

project = Project(tasks=["tests.acceptance.tasks"])
project.celery_task("add", "accept.add")
counter = project.workflow(
    "counter",
    """
    local funcs, time = require("funcs"), require("time")
    local function main()
        local inbox, seen = process.listen("item"), {}
        local timer = time.after("300ms")
        local sum = funcs.call("app:add", 1, 2)
        while #seen < 2 do seen[#seen + 1] = inbox:receive() end
        timer:receive()
        return { sum = sum, seen = seen }
    end
    return main
    """,
)


def waiting(handle):
    return any("item" in place.waits_for for place in handle.describe().places)


def test_a_paused_run_takes_inputs_its_timer_fires_and_it_makes_no_step(client):
    handle = client.start_workflow(counter)
    wait_until(lambda: waiting(handle), message="it waits")
    handle.pause("the bank is away", by="ana")
    before = handle.describe()
    assert (before.status, before.paused) == ("paused", "ana: the bank is away")
    handle.signal("item", 1)
    handle.signal("item", 2)
    wait_until(lambda: handle.describe().unread == 3, message="two signals and the timer")
    seen = handle.describe()
    assert seen.history_length == before.history_length
    assert [run.run_id for run in client.list_workflows(status="paused")] == [handle.run_id]
    handle.resume()
    assert handle.result(timeout=10) == {"sum": 3, "seen": [1, 2]}
    assert handle.describe().paused == ""


def test_an_activity_of_a_paused_run_goes_on_and_its_result_waits(client):
    handle = client.start_workflow(counter)
    handle.pause()
    handle.pause("other")
    handle.signal("item", 1)
    handle.signal("item", 2)
    handle.resume()
    handle.resume()  # as when the answer of the first was lost
    assert handle.result(timeout=10) == {"sum": 3, "seen": [1, 2]}


def test_what_cannot_be_paused_or_resumed_says_how_it_stands(client):
    handle = client.start_workflow(counter)
    handle.terminate()
    with pytest.raises(WorkflowClosedError, match="cannot be paused: it is terminated"):
        handle.pause()
    with pytest.raises(WorkflowClosedError, match="is not paused: it is terminated"):
        handle.resume()
    with pytest.raises(WorkflowNotFoundError):
        client.get_workflow("nobody").pause()


@pytest.fixture(scope="module")
def shop(running):
    with project_cli(running) as run:
        yield run


def test_the_command_line_pauses_and_resumes_one_several_and_all(client, shop):
    for number in range(4):
        client.start_workflow(counter, id=f"p-{number}")
    assert shop("pause", "p-0", "--note", "why").stdout == "p-0 is paused\n"
    shown = shop("show", "p-0").stdout
    assert "why" in shown
    assert "orchestration resume p-0" in shown
    assert "no workflow with the id 'none' is known" in shop("pause", "none", code=3).stderr
    done = shop("pause", "p-1", "none", "p-2", code=1)
    assert done.stdout.splitlines() == ["p-1 is paused", "p-2 is paused"]
    assert "error: no workflow with the id 'none' is known" in done.stderr
    assert "3 runs, 1 of them not done" in done.stderr
    done = shop("pause", "p-1", "p-2", "--json")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["p-1", "p-2"]
    done = shop("resume", "--all", "--type", counter, "--dry-run")
    assert sorted(done.stdout.splitlines()) == [f"p-{number} would go on" for number in range(3)]
    assert "3 runs; nothing was changed" in done.stderr
    done = shop("resume", "--all", "--rate", "100/s")
    assert sorted(done.stdout.splitlines()) == [f"p-{number} goes on" for number in range(3)]
    for number in range(4):
        wait_until(lambda number=number: waiting(client.get_workflow(f"p-{number}")), message="runs again")
    done = shop("cancel", "--all", code=2)
    assert "--status open" in done.stderr
    client.get_workflow("p-3").terminate()
    done = shop("pause", "p-2", "p-3", code=1)
    assert done.stdout == "p-2 is paused\n"
    assert "error: workflow 'p-3' cannot be paused: it is terminated" in done.stderr
    done = shop("terminate", "--all", "--type", counter, "--status", "open")
    assert len(done.stdout.splitlines()) == 3
    assert "no run like that" in shop("list", "--status", "open", "--type", counter).stdout
