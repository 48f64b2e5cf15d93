"""The application of docs/how-to/observe.md, traced into a collector, with metrics where its command says."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from celery import Celery

from tests.support.collector import Collector
from tests.support.pages import Page
from tests.support.projects import Project
from tests.support.waiting import wait_until
from tests.support.workers import start_worker
from tests.web.site import free_port

PAGE = Page("docs/how-to/observe.md")
APPLICATION, (_, WORKER) = PAGE.block("OTLPSpanExporter"), PAGE.commands("ORCHESTRATION_METRICS_PORT")
project = Project("app")
echo = project.workflow("echo", "return function(value) return value end")


def test_spans_reach_a_collector_and_metrics_are_served(redis_url: str, tmp_path: Path) -> None:
    setting, *command = WORKER
    name, _, _ = setting.partition("=")
    assert command == ["celery", "-A", "celery_app", "worker"]
    project.write(tmp_path / "config")
    (tmp_path / "celery_app.py").write_text(APPLICATION.replace("redis://localhost:6379/0", redis_url))
    port = str(free_port())
    with Collector() as collector:
        env = {name: port, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        with start_worker(redis_url=redis_url, log_dir=tmp_path, cwd=tmp_path, app=command[2], env=env):
            with Celery("client", broker=redis_url, backend=redis_url, set_as_current=False) as client:
                assert client.send_task(echo, args=["a"]).get(timeout=30) == "a"
            wait_until(lambda: collector.spans, deadline_s=30)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                assert b"orchestration_" in answer.read()
    assert {span.service for span in collector.spans} == {"shop"}
