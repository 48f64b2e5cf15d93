"""Metrics from real endpoints, events for Celery's monitors, signals, logs: with pools of processes and of threads."""

from __future__ import annotations

import json
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.events.state import State
from prometheus_client.parser import text_string_to_metric_families

from orchestration.client import WorkflowHandle
from orchestration.embedded import EmbeddedRedis
from orchestration.telemetry.metrics import METRICS
from orchestration.telemetry.store_metrics import STORE_METRICS
from tests.support import WorkerProcess, wait_until
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed

project = Project(tasks=["tests.acceptance.observed_tasks"], env={"ORCHESTRATION_CACHE_RUNS": "0"}, concurrency=2)
project.celery_task("work", "observed.work")
project.celery_task("fail", "observed.fail")
ordinary = project.workflow(
    "ordinary",
    """
    local funcs, time = require("funcs"), require("time")
    local function main(n)
        print("begun with", n)
        local value = funcs.call("app:work", n)
        time.sleep("20ms")
        return value
    end
    return main
    """,
    modules=["funcs", "time"],
)
fails = project.workflow(
    "fails", 'return { main = function() error(select(2, require("funcs").call("app:fail"))) end }'
)
parks = project.workflow("parks", "return { main = function() while true do end end }")
waits = project.workflow(
    "waits",
    """
    local errors, process = require("errors"), require("process")
    local function main()
        process.events():receive()
        return nil, errors.new { message = "stopped", kind = "Canceled" }
    end
    return main
    """,
    modules=["errors", "process"],
)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Site:
    """A deployment with a worker that serves metrics, and what a monitor hears of it."""

    def __init__(self, deployment: Deployment, pool: str) -> None:
        self.deployment = deployment
        self.pool = pool
        self.port = _free_port()
        self.heard: list[dict[str, Any]] = []
        self.state = State()
        self.worker: WorkerProcess = deployment.worker(
            pool=pool, options=["-E"],
            env={
                "ORCHESTRATION_METRICS_PORT": str(self.port), "ORCHESTRATION_METRICS_ADDRESS": "127.0.0.1",
                "ORCHESTRATION_INSTRUCTIONS": "1000000",
            },
        )  # fmt: skip
        self._receiver: Any = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _listen(self) -> None:
        app = self.deployment.app

        def take(event: dict[str, Any]) -> None:
            self.heard.append(event)
            self.state.event(event)

        with app.connection_for_read() as connection:
            self._receiver = app.events.Receiver(connection, handlers={"*": take})
            self._receiver.on_consume_ready = lambda *_, **__: self._ready.set()
            self._receiver.capture(wakeup=False)

    def close(self) -> None:
        self._receiver.should_stop = True
        self._thread.join(5)

    def scrape(self) -> dict[tuple[str, str], float]:
        """Samples by name and workflow type, target or namespace; series that share these are added up."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = sample.labels
                key = (sample.name, labels.get("workflow_type") or labels.get("target") or labels.get("namespace", ""))
                found[key] = found.get(key, 0) + sample.value
        return found

    def shown(self, task_id: str) -> str:
        """State of a task as Flower shows it: it has its states from this class of Celery."""
        task = self.state.tasks.get(task_id)
        return task.state if task is not None else ""

    def events_of(self, handle: WorkflowHandle) -> list[str]:
        return [event["type"] for event in self.heard if event.get("run_id") == handle.run_id]


@pytest.fixture(scope="module", params=["prefork", "threads"])
def site(
    request: pytest.FixtureRequest, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("observing")
    with deployed(project, folder, empty_database(redis_server)) as deployment:
        found = Site(deployment, request.param)
        yield found
        found.close()


def _signals(site: Site) -> list[list[str]]:
    path = Path(site.deployment.folder) / "signals.txt"
    return [line.split("|") for line in path.read_text().splitlines()] if path.exists() else []


def _heard(site: Site, handle: WorkflowHandle, last: str) -> list[str]:
    wait_until(lambda: last in site.events_of(handle), deadline_s=20, message=lambda: str(site.events_of(handle)))
    return site.events_of(handle)


def test_metrics_of_all_processes_are_scraped_at_one_port(site: Site) -> None:
    client = site.deployment.client
    for handle in [client.start_workflow(ordinary, n) for n in range(4)]:
        assert handle.result(timeout=30)
    client.start_workflow(waits)

    def counted() -> dict[tuple[str, str], float]:
        found = site.scrape()
        ended = found.get(("orchestration_runs_ended_total", ordinary), 0)
        is_told = ended >= 4 and ended == found["orchestration_runs_started_total", ordinary]
        return found if is_told and found["orchestration_runs_open", "default"] >= 1 else {}

    found = wait_until(counted, deadline_s=20)
    runs = found["orchestration_runs_started_total", ordinary]
    assert runs >= 4
    assert found["orchestration_step_duration_seconds_count", ordinary] >= 3 * runs
    assert found["orchestration_replay_duration_seconds_count", ordinary] >= 2 * runs  # nothing is cached here
    assert found["orchestration_timer_lateness_seconds_count", ordinary] == runs
    assert 0 <= found["orchestration_timer_lateness_seconds_sum", ordinary] < 30 * runs
    assert found["orchestration_activity_duration_seconds_count", "app:work"] == runs
    assert found["orchestration_activity_schedule_to_start_seconds_count", "default"] >= runs
    assert found["orchestration_runs_ended_total", ordinary] == runs
    assert found["orchestration_cache_lookups_total", "default"] > 0
    names = {name for name, _ in found}
    assert {metric.name for metric in STORE_METRICS} <= names
    known = {metric.name for metric in (*METRICS, *STORE_METRICS)}
    ours = {re.sub("_(bucket|sum|count|created)$", "", name) for name in names if name.startswith("orchestration_")}
    assert {name for name in ours if name not in known and f"{name}_total" not in known} == set()


def test_monitors_hear_of_every_step_and_flower_shows_where_a_workflow_stands(site: Site) -> None:
    task = site.deployment.app.send_task(ordinary, [1])
    handle = site.deployment.client.get_workflow(task.id)
    assert handle.result(timeout=30) == 2
    heard = _heard(site, handle, "workflow-completed")
    assert heard == [
        "workflow-started", "workflow-suspended", "workflow-resumed", "workflow-suspended", "workflow-resumed",
        "workflow-completed",
    ]  # fmt: skip
    event = next(e for e in site.heard if (e["type"], e.get("run_id")) == ("workflow-completed", handle.run_id))
    assert event["uuid"] == task.id
    assert (event["workflow_type"], event["namespace"], event["hostname"]) == (
        ordinary, "default", f"{site.worker.name}@{socket.gethostname()}",
    )  # fmt: skip
    wait_until(lambda: site.shown(task.id) == "SUCCESS", deadline_s=10)
    ours = [event for event in site.heard if event["type"].startswith("workflow-")]
    assert not [event for event in ours if "secret" in str(event)]

    waiting = site.deployment.client.start_workflow(waits)
    _heard(site, waiting, "workflow-suspended")
    wait_until(lambda: site.shown(waiting.run_id) == "WAITING", deadline_s=10)
    waiting.cancel("not wanted")
    _heard(site, waiting, "workflow-cancelled")


def test_signals_are_called_for_what_somebody_has_to_look_at(site: Site) -> None:
    client = site.deployment.client
    parked, failed = client.start_workflow(parks), client.start_workflow(fails)

    def told(name: str, handle: WorkflowHandle) -> Callable[[], list[list[str]]]:
        return lambda: [line for line in _signals(site) if line[:2] == [name, handle.id]]

    assert wait_until(told("workflow_parked", parked), deadline_s=20)[0][2] == "limit"
    message = "out of stock: the customer's secret"
    assert wait_until(told("workflow_failed", failed), deadline_s=20)[0][2:] == ["Conflict", message]
    assert _heard(site, parked, "workflow-parked")[-1] == "workflow-parked"
    assert _heard(site, failed, "workflow-failed")[-1] == "workflow-failed"
    assert site.scrape()["orchestration_runs_parked_total", parks] >= 1


def test_logs_are_json_name_the_run_and_are_silent_in_replay(site: Site) -> None:
    handle = site.deployment.client.start_workflow(ordinary, 41)
    assert handle.result(timeout=30) == 42

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in site.worker.log().splitlines() if line.startswith("{")]
        return [line for line in found if line.get("run_id") == handle.run_id]

    said = wait_until(lambda: [line for line in lines() if line["logger"] == "orchestration.lua"], deadline_s=10)
    assert [(line["message"], line["workflow_id"]) for line in said] == [("begun with 41", handle.id)]
    own = [line for line in lines() if line["logger"] == "shop"]
    assert [(line["message"], line["activity"], line["attempt"], line["value"]) for line in own] == [
        ("work is done", "app:work", 1, 41)
    ]


def test_the_store_says_what_is_open_without_any_worker(site: Site) -> None:
    from orchestration.telemetry.store_metrics import exposition, read_store

    site.deployment.client.execute_workflow(ordinary, 1, timeout=30)
    store = site.deployment.orchestration.runtime.store("default")
    reading = read_store(store)
    found = {f.name: f.samples[0].value for f in text_string_to_metric_families(exposition([reading]))}
    assert set(found) == {metric.name for metric in STORE_METRICS}
    assert found["orchestration_runs_kept"] > 0
