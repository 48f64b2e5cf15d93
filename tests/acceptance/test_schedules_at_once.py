"""Many schedules that are due in the same second, and workers that are killed while they fire them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestration import ScheduleAction, SchedulePolicy, ScheduleSpec
from orchestration.client import WorkflowHandle
from orchestration.faults import SCHEDULE_POINTS
from orchestration.tasks import schedules as module
from tests.support import wait_until
from tests.support.projects import Deployment, Project, deployed
from tests.support.workers import ROOT

project = Project(concurrency=1)
job = project.workflow("job", "return function() return 1 end")
QUEUE = "nobody"
"""Is consumed by no worker: the runs are started and stay as they are."""


def due_in(deployment: Deployment, seconds: float) -> ScheduleSpec:
    """Due once, in a full second about so far from now."""
    at_s = round(deployment.orchestration.runtime.redis_now_ms() / 1000 + seconds)
    return ScheduleSpec(interval=timedelta(days=365), offset=timedelta(seconds=at_s % (365 * 86_400)), max_actions=1)


def create(deployment: Deployment, count: int, spec: ScheduleSpec) -> list[str]:
    action = ScheduleAction(workflow_type=job, task_queue=QUEUE)
    names = [f"s{number:04}" for number in range(count)]
    for name in names:
        deployment.client.create_schedule(name, spec=spec, action=action)
    return names


def started(deployment: Deployment) -> list[str]:
    """Workflow ids of all runs there are, with repeats."""
    runs = deployment.orchestration.runtime.store("default").runs
    ids = [run_id for run_id, _ in runs.listing(closed=False, limit=10_000)]
    return [record.fields["id"] for record in runs.records(ids)]


def is_settled(deployment: Deployment, names: list[str]) -> bool:
    """Whether every schedule knows of its start."""
    found = deployment.client.list_schedules(limit=len(names) + 1)
    return all(item.counters == {"started": 1} and not item.starting for item in found)


def fire(deployment: Deployment) -> None:
    """Fire what is due, in this process."""
    runtime = deployment.orchestration.runtime
    store = runtime.store("default")
    for shard in store.schedules.shards:
        module.ScheduleFirer(runtime).fire("default", store, shard)


def assert_each_once(deployment: Deployment, names: list[str]) -> None:
    count = Counter(workflow_id.partition("-")[0] for workflow_id in started(deployment))
    assert count == Counter(names)
    for item in deployment.client.list_schedules(limit=len(names) + 1):
        assert item.counters == {"started": 1}
        (run,) = item.recent
        assert run.run_id == WorkflowHandle(deployment.orchestration.runtime, "default", run.workflow_id).run_id


@pytest.mark.timeout(150)
def test_2000_schedules_due_in_the_same_second_fire_once_each(redis_url: str, tmp_path: Path) -> None:
    with deployed(project, tmp_path, redis_url) as deployment:
        began = time.monotonic()
        for name in create(deployment, 100, due_in(deployment, 3600)):
            deployment.client.get_schedule(name).delete()
        pace_s = (time.monotonic() - began) / 100
        for factor in (1.5, 4, 8):  # how fast they are made depends on what else the machine does meanwhile
            spec = due_in(deployment, 3 + 2_000 * factor * pace_s)
            names = create(deployment, 2_000, spec)
            now_ms = deployment.orchestration.runtime.redis_now_ms()
            due = spec.next_due("", now_ms)
            assert due is not None
            if due.nominal_ms - now_ms < 3600_000:
                break
            for name in names:
                deployment.client.get_schedule(name).delete()
        assert due.nominal_ms - now_ms < 3600_000, "they took too long to make"
        workers = [deployment.worker(wait=False) for _ in range(2)]
        for worker in workers:
            worker.wait_until_ready()
        time.sleep(max(due.nominal_ms - deployment.orchestration.runtime.redis_now_ms(), 0) / 1000)
        wait_until(lambda: len(started(deployment)) >= 2_000, deadline_s=30, every_s=0.3)  # in seconds
        wait_until(lambda: is_settled(deployment, names), deadline_s=15, every_s=0.3)
        assert_each_once(deployment, names)


@contextlib.contextmanager
def firing(deployment: Deployment, fault: str) -> Iterator[subprocess.Popen[str]]:
    """A process that fires schedules, and dies at a point."""
    env = {**os.environ, "REDIS_URL": deployment.redis_url, "ORCHESTRATION_CONFIG": str(deployment.config)}
    env |= {"PYTHONPATH": str(ROOT), "ORCHESTRATION_FAULT": fault}
    command = [sys.executable, "-m", "tests.support.fire_schedules"]
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.timeout(120)
def test_worker_killed_at_any_point_of_firing_loses_and_doubles_none(urls: list[str], tmp_path: Path) -> None:
    """At each point one dies in the middle of thirty; another does the rest."""
    with contextlib.ExitStack() as stack:
        benches = {
            point: stack.enter_context(deployed(project, tmp_path / point, url))
            for point, url in zip(SCHEDULE_POINTS, urls, strict=False)
        }
        names = {point: create(bench, 30, due_in(bench, 2)) for point, bench in benches.items()}
        dying = [
            stack.enter_context(firing(bench, f"{point}:4:{bench.folder / 'killed'}"))
            for point, bench in benches.items()
        ]
        wait_until(lambda: all(process.poll() is not None for process in dying), deadline_s=30)
        assert [process.returncode for process in dying] == [-signal.SIGKILL] * len(dying)
        assert all(len(started(bench)) < len(names[point]) for point, bench in benches.items())
        for point, bench in benches.items():
            wait_until(lambda b=bench, p=point: fire(b) or is_settled(b, names[p]), deadline_s=15, every_s=0.1)
            assert_each_once(bench, names[point])


@pytest.mark.timeout(120)
def test_worker_killed_while_firing_is_followed_by_another(redis_url: str, tmp_path: Path) -> None:
    """The same with real workers, of which one has the sweep's turn when it dies."""
    with deployed(project, tmp_path, redis_url) as deployment:
        fault = f"after_schedule:50:{tmp_path / 'killed'}"
        workers = [deployment.worker(env={"ORCHESTRATION_FAULT": fault}, wait=False) for _ in range(2)]
        for worker in workers:
            worker.wait_until_ready()
        names = create(deployment, 150, due_in(deployment, 2))
        wait_until(lambda: is_settled(deployment, names), deadline_s=30, every_s=0.1)
        assert sorted(worker.is_running for worker in workers) == [False, True]
        assert_each_once(deployment, names)


@pytest.mark.timeout(60)
def test_run_that_ends_while_the_sweep_looks_is_not_missed(redis_url: str, tmp_path: Path) -> None:
    """The end of a run comes between the look at it and the write: the write is refused, the look done again."""
    with deployed(project, tmp_path, redis_url) as deployment:
        handle = deployment.client.create_schedule(
            "s", spec=ScheduleSpec(cron="0 0 1 1 *"), action=ScheduleAction(workflow_type=job, task_queue=QUEUE),
            policy=SchedulePolicy(overlap="buffer_all"),
        )  # fmt: skip
        handle.trigger()
        fire(deployment)
        (first,) = handle.describe().running
        handle.trigger()
        looked = module.ended_runs

        def look(*args: object) -> dict[str, str]:
            found = looked(*args)  # type: ignore[arg-type]
            module.ended_runs = looked
            deployment.client.get_workflow(first.workflow_id).terminate()
            return found

        module.ended_runs = look  # type: ignore[assignment]
        fire(deployment)
        found = handle.describe()
        assert found.counters == {"started": 2}
        assert found.buffered == 0


@pytest.mark.timeout(60)
def test_worker_without_the_code_starts_the_run_for_those_who_have_it(redis_url: str, tmp_path: Path) -> None:
    """During a deploy the worker that fires may be an old one; the queue was noted when the schedule was made."""
    other = Project("other")
    other.workflow("else", "return function() end")
    with (
        deployed(project, tmp_path / "new", redis_url) as deployment,
        deployed(other, tmp_path / "old", redis_url) as old,
    ):
        handle = deployment.client.create_schedule(
            "s", spec=ScheduleSpec(cron="0 0 1 1 *"), action=ScheduleAction(workflow_type=job, args=[7])
        )
        handle.trigger()
        fire(old)
        (run,) = handle.describe().running
        deployment.worker()
        assert deployment.client.get_workflow(run.workflow_id).result(timeout=15) == 1


@pytest.mark.timeout(60)
def test_schedule_that_cannot_be_read_keeps_no_other_from_firing(redis_url: str, tmp_path: Path) -> None:
    with deployed(project, tmp_path, redis_url) as deployment:
        names = create(deployment, 5, due_in(deployment, 3600))
        store = deployment.orchestration.runtime.store("default")
        for name in names:
            deployment.client.get_schedule(name).trigger()
        keys = store.keyspace.of_workflow(names[0])
        store.connection.call("HSET", keys.schedule(names[0]), "state", b"?")
        fire(deployment)
        assert Counter(name.partition("-")[0] for name in started(deployment)) == Counter(names[1:])
