"""Values of some mebibytes, with a stage for what is too large for the Redis of the runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestration.client import WorkflowHandle
from orchestration.errors import PayloadTooLargeError
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed
from tests.support.warm_cli import project_cli

FIVE_MIB = 5 * 1024 * 1024
LIMITS = {"memory_bytes": 512 * 1024 * 1024, "history_bytes": 256 * 1024 * 1024, "sweep_interval_ms": 200}

project = Project(tasks=["tests.acceptance.tasks"])
project.celery_task("echo", "accept.echo")
every_way = project.workflow(
    "every_way",
    """
    local funcs, workflow = require("funcs"), require("workflow")
    return function(value)
        workflow.update("give_back", function(given) return given .. "!" end)
        local echoed = assert(funcs.call("app:echo", value))
        local signalled = process.listen("data"):receive()
        local child = assert(workflow.exec("app:child", value))
        process.listen("stop"):receive()
        return { result = value, same = echoed == value and signalled == value and child == value }
    end
    """,
)
project.workflow("child", "return function(value) return value end")
rounds = project.workflow(
    "rounds",
    """
    return function(round)
        if round == 1 then
            process.listen("go"):receive()
            return process.upgrade(nil, 2)
        end
        return #process.listen("data"):receive()
    end
    """,
)
project.celery_task("sleeps", "accept.sleeps")
slow = project.workflow(
    "slow",
    """
    local funcs = require("funcs")
    return function(key)
        local once = { maximum_attempts = 1 }
        local bounded = { ["activity.start_to_close_timeout"] = "1s", ["activity.retry_policy"] = once }
        local slept, err = funcs.new():with_options(bounded):call("app:sleeps", key, 4)
        return err:kind()
    end
    """,
)
steps = project.workflow(
    "steps",
    """
    local funcs = require("funcs")
    return function(value)
        local echoed = assert(funcs.call("app:echo", value))
        process.listen("stop"):receive()
        return #echoed
    end
    """,
)


def large(seed: str, size: int = FIVE_MIB) -> str:
    return (f"{seed} " * (size // 4))[:size]


@contextlib.contextmanager
def offloading(folder: Path, redis_url: str, where: str, **settings: Any) -> Iterator[Deployment]:
    """A deployment whose worker and client have a stage."""
    settings = {**LIMITS, "offload": where, **settings}
    env = {f"ORCHESTRATION_{name.upper()}": str(value) for name, value in settings.items()}
    with deployed(project, folder, redis_url, **settings) as deployment:
        deployment.worker(env=env)
        yield deployment


@pytest.fixture(scope="module")
def stored(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One worker for the module, whose stage is the folder ``stage``; no machine outlives its step."""
    folder = tmp_path_factory.mktemp("large")
    where = f"file://{folder}/stage"
    with offloading(folder, empty_database(redis_server), where, cache_runs=0) as deployment:
        yield deployment


def kept_of_runs(deployment: Deployment) -> Mapping[str, int]:
    """Bytes in Redis of histories, inboxes, open commands and answers, by key."""
    with contextlib.closing(redis.Redis.from_url(deployment.redis_url)) as client:
        keys = [key for kind in ("hist", "inbox", "open", "updates") for key in client.keys(f"orc:*:{kind}:*")]
        return {key.decode(): client.memory_usage(key, samples=0) or 0 for key in keys}


def length_of(handle: WorkflowHandle) -> int:
    return handle.describe().history_length


def go_every_way(deployment: Deployment, workflow_id: str) -> None:
    value = large("all")
    handle = deployment.client.start_workflow(every_way, value, id=workflow_id)
    handle.signal("data", value)
    assert handle.update("give_back", value, timeout=30) == value + "!"
    wait_until(lambda: length_of(handle) >= 9, deadline_s=30, message=lambda: str(handle.describe()))
    assert sum(kept_of_runs(deployment).values()) < 50_000, kept_of_runs(deployment)
    handle.signal("stop")
    assert handle.result(timeout=30) == {"result": value, "same": True}
    assert sum(kept_of_runs(deployment).values()) < 50_000, kept_of_runs(deployment)
    assert sum(len(event) for event in handle.raw_history()) > 8 * FIVE_MIB
    deployment.replay_all()


def test_values_of_five_mebibytes_go_every_way_through_a_folder(stored: Deployment) -> None:
    """Arguments, an activity, a signal, an update, a child, a result; and each step replays what is in the stage."""
    go_every_way(stored, "every-way")
    stage = stored.folder / "stage" / "default"
    expires = wait_until(lambda: list(stage.glob("*/*/.expires")), message="a lifetime")
    assert all(path.read_text().isdigit() for path in expires)


def test_values_of_five_mebibytes_go_every_way_through_another_redis(tmp_path: Path, urls: list[str]) -> None:
    with offloading(tmp_path, urls[0], urls[1]) as deployment:
        go_every_way(deployment, "every-way")
        with contextlib.closing(redis.Redis.from_url(urls[1])) as client:
            assert {key[:20] for key in client.keys("*")} == {b"orc:offload:default:"}

            def lifetimes() -> list[int]:
                return [int(client.pttl(key)) for key in client.keys("*")]

            wait_until(lambda: all(left > 7 * 86_400_000 for left in lifetimes()), message=lambda: str(lifetimes()))


def test_a_large_signal_that_is_unread_goes_over_to_the_next_run(stored: Deployment) -> None:
    handle = stored.client.start_workflow(rounds, 1, id="rounds")
    wait_until(lambda: length_of(handle), message="begun")
    handle.signal("data", large("unread"))
    handle.signal("go")
    assert handle.result(timeout=30) == FIVE_MIB
    runs = [run for run in stored.client.list_workflows() if run.workflow_id == "rounds"]
    assert {run.status for run in runs} == {"continued_as_new", "completed"}


def test_reset_and_fork_go_on_from_what_is_offloaded(stored: Deployment) -> None:
    handle = stored.client.start_workflow(steps, large("copied"), id="copied")
    wait_until(lambda: length_of(handle) >= 3, message="the activity's answer")
    fork = handle.fork(3, id="forked")
    new = handle.reset(1, "again")
    wait_until(lambda: length_of(new) >= 3, message="the activity's answer again")
    for copy in (fork, new):
        copy.signal("stop")
        assert copy.result(timeout=30) == FIVE_MIB


def test_a_lost_value_parks_its_run_and_retry_goes_on_when_it_is_back(stored: Deployment) -> None:
    handle = stored.client.start_workflow(steps, large("lost"), id="lost")
    wait_until(lambda: length_of(handle) >= 3, message="the activity's answer")
    scope = stored.orchestration.runtime.store("default").claims.scope("lost")
    folder = stored.folder / "stage" / "default" / scope[:2] / scope
    aside = folder.with_name("aside")
    folder.rename(aside)
    handle.signal("stop")
    wait_until(lambda: handle.describe().status == "parked", message="parked")
    reason = str(handle.describe().parked)
    assert reason.startswith(f"history: event 1 of run {handle.run_id} is offloaded (")
    assert f"to the folder {stored.folder}/stage/default, scope {scope}: it is not there" in reason
    aside.rename(folder)
    with project_cli(stored) as cli:
        cli("retry", "lost")
    assert handle.result(timeout=30) == FIVE_MIB


def test_a_lost_activity_parks_its_run_when_its_deadline_is_over(stored: Deployment) -> None:
    """Nothing else would move the run: the sweep cannot tell what the deadline means."""
    handle = stored.client.start_workflow(slow, large("slow", 300_000), id="slow")
    wait_until(lambda: handle.describe().pending, message="the activity")
    scope = stored.orchestration.runtime.store("default").claims.scope("slow")
    folder = stored.folder / "stage" / "default" / scope[:2] / scope
    aside = folder.with_name("slow")
    folder.rename(aside)
    assert handle.describe().pending == ()
    wait_until(lambda: handle.describe().status == "parked", message="parked")
    assert str(handle.describe().parked).startswith(f"history: activity 1 of run {handle.run_id} is offloaded (")
    aside.rename(folder)
    handle.retry()
    assert handle.result(timeout=30) == "Timeout"


def test_what_is_larger_than_the_limit_of_the_stage_is_refused(stored: Deployment) -> None:
    with pytest.raises(PayloadTooLargeError, match="16777216"):
        stored.client.start_workflow(steps, large("huge", 17 * 1024 * 1024))
