"""docs/quickstart.md does what it says, from its files alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_cli import environment, run_cli
from tests.support import wait_until
from tests.support.pages import Page
from tests.support.warm_cli import WarmCli
from tests.support.workers import WorkerProcess, start_worker

PAGE = Page("docs/quickstart.md")
FILES, WORKER, SENDS, FOLLOWS = (
    PAGE.files(), PAGE.commands("celery -A celery_app worker"), PAGE.block("send_task"), PAGE.block("client = Client")
)
(CHECK,), (RUN,) = PAGE.commands("orchestration check"), PAGE.commands("orchestration run")
((_, NAMED),) = PAGE.commands("export ORCHESTRATION_APP")
START, KILL, SHOW = PAGE.commands("orchestration start")
RESULT, HISTORY = PAGE.commands("orchestration result")
CHECKED, RAN = PAGE.block("entry      kind"), PAGE.block("workflow hello, run")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    assert set(FILES) == {"config/hello.yaml", "config/hello.lua", "celery_app.py"}
    (tmp_path / "config").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace('"5s"', '"2s"'))
    return tmp_path


def test_it_runs_without_a_redis_being_configured(folder: Path) -> None:
    done = run_cli(*RUN[1:], env=environment(folder), cwd=folder)
    assert done.returncode == 0, done.stderr
    *steps, result = RAN.splitlines()
    assert done.stdout == f"{result}\n"
    assert "no worker" not in done.stderr  # its own is getting ready, however long that takes
    assert steps.pop(0).startswith("workflow hello, run ")
    for step in steps:  # the times differ, and the sleep is shorter
        assert re.sub(r"^ +[\d.]+ s", "", step).replace("5s", "2s") in done.stderr


def test_an_application_of_another_name_is_named_once(folder: Path) -> None:
    """As of somebody who has a project already, in a package."""
    name, _, value = NAMED.partition("=")
    (folder / value).mkdir()
    (folder / value / "__init__.py").touch()
    (folder / "celery_app.py").rename(folder / value / "celery.py")
    done = run_cli(*CHECK[1:], env=environment(folder, **{name: value}), cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, CHECKED, "")


def test_it_survives_the_death_of_its_worker(folder: Path, redis_url: str) -> None:
    env = environment(folder, REDIS_URL=redis_url)
    assert KILL[:2] == ["kill", "-9"]

    def worker(name: str) -> WorkerProcess:
        return start_worker(redis_url=redis_url, log_dir=folder, cwd=folder, app=WORKER[0][2], name=name)

    with WarmCli(folder, env=env, cwd=folder) as warm:

        def run(words: list[str]) -> str:
            done = warm.run(words[1:])
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert run(CHECK) == CHECKED
        with worker("first") as first:
            run(START)
            wait_until(lambda: "time.sleep 2s" in run(SHOW), message="asleep")
            first.kill()
        assert "hello.lua:9" in run(SHOW)
        with worker("second"):
            assert json.loads(run(RESULT)) == {"greeting": "Hello, Eva"}
            assert run(HISTORY).count("schedule_activity") == 1
            code = f"{SENDS}\n{FOLLOWS}"
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
            sent, _, followed = done.stdout.splitlines()
            assert sent == followed == "{'greeting': 'Hello, Ana'}", done.stderr
