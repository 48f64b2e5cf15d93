"""What works with which of Celery's result backends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from orchestration.errors import ApplicationError
from orchestration.tasks.states import WAITING
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed

project = Project(tasks=["tests.acceptance.canvas_tasks"], concurrency=8, env={"ORCHESTRATION_STATE_AFTER_MS": "50"})
project.celery_task("add", "canvas.add")
DOUBLE = project.workflow(
    "double",
    """
    local funcs = require("funcs")
    local function main(n) return funcs.call("app:add", n, n) end
    return main
    """,
)
FAILS = project.workflow(
    "fails", "return function() return nil, errors.new({ message = 'of the workflow', kind = errors.INVALID }) end"
)
WAITS = project.workflow("waits", "return function() return process.listen('go'):receive() end")


@pytest.fixture(scope="module", params=["database", "rpc"])
def running(request: Any, redis_server: Any, tmp_path_factory: Any) -> Iterator[Deployment]:
    """A worker and a client whose result backend is not Redis; Redis has the runs and the messages."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    url = {"database": f"db+sqlite:///{folder}/results.sqlite", "rpc": "rpc://"}[request.param]
    with deployed(project, folder, empty_database(redis_server)) as deployment:
        deployment.app.conf.result_backend = url
        deployment.worker(env={"CELERY_RESULT_BACKEND": url})
        yield deployment


def backend(running: Deployment) -> str:
    return str(running.app.conf.result_backend).partition(":")[0]


def test_results_errors_and_chains(running):
    step, add = running.app.tasks[DOUBLE], running.app.signature("canvas.add", (1,))
    assert step.delay(2).get(timeout=15) == 4
    assert chain(step.s(1), add, step.s()).apply_async().get(timeout=20) == 6
    failed = running.app.tasks[FAILS].delay()
    with pytest.raises(ApplicationError, match="of the workflow"):
        failed.get(timeout=15)


def test_a_group_is_joined(running):
    result = group(running.app.tasks[DOUBLE].s(n) for n in range(3)).apply_async()
    assert result.join(timeout=20) == [0, 2, 4]


def test_a_chord(running):
    if backend(running) == "rpc":
        with pytest.raises(NotImplementedError, match="chords"):
            chord([running.app.tasks[DOUBLE].s(1)], running.app.tasks[DOUBLE].s()).apply_async()
        return
    header = [running.app.tasks[DOUBLE].s(1), running.app.signature("canvas.add", (2, 2))]
    assert chord(header, running.app.signature("canvas.echo")).apply_async().get(timeout=30) == [2, 4]


def test_the_state_of_an_open_workflow(running):
    result = running.app.tasks[WAITS].delay()
    handle = running.client.get_workflow(result.id)
    if backend(running) == "rpc":  # each state would be a message to the caller
        wait_until(lambda: handle.describe().places)
        assert result.state == "PENDING"
    else:
        wait_until(lambda: AsyncResult(result.id, app=running.app).state == WAITING, every_s=0.1)
        assert AsyncResult(result.id, app=running.app).info["run_id"] == handle.run_id
    handle.signal("go", "on")
    assert result.get(timeout=15) == "on"


def test_a_revoke(running):
    result = running.app.tasks[DOUBLE].apply_async((1,), queue="nobody-listens")
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=15)
