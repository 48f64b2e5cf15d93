"""docs/quickstart.md does what it says, from its files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_cli import environment, run_cli
from tests.support.pages import Page
from tests.support.warm_cli import WarmCli
from tests.support.workers import start_worker

PAGE = Page("docs/quickstart.md")
FILES, WORKER, SENDS, FOLLOWS = (
    PAGE.files(), PAGE.commands("celery -A celery_app worker"), PAGE.block("send_task"), PAGE.block("client = Client")
)
(CHECK,), (RUN,) = PAGE.commands("orchestration check"), PAGE.commands("orchestration run")
START, SHOW, RESULT = PAGE.commands("orchestration start")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    assert set(FILES) == {"config/hello.yaml", "config/hello.lua", "celery_app.py"}
    (tmp_path / "config").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace('"5s"', '"5ms"'))
    return tmp_path


def test_it_runs_without_a_redis_being_configured(folder: Path) -> None:
    done = run_cli(*RUN[1:], env=environment(folder), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"greeting": "Hello, Ana"}


def test_it_runs_beside_a_worker(folder: Path, redis_url: str) -> None:
    env = environment(folder, REDIS_URL=redis_url)
    worker = start_worker(redis_url=redis_url, log_dir=folder, cwd=folder, app=WORKER[0][2], wait=False)
    with worker, WarmCli(folder, env=env, cwd=folder) as warm:

        def run(words: list[str]) -> str:
            done = warm.run(words[1:])
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "2 entries" in run(CHECK)
        run(START)
        assert "app:hello" in run(SHOW)
        worker.wait_until_ready()
        assert json.loads(run(RESULT)) == {"greeting": "Hello, Ana"}
        code = f"{SENDS}\n{FOLLOWS}"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
        first, _, last = done.stdout.splitlines()
        assert first == last == "{'greeting': 'Hello, Ana'}", done.stderr
