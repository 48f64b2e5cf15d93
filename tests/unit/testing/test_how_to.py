"""The example of docs/how-to/test-workflows.md runs as it stands there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.cli.history import _lines
from orchestration.cli.values import as_json
from orchestration.testing import WorkflowEnvironment
from tests.support.pages import Page
from tests.support.workers import ROOT

PAGE = Page("docs/how-to/test-workflows.md")
FILES, MARK = PAGE.files(), PAGE.block("@pytest.mark.workflow_env")
MARKED = f"""
from datetime import datetime

import pytest


{MARK}def test_it_is_another_environment(workflow_env):
    assert workflow_env.now.year == 2030
    assert [entry.id for entry in workflow_env.registry.entries] == ["other:task"]
"""
OTHER = "version: '1.0'\nnamespace: other\nentries: [{name: task, kind: function.celery, task: other.task}]\n"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The files of the page, and a history as its command records it."""
    assert set(FILES) == {"config/orders.yaml", "config/order.lua", "tests/test_order.py", "tests/test_histories.py"}
    more = {"tests/test_marked.py": MARKED, "other/config/other.yaml": OTHER}
    for name, text in {**FILES, **more}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    with WorkflowEnvironment(tmp_path / "config") as env:
        env.activity("shop:charge", lambda order: {"id": "p-1"})
        env.activity("shop:ship", lambda order_id: None)
        handle = env.start("shop:order", {"id": "A-1"}, id="order-7")
        assert handle.result()["status"] == "shipped"
        (tmp_path / "tests" / "histories").mkdir()
        recorded = "".join(as_json(line) + "\n" for line in _lines(handle))
        (tmp_path / "tests" / "histories" / "order-7.jsonl").write_text(recorded, "utf-8")
    return tmp_path


def run_pytest(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "orchestration.testing.plugin", "-W", "error", *args]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("args", [(), ("--replay-workflows",)], ids=["as it stands", "replaying everything"])
def test_the_example_passes(example: Path, args: tuple[str, ...]) -> None:
    done = run_pytest(example, *args)
    assert "7 passed" in done.stdout, done.stdout + done.stderr


def test_the_example_fails_when_the_code_is_changed(example: Path) -> None:
    path = example / "config" / "order.lua"
    path.write_text(path.read_text().replace('"24h"', '"12h"'))
    done = run_pytest(example)
    assert "test_an_order_is_shipped_after_a_day" in done.stdout
    assert "test_recorded_runs_fit_the_code[order-7.jsonl]" in done.stdout
    assert "2 failed, 5 passed" in done.stdout, done.stdout
