"""The doctor finds what is wrong with a deployment, and nothing where nothing is; each fault is planted for real."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from orchestration.client import Client, Finding, Severity
from orchestration.embedded import EmbeddedRedis
from orchestration.processes import start_bound
from tests.support import wait_until
from tests.support.projects import Deployment, Project, deployed
from tests.support.rabbitmq import RabbitMQ, rabbitmq
from tests.support.warm_cli import ProjectCli, project_cli
from tests.support.workers import ROOT

__all__ = ["rabbitmq"]

project = Project(tasks=["tests.acceptance.tasks"])
project.celery_task("add", "accept.add")
project.entry("client", "celery.client")
project.entry("worker", "celery.worker", client="app:client", task_queue="orders")
OURS = {"meta": {"celery": {"workflow": {"worker": "app:worker"}}}}
sleeper = project.workflow(
    "sleeper",
    """
    local function main(span)
        require("time").sleep(span)
        return "awake"
    end
    return main
    """,
    **OURS,
)
asker = project.workflow(
    "asker", 'local function main() return process.listen("go"):receive() end return main', **OURS
)

FOREIGN = """
from celery import Celery
app = Celery("shop", broker={url!r}, backend={url!r})
app.conf.update(broker_connection_retry_on_startup=True)
@app.task(name="shop.noop")
def noop(): return None
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    """A server as it should be: with an append-only file."""
    with EmbeddedRedis() as server:
        with contextlib.closing(redis.Redis.from_url(server.url)) as client:
            client.config_set("appendonly", "yes")
        yield server


@pytest.fixture(scope="module")
def healthy(server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One worker with the extension that reads every queue."""
    with deployed(project, tmp_path_factory.mktemp("healthy"), server.url) as deployment:
        deployment.app.conf.worker_prefetch_multiplier = 1
        deployment.worker()
        yield deployment


@pytest.fixture(scope="module")
def cli(healthy: Deployment) -> Iterator[ProjectCli]:
    with project_cli(healthy) as run:
        yield run


def look(client: Client, *only: str) -> list[Finding]:
    return list(client.doctor(only, timeout=4))


def wrong(client: Client, *only: str) -> list[Finding]:
    found = [finding for finding in look(client, *only) if finding.severity.is_finding]
    assert all(finding.cure and finding.anchor == f"docs/how-to/operate.md#{finding.check}" for finding in found)
    return found


def test_a_healthy_deployment_has_no_findings_and_every_check_is_told(healthy: Deployment) -> None:
    from orchestration.health.doctor import check_names

    found = wait_until(lambda: _when_swept(healthy.client))
    assert {finding.check for finding in found} == set(check_names())
    bad = [finding for finding in found if finding.severity.is_finding]
    assert not bad, bad
    unmade = [finding for finding in found if "could not be looked at" in finding.message]
    assert not unmade, unmade


def _when_swept(client: Client) -> list[Finding]:
    """A worker that has just started sweeps a moment later."""
    found = look(client)
    return found if not any(f.check == "workers" and f.severity.is_finding for f in found) else []


def test_an_eviction_policy_that_drops_keys_is_found(healthy: Deployment, server: EmbeddedRedis) -> None:
    with contextlib.closing(redis.Redis.from_url(server.url)) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            (finding,) = wrong(healthy.client, "redis-eviction")
            assert finding.severity is Severity.WARNING
            assert "noeviction" in finding.cure
            client.config_set("maxmemory", "512mb")
            assert wrong(healthy.client, "redis-eviction")[0].severity is Severity.ERROR
        finally:
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")


def test_a_server_that_writes_nothing_to_disk_is_found(healthy: Deployment, server: EmbeddedRedis) -> None:
    with contextlib.closing(redis.Redis.from_url(server.url)) as client:
        client.config_set("appendonly", "no")
        try:
            (finding,) = wrong(healthy.client, "redis-persistence")
            assert "appendonly yes" in finding.cure
        finally:
            client.config_set("appendonly", "yes")


def test_a_visibility_timeout_shorter_than_a_task_is_found(healthy: Deployment) -> None:
    conf = healthy.app.conf
    conf.broker_transport_options = {"visibility_timeout": 120}
    conf.task_time_limit = 300
    try:
        found = wrong(healthy.client, "visibility-timeout")
        errors = [finding for finding in found if finding.severity is Severity.ERROR]
        assert any("task_time_limit is 5m0s" in finding.message for finding in errors)
        assert any("above 5m0s" in finding.cure for finding in errors)
        # the workers' application has another one
        assert any("the shortest wins" in finding.message for finding in found)
    finally:
        conf.broker_transport_options = {}
        conf.task_time_limit = None


@contextlib.contextmanager
def foreign_worker(folder: Path, url: str, *queues: str) -> Iterator[str]:
    """A worker of an application that has never heard of workflows."""
    (folder / "shop_app.py").write_text(FOREIGN.format(url=url), "utf-8")
    command = [sys.executable, "-m", "celery", "-A", "shop_app", "worker", "-n", "shop@%h", "-P", "solo", "-l", "INFO"]
    command += ["-Q", ",".join(queues), "--without-gossip", "--without-mingle"]
    log = folder / "shop.log"
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    with log.open("ab") as output:
        process: subprocess.Popen[bytes] = start_bound(command, env=env, cwd=folder, output=output)
    try:
        wait_until(lambda: " ready." in log.read_text("utf-8"), deadline_s=30, message=lambda: log.read_text("utf-8"))
        yield "shop@"
    finally:
        process.kill()
        process.wait()


def test_a_start_queue_that_a_worker_without_the_extension_reads_is_found(
    healthy: Deployment, tmp_path: Path
) -> None:
    assert not wrong(healthy.client, "start-queues")
    with foreign_worker(tmp_path, healthy.redis_url, "orders"):
        (finding,) = wrong(healthy.client, "start-queues")
        assert finding.severity is Severity.ERROR
        assert finding.subject == "orders"
        assert finding.message.startswith("shop@")
        assert sleeper in finding.message
    assert not wrong(healthy.client, "start-queues")


def test_a_queue_that_nobody_reads_is_found(healthy: Deployment, tmp_path: Path) -> None:
    """The definitions have grown by a worker that nobody has started."""
    grown = project.copy()
    grown.entry("reports", "celery.worker", client="app:client", task_queue="reports")
    grown.celery_task("report", "accept.echo", **{"activity.task_queue": "night"})
    grown.workflow(
        "reporter", "local function main() end return main",
        meta={"celery": {"workflow": {"worker": "app:reports"}}},
    )  # fmt: skip
    with deployed(grown, tmp_path, healthy.redis_url) as deployment:
        found = {finding.subject: finding for finding in wrong(deployment.client, "queue-consumers")}
        assert set(found) == {"reports", "night"}
        assert all(finding.severity is Severity.ERROR for finding in found.values())
        assert "app:reporter" in found["reports"].message
        assert "-Q reports" in found["reports"].cure


def test_without_workers_the_checks_of_workers_say_so(server: EmbeddedRedis, tmp_path: Path) -> None:
    with deployed(project, tmp_path, server.url_of(6)) as deployment:
        names = ("workers", "queue-consumers", "releases")
        found = {finding.check: finding for finding in look(deployment.client, *names)}
        assert found["workers"].severity is Severity.ERROR
        for name in ("queue-consumers", "releases"):
            assert "could not be looked at" in found[name].message


def test_a_missing_bundle_is_found_and_put_back(healthy: Deployment) -> None:
    handle = healthy.client.start_workflow(asker)
    wait_until(lambda: handle.describe().places)
    store = healthy.orchestration.runtime.store("default")
    key = store.keyspace.of_run(handle.run_id).bundle(handle.describe().bundle)
    with contextlib.closing(redis.Redis.from_url(healthy.redis_url)) as client:
        assert client.delete(key) == 1
    (finding,) = wrong(healthy.client, "bundles")
    assert finding.severity is Severity.ERROR
    assert handle.id in finding.message
    assert "audit --repair" in finding.cure
    (mended,) = [audit for audit in healthy.client.audit(repair=True) if audit.mended]
    assert mended.mended == ("its code is in the store again",)
    assert not wrong(healthy.client, "bundles")
    handle.signal("go", "on")
    assert handle.result(timeout=20) == "on"


def test_a_parked_run_is_told(healthy: Deployment) -> None:
    handle = healthy.client.start_workflow(asker)
    wait_until(lambda: handle.describe().places)
    store = healthy.orchestration.runtime.store("default")
    record = store.runs.record(handle.run_id)
    store.runs.park(handle.run_id, fence=record.number("fence"), kind="limit", reason="too long")
    (finding,) = wrong(healthy.client, "parked")
    assert "1 run parked" in finding.message
    handle.terminate()
    assert not wrong(healthy.client, "parked")


def test_a_run_whose_wake_source_is_gone_is_found_and_set_going_again(healthy: Deployment, cli: ProjectCli) -> None:
    handle = healthy.client.start_workflow(sleeper, "1h", id="lost-sleeper")
    wait_until(lambda: handle.describe().places)
    keys = healthy.orchestration.runtime.store("default").keyspace.of_run(handle.run_id)
    with contextlib.closing(redis.Redis.from_url(healthy.redis_url)) as client:
        assert client.zrem(keys.timers, f"{handle.run_id}/1/timer") == 1
        (finding,) = wrong(healthy.client, "wake-sources")
        assert finding.severity is Severity.ERROR
        assert finding.subject == "lost-sleeper"
        assert "timer 1" in finding.message
        assert "audit --repair" in finding.cure
        told = cli("audit", code=1)
        assert "lost-sleeper" in told.stdout
        assert "timer 1" in told.stdout
        mended = cli("audit", "--repair", "--json")
        run, counts = map(json.loads, mended.stdout.splitlines())
        assert run["mended"] == ["timer 1 is set again"]
        assert counts["mended"] == 1
        assert client.zscore(keys.timers, f"{handle.run_id}/1/timer") > client.time()[0] * 1000 + 3_000_000
        seconds, _ = client.time()
        client.zadd(keys.timers, {f"{handle.run_id}/1/timer": seconds * 1000})  # its time has come
    assert not wrong(healthy.client, "wake-sources")
    assert handle.result(timeout=30) == "awake"


def test_the_command_line_tells_findings_and_exits_with_1(
    healthy: Deployment, server: EmbeddedRedis, cli: ProjectCli
) -> None:
    done = cli("doctor", "--only", "redis-eviction", "--only", "redis-version")
    assert "ok" in done.stdout
    with contextlib.closing(redis.Redis.from_url(server.url)) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            done = cli("doctor", "--only", "redis-eviction", "--quiet", code=1)
            assert "cure" in done.stdout
            assert "operate.md#redis-eviction" in done.stdout
            done = cli("doctor", "--only", "redis-eviction", "--json", code=1)
            (line,) = map(json.loads, done.stdout.splitlines())
            assert {"check", "severity", "subject", "message", "cure", "anchor"} < set(line)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    listed = cli("doctor", "--list", "--json").stdout.splitlines()
    assert {"check", "looks_at"} == set(json.loads(listed[0]))
    assert "no such check" in cli("doctor", "--only", "weather", code=2).stderr


def test_with_no_redis_it_is_one_error_and_exit_code_4(cli: ProjectCli) -> None:
    for command in ("doctor", "audit"):
        told = cli(command, "--wait", "0", code=4, env={"REDIS_URL": "redis://127.0.0.1:1/0"}).stderr.splitlines()
        assert [line for line in told if line.startswith("error: no reply from Redis")] == told[-1:]


def test_the_command_line_says_what_moves_a_run(healthy: Deployment, cli: ProjectCli) -> None:
    handle = healthy.client.start_workflow(asker)
    wait_until(lambda: handle.describe().places)
    assert re.search(r"moved by +a message", cli("audit", handle.id).stdout)
    line, counts = map(json.loads, cli("audit", handle.id, "--json").stdout.splitlines())
    assert (line["id"], line["faults"], counts) == (handle.id, [], {"runs": 1, "faulty": 0, "mended": 0})
    handle.terminate()
    assert "no open run" in cli("audit", handle.id).stderr
    assert "no workflow" in cli("audit", "nobody", code=3).stderr


@pytest.mark.slow
def test_with_rabbitmq_all_is_looked_at_and_without_it_all_else(
    rabbitmq: RabbitMQ, server: EmbeddedRedis, tmp_path: Path
) -> None:
    url = rabbitmq.fresh_url()
    here = project.copy(tasks=project.tasks, env={"CELERY_BROKER_URL": url})
    with deployed(here, tmp_path, server.url_of(7)) as deployment:
        deployment.app.conf.broker_url = url
        deployment.worker()
        found = wait_until(lambda: _when_swept(deployment.client))
        assert not [finding for finding in found if finding.severity.is_finding]
        assert not [finding for finding in found if "could not be looked at" in finding.message]
    with deployed(here, tmp_path, server.url_of(8)) as deployment:
        deployment.app.conf.broker_url = "amqp://127.0.0.1:1//"
        found = list(deployment.client.doctor(timeout=1))
        (away,) = [finding for finding in found if finding.check == "broker"]
        assert away.severity is Severity.ERROR
        unmade = {finding.check for finding in found if "could not be looked at" in finding.message}
        assert {"queue-consumers", "start-queues"} <= unmade
        assert "redis-eviction" not in unmade
