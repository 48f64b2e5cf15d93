"""Runs are moved to other code when it fits their history, and only then; one can ask first which it would break."""

from __future__ import annotations

import json

import pytest

from orchestration.client import Fit
from tests.support import wait_until
from tests.support.projects import Project, deployed
from tests.support.warm_cli import project_cli

SOURCE = """
local funcs, time = require("funcs"), require("time")

local function main(n)
    local first = funcs.call("app:add", n, 1)
    local timer = time.after("1h")
    process.listen("go"):receive()
    return { code = "A", first = first, second = funcs.call("app:add", first, 1) }
end
return main
"""
FITS = SOURCE.replace('"A"', '"B"').replace("first, 1) }", "first, 100) }")
DIFFERS = FITS.replace('"app:add", n, 1', '"app:add", n, 5').replace('"1h"', '"2h"')
BREAKS = FITS.replace('time.after("1h")', 'funcs.async("app:add", 1, 1)')
FAILS = FITS.replace("    local first", "    error('broken') local first")


def code(source, **fields):
    project = Project(tasks=["tests.acceptance.tasks"])
    project.celery_task("add", "accept.add")
    if source:
        project.workflow("moving", source, **fields)
    return project


def waiting(handle):
    return any("go" in place.waits_for for place in handle.describe().places)


@pytest.fixture
def on_a(tmp_path, redis_url):
    """A worker with code A, and two runs that wait."""
    with deployed(code(SOURCE), tmp_path / "a", redis_url) as deployment:
        deployment.worker()
        for name in ("m-1", "m-2"):
            deployment.client.start_workflow("app:moving", 1, id=name)
        for name in ("m-1", "m-2"):
            wait_until(lambda name=name: waiting(deployment.client.get_workflow(name)), message="they wait")
        yield deployment


@pytest.fixture
def other(tmp_path, redis_url):
    """Make a deployment of other code over the same runs; no worker of it is started."""
    made = []

    def make(source, **fields):
        context = deployed(code(source, **fields), tmp_path / f"other-{len(made)}", redis_url)
        made.append(context)
        return context.__enter__()

    yield make
    for context in made:
        context.__exit__(None, None, None)


def test_an_operator_moves_a_run_whose_worker_had_kept_its_machine(on_a, other):
    """The worker with the old code goes on with the run: on the new code, which it has from the store."""
    new = other(DIFFERS)
    one, two = new.client.get_workflow("m-1"), new.client.get_workflow("m-2")
    before = one.describe().bundle
    assert one.upgrade(dry_run=True).fit is Fit.FITS
    assert one.describe().bundle == before
    move = one.upgrade()
    assert move.moved
    lines = [(item.event_number, item.line.rpartition("/")[2]) for item in move.warnings]
    assert lines == [(2, "moving.lua:4"), (4, "")]
    assert one.upgrade().fit is Fit.SAME
    assert one.describe().bundle != before
    one.signal("go")
    two.signal("go")
    assert one.result(timeout=10) == {"code": "B", "first": 2, "second": 102}
    assert two.result(timeout=10) == {"code": "A", "first": 2, "second": 3}


def test_a_moved_run_is_replayed_from_its_beginning_by_others(on_a, other):
    on_a.workers[0].kill()
    new = other(DIFFERS)
    handle = new.client.get_workflow("m-1")
    assert handle.upgrade().moved
    new.worker()
    handle.signal("other")
    handle.signal("go")
    assert handle.result(timeout=20)["second"] == 102


def test_a_machine_kept_while_an_activity_runs_is_dropped_after_the_move(tmp_path, redis_url):
    """Who reports the activity has the old code's machine at hand, and nothing new to read in the history."""
    source = """
    local function main(key)
        require("funcs").call("app:sleeps", key, 2)
        return "%s"
    end
    return main
    """
    made = []
    for word in ("A", "B"):
        project = Project(tasks=["tests.acceptance.tasks"])
        project.celery_task("sleeps", "accept.sleeps")
        project.workflow("moving", source % word)
        made.append(project)
    with deployed(made[0], tmp_path / "a", redis_url) as old, deployed(made[1], tmp_path / "b", redis_url) as new:
        old.worker()
        old.client.start_workflow("app:moving", "kept", id="kept")
        handle = new.client.get_workflow("kept")
        wait_until(lambda: [item.state for item in handle.describe().pending] == ["claimed"], message="it runs")
        assert handle.upgrade().moved
        assert handle.result(timeout=10) == "B"


def test_a_run_that_the_code_does_not_fit_stays(on_a, other):
    new = other(BREAKS)
    handle = new.client.get_workflow("m-1")
    move = handle.upgrade()
    assert (move.fit, move.moved, move.event_number) == (Fit.BREAKS, False, 4)
    assert (move.expected, move.actual) == ("a timer of 3600000 ms (number 2)", "activity app:add (number 2)")
    assert move.line.endswith("moving.lua:5")
    assert other(FAILS).client.get_workflow("m-1").upgrade().fit is Fit.BREAKS
    assert other("").client.get_workflow("m-1").upgrade().fit is Fit.GONE
    handle.signal("go")
    assert handle.result(timeout=10)["code"] == "A"
    ended = handle.upgrade()
    assert (ended.fit, ended.reason) == (Fit.GONE, "it is completed")


def test_auto_upgrade_moves_a_run_at_its_next_step_and_never_back(on_a, other):
    on_a.workers[0].kill()
    new = other(FITS, versioning="auto_upgrade")
    new_worker = new.worker()
    one, two = new.client.get_workflow("m-1"), new.client.get_workflow("m-2")
    one.signal("other")
    one.signal("go")
    assert one.result(timeout=20)["code"] == "B"
    assert "run moved to new code" in new_worker.log()
    two.signal("other")  # a step that ends nothing: it is moved, and waits
    wait_until(lambda: two.describe().bundle == one.describe().bundle, message="moved")
    new_worker.kill()
    old = other(SOURCE, versioning="auto_upgrade")
    old_worker = old.worker()
    two.signal("go")
    assert two.result(timeout=20)["code"] == "B"
    assert "moved" not in old_worker.log()


def test_auto_upgrade_leaves_a_run_that_does_not_fit_on_its_code(on_a, other):
    on_a.workers[0].kill()
    new = other(BREAKS, versioning="auto_upgrade")
    worker = new.worker()
    handle = new.client.get_workflow("m-1")
    for topic in ("one", "two", "go"):
        handle.signal(topic)
    assert handle.result(timeout=20)["code"] == "A"
    assert worker.log().count("run stays on its code") == 1


def test_the_gate_before_a_deploy(on_a, other):
    """No worker is needed: the one that there was is gone."""
    on_a.client.start_workflow("app:moving", 1, id="m-3")
    wait_until(lambda: waiting(on_a.client.get_workflow("m-3")), message="it waits")
    on_a.workers[0].kill()
    with project_cli(on_a, other(BREAKS).config) as shop:
        done = shop("check", "--quiet", "--against-running", code=1)
        assert "3 of 3 running runs would break, at " in done.stderr
        assert "moving.lua line 5: the history says a timer of 3600000 ms (number 2), the code asks for" in done.stderr
        found = json.loads(shop("check", "--against-running", "--json", code=1).stdout)["running"]
        assert (found["looked_at"], found["breaks"], found["groups"][0]["count"]) == (3, 3, 3)
        assert sorted(found["groups"][0]["ids"]) == ["m-1", "m-2", "m-3"]
        assert "0 running runs" in shop("check", "--against-running", "--type", "app:none").stdout
        assert "--against-running" in shop("check", "--type", "x", code=2).stderr
        done = shop("upgrade", "--all", code=1)
        assert done.stdout == ""
        assert done.stderr.count("stays on its code: non-deterministic replay at event 4") == 3
        assert "error: m-1 stays on its code" in shop("upgrade", "m-1", code=1).stderr
    with project_cli(on_a, other(DIFFERS).config) as shop:
        done = shop("check", "--quiet", "--against-running")
        assert "3 running runs: 0 on this code, 3 that it fits, 3 of them with other arguments" in done.stdout
        assert "m-1 would go on with this code" in shop("upgrade", "m-1", "--dry-run").stdout
        done = shop("upgrade", "m-1")
        assert done.stdout == "m-1 goes on with this code\n"
        assert "warning: m-1: event 2: the history says activity app:add (number 1), the code asks for" in done.stderr
        done = shop("upgrade", "--all", "--type", "app:moving", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        fits = {line["id"]: (line["fit"], len(line["warnings"])) for line in lines}
        assert fits == {"m-1": ("same", 0), "m-2": ("fits", 2), "m-3": ("fits", 2)}
    with project_cli(on_a, other("").config) as shop:
        assert "3 whose entry is not here" in shop("check", "-q", "--against-running").stdout
