"""The FastAPI example: events of a run as they happen, and nothing left behind by a browser that goes away."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestration.client import watching
from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.support.odd import ODD_PATHS, ODD_TEXTS
from tests.support.pages import Page
from tests.support.workers import ROOT, start_worker
from tests.web.site import free_port

pytest.importorskip("fastapi")
uvicorn = pytest.importorskip("uvicorn")
FOLDER = ROOT / "examples" / "fastapi_watch"
_, WORKER, SERVER, WATCH = Page("docs/how-to/fastapi.md").commands("uvicorn")


@pytest.fixture(scope="module")
def url(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("fastapi")
    redis_url = empty_database(redis_server)
    worker = start_worker(redis_url=redis_url, log_dir=folder, app=WORKER[2], cwd=FOLDER, wait=False)
    patch = pytest.MonkeyPatch()
    patch.setenv("REDIS_URL", redis_url)
    try:
        spec = importlib.util.spec_from_file_location("fastapi_watch_web", FOLDER / "web.py")
        assert spec
        assert spec.loader
        web = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(web)
        port = free_port()
        app = getattr(web, SERVER[1].removeprefix("web:"))
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        wait_until(lambda: server.started, deadline_s=30)
        worker.wait_until_ready()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "an open stream keeps the server from ending"
        web.celery_app.orchestration.runtime.close()
    finally:
        patch.undo()
        worker.kill()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When runs were looked at."""
    found: list[float] = []
    real = watching.Watch.look

    def look(self: Any) -> Any:
        found.append(time.monotonic())
        return real(self)

    monkeypatch.setattr(watching.Watch, "look", look)
    return found


def lines_of(answer: httpx.Response) -> Iterator[str]:
    for line in answer.iter_lines():
        if line:
            yield line


def test_events_come_while_it_runs_and_the_stream_ends_with_it(url: str) -> None:
    job = httpx.post(f"{url}/jobs", params={"steps": 2}, timeout=30).json()["id"]
    seen = []
    with httpx.stream("GET", f"{url}/jobs/{job}/events", timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in lines_of(answer):
            if line.startswith("data: ") and line != "data: {}":
                event = json.loads(line.removeprefix("data: "))
                seen.append(event["status"])
                if event["waits_for"]:
                    httpx.post(f"{url}/jobs/{job}/go", timeout=30)
            last = line
    assert last == "data: {}"
    assert seen[-1] == "completed"
    assert seen.count("completed") == 1
    assert len(seen) >= 3


def test_curl_shows_the_events(url: str) -> None:
    assert (WORKER, SERVER) == (["celery", "-A", "web:celery_app", "worker"], ["uvicorn", "web:app"])
    job = httpx.post(f"{url}/jobs", params={"steps": 0}, timeout=30).json()["id"]
    words = [word.replace("localhost:8000/jobs/ID", f"{url}/jobs/{job}") for word in WATCH]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("event: end\ndata: {}\n\n"), done.stderr


def test_a_browser_that_goes_away_is_not_served_any_more(url: str, looks: list[float]) -> None:
    job = httpx.post(f"{url}/jobs", timeout=30).json()["id"]
    for _ in range(3):
        with httpx.stream("GET", f"{url}/jobs/{job}/events", timeout=60) as answer:
            next(lines_of(answer))

    def is_quiet() -> bool:
        before = len(looks)
        time.sleep(1.2)
        return len(looks) == before

    wait_until(is_quiet, deadline_s=30)


def test_an_unknown_job_is_told_before_the_stream_begins(url: str) -> None:
    assert httpx.get(f"{url}/jobs/nobody/events", timeout=30).status_code == 404


def test_no_input_is_too_much_for_the_example(url: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as person:
        for odd, text in ODD_TEXTS.items():
            assert person.post("/jobs", params={"steps": text}).status_code in (202, 422), odd
        for name in ODD_PATHS:
            assert person.post(f"/jobs/{name}/go").status_code in (400, 404), name
            assert person.get(f"/jobs/{name}/events").status_code in (400, 404), name
        assert person.post("/jobs", params={"steps": 10**30}).status_code == 422
