"""Queues that this process's settings do not have, where Celery may not make them up: a mistake, or those of others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.embedded import EmbeddedRedis
from orchestration.errors import ConfigError
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed

STRICT: dict[str, Any] = {"task_create_missing_queues": False, "task_queues": {"celery": {}, "slow": {}}}
NARROW: dict[str, Any] = {"task_create_missing_queues": False, "task_queues": {"celery": {}}}

project = Project(tasks=["tests.acceptance.tasks"], env={"ORCHESTRATION_ETA_TASKS_MAX": "0"})
project.celery_task("add", "accept.add")
calls = project.workflow(
    "calls",
    """
    local function main(queue)
        local e = require("funcs").new()
        local value, err = e:with_options(queue and { ["activity.task_queue"] = queue } or {}):call("app:add", 1, 2)
        if err then return { kind = err:kind(), message = tostring(err), retryable = err:retryable() } end
        return value
    end
    return main
    """,
)
sleeps = project.workflow("sleeps", 'return function(span) require("time").sleep(span) return "woken" end')
waits = project.workflow("waits", 'return function() return process.listen("go"):receive() end')


@pytest.fixture(scope="module", params=["one Redis", "the store elsewhere"])
def strict(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis
) -> Iterator[Deployment]:
    """Two workers: the first has the sweep's turn and knows nothing of the queue that the second reads."""
    folder: Path = tmp_path_factory.mktemp("strict")
    with contextlib.ExitStack() as stack:
        store = {}
        if request.param != "one Redis":
            store = {"store_url": stack.enter_context(EmbeddedRedis()).url}
        url = empty_database(redis_server)
        deployment = stack.enter_context(deployed(project, folder, url, celery=STRICT, **store))
        deployment.celery = NARROW
        deployment.worker(name="narrow")
        deployment.celery = STRICT
        deployment.worker(name="wide", queues=["slow"])
        yield deployment


def test_a_queue_that_is_not_there_is_an_error_that_the_workflow_reads(strict: Deployment) -> None:
    """It was tried by five workers, and the run parked: 5 workers gave up or died at this step."""
    found = strict.client.execute_workflow(calls, "nowhere", timeout=20)
    assert (found["kind"], found["retryable"]) == ("NotFound", False)
    assert "activity app:add cannot be sent: Queue 'nowhere' missing from task_queues" in found["message"]
    assert strict.client.execute_workflow(calls, timeout=20) == 3


def test_nobody_starts_a_workflow_on_it(strict: Deployment) -> None:
    with pytest.raises(ConfigError, match=r"^workflow typo is not started: Queue 'nowhere' missing from task_queues"):
        strict.client.start_workflow(waits, id="typo", task_queue="nowhere")


def test_runs_are_woken_whoever_has_the_turn(strict: Deployment) -> None:
    """Timers, delays and signals of a queue that the sweeping worker does not know; it swept nothing else either."""
    slept = strict.client.start_workflow(sleeps, "1s", task_queue="slow")
    here = strict.client.start_workflow(sleeps, "2s")
    delayed = strict.client.start_workflow(sleeps, "1ms", task_queue="slow", start_delay=timedelta(seconds=1))
    for handle in (delayed, slept, here):
        assert handle.result(timeout=30) == "woken"
