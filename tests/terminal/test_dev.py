"""`orchestration dev` in a real terminal: what is saved is checked, and served when it is right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.terminal import Terminal
from tests.support.workers import ROOT

pytestmark = pytest.mark.slow

TREE = """
version: "1.0"
namespace: app
entries:
  - {name: hello, kind: workflow.lua, source: file://hello.lua, method: main, modules: [funcs]}
  - {name: shout, kind: function.python, callable: "shop:shout"}
"""
HELLO = """
local function main(name)
  return (require("funcs").call("app:shout", "hello " .. name))
end
return main
"""
SHOP = """
def shout(text):
    return text.upper()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project."""
    project = tmp_path / "project"
    (project / "config").mkdir(parents=True)
    (project / "config/app.yaml").write_text(TREE)
    (project / "config/hello.lua").write_text(HELLO)
    (project / "shop.py").write_text(SHOP)
    return project


@pytest.fixture
def terminal(folder: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in its folder, with nothing configured."""
    env = {
        key: value for key, value in os.environ.items()
        if not key.startswith(("CELERY_", "ORCHESTRATION_", "REDIS_")) and key not in ("COLUMNS", "NO_COLOR")
    }  # fmt: skip
    with Terminal(140, folder=tmp_path, env={**env, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}, cwd=folder) as opened:
        yield opened


def test_what_is_saved_is_checked_and_served(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(folder / "config", before)

    def ready() -> int:
        return terminal.capture().count(" ready.")

    def run(*words: str) -> str:
        env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "REDIS_URL": url}
        command = [sys.executable, "-m", "orchestration.cli", "run", "app:hello", "-i", '"Ana"', *words]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    number = terminal.begin("dev", "--no-flower", "--pool", "threads")
    shown = terminal.wait_for(" ready.", deadline_s=60)
    url = re.findall(r"export REDIS_URL=(\S+)", shown)[0]

    (folder / "config/hello.lua").write_text(HELLO.replace("return (", "return (("))
    shown = terminal.wait_for("the worker goes on with what it had", deadline_s=60)
    assert "config/hello.lua changed, checking ..." in shown
    assert re.search(r"check  \| config/hello\.lua:\d+: entry app:hello: ", shown)
    assert ready() == 1
    assert '"HELLO ANA"' in run("--config", str(before)), "the old worker goes on"

    (folder / "config/hello.lua").write_text(HELLO)
    (folder / "shop.py").write_text(SHOP.replace("upper", "title"))
    wait_until(lambda: ready() == 2, deadline_s=60, every_s=0.1, message=terminal.capture)
    assert '"Hello Ana"' in run()

    terminal.press("C-c")
    ended = terminal.wait(number, deadline_s=60)
    assert ended.code == 0
    assert "everything has ended" in ended.text


def test_a_redis_that_is_configured_is_used(terminal: Terminal, second_redis: EmbeddedRedis) -> None:
    number = terminal.begin("dev", "--no-flower", "--no-reload", "--pool", "solo", REDIS_URL=second_redis.url)
    shown = terminal.wait_for(" ready.", deadline_s=60)
    assert "the one that is configured" in shown
    assert "starts the worker anew" not in shown
    terminal.press("C-c")
    assert terminal.wait(number, deadline_s=60).code == 0
    assert second_redis.is_running
