"""The manifests of docs/how-to/kubernetes.md: their commands run, their probes answer, their variables are settings."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from celery import Celery

from orchestration import Client, Orchestration
from orchestration.settings import Settings
from tests.support.pages import Page
from tests.support.projects import Project
from tests.support.warm_workers import start_warm
from tests.support.workers import ROOT, WorkerProcess
from tests.web.site import free_port

PAGE = Page("docs/how-to/kubernetes.md")
DEPLOYMENT, SCALED, HOSTS, JOB = (
    yaml.safe_load(PAGE.block(words))
    for words in ("kind: Deployment", "kind: ScaledObject", "--hosts", "kind: CronJob")
)
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
(DOCTOR,) = JOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]


project = Project("app")
project.host("sessions")
order = project.workflow("order", "return function() return process.listen('paid'):receive() end")


@pytest.fixture
def env(redis_url: str, tmp_path: Path) -> dict[str, str]:
    """What the pod's containers have: programs of the virtual environment, and the variables of the manifest."""
    others = ("CELERY_", "ORCHESTRATION_", "REDIS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "REDIS_URL": redis_url,
            "ORCHESTRATION_CONFIG": str(project.write(tmp_path / "config"))}  # fmt: skip


def variables(container: dict[str, Any]) -> dict[str, str]:
    """Those of a container that have a value in the manifest; all of them are settings or the store's address."""
    names = {variable["name"] for variable in container["env"]}
    known = {f"ORCHESTRATION_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert names <= known | {"REDIS_URL"}
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


@contextlib.contextmanager
def started(command: list[str], env: dict[str, str], log_path: Path) -> Iterator[WorkerProcess]:
    """A worker as the manifest starts it."""
    assert command[0] == "celery"
    name = command[command.index("-n") + 1].partition("@")[0]
    process = start_warm([*command[1:], "-l", "INFO"], env=env, cwd=ROOT, log_path=log_path)
    with WorkerProcess(name, process, log_path) as worker:
        worker.wait_until_ready()
        yield worker


def test_the_pod_is_probed_scaled_and_ended(env: dict[str, str], redis_url: str, tmp_path: Path) -> None:
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    given, port = variables(CONTAINER), str(free_port())
    assert CONTAINER["startupProbe"]["httpGet"]["port"] == CONTAINER["ports"][0]["name"]
    assert str(CONTAINER["ports"][0]["containerPort"]) == given["ORCHESTRATION_METRICS_PORT"]
    given |= {"ORCHESTRATION_METRICS_PORT": port}
    with started(CONTAINER["command"], {**env, **given}, tmp_path / "worker.log") as worker:
        path = CONTAINER["startupProbe"]["httpGet"]["path"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            assert answer.status == 200
        probe = CONTAINER["livenessProbe"]["exec"]["command"]
        done = subprocess.run(probe, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert "1 node online" in done.stdout, done.stdout + done.stderr
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait_until_gone(deadline_s=POD["terminationGracePeriodSeconds"]) == 0
    assert SCALED["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    assert SCALED["spec"]["minReplicaCount"] >= 1, "somebody has to fire timers"
    (trigger,) = SCALED["spec"]["triggers"]
    assert trigger["type"] == "redis"
    app = Celery("client", broker=redis_url, backend=redis_url, set_as_current=False)
    with contextlib.closing(Orchestration(app, config=env["ORCHESTRATION_CONFIG"]).runtime):
        Client(app).start_workflow(order)
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        assert client.llen(trigger["metadata"]["listName"]) == 1


def test_a_worker_of_hosts_and_the_doctor(env: dict[str, str], tmp_path: Path) -> None:
    variables(DOCTOR)
    with started(HOSTS["command"], env, tmp_path / "worker.log"):
        done = subprocess.run(DOCTOR["command"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
