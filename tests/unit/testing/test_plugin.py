"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.workers import ROOT

PLUGIN = "orchestration.testing.plugin"


@pytest.fixture
def folder(config: Path) -> Path:
    return config.parent


def run_pytest(folder: Path, test: str, *args: str, ini: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{ini}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATION_")}
    environment |= {
        "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", **env,
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", "--strict-markers", *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


DOUBLED = "def test_it(workflow_env):\n    assert workflow_env.start('app:doubled', 2).result() == 4\n"


def test_the_package_brings_the_plugin():
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert points == {"orchestration": PLUGIN}


def test_the_fixture_finds_the_folder_config(folder):
    done = run_pytest(folder, DOUBLED)
    assert "1 passed" in done.stdout, done.stdout


def test_the_ini_option_names_the_definitions(folder):
    (folder / "config").rename(folder / "elsewhere")
    done = run_pytest(folder, DOUBLED, ini="orchestration_config = elsewhere\n")
    assert "1 passed" in done.stdout, done.stdout


def test_the_variable_names_the_definitions(folder):
    (folder / "config").rename(folder / "elsewhere")
    done = run_pytest(folder, DOUBLED, ORCHESTRATION_CONFIG=str(folder / "elsewhere"))
    assert "1 passed" in done.stdout, done.stdout


def test_the_marker_says_how_an_environment_is_made(folder):
    (folder / "config").rename(folder / "elsewhere")
    test = """
import datetime, pytest

@pytest.mark.workflow_env(config="elsewhere", start=datetime.datetime(2030, 1, 1), shards=2)
def test_it(workflow_env):
    assert workflow_env.now.isoformat() == "2030-01-01T00:00:00+00:00"
    assert workflow_env.client._runtime.settings.shards == 2

@pytest.mark.workflow_env("elsewhere")
def test_wrong(workflow_env):
    pass
"""
    done = run_pytest(folder, test)
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "named arguments only" in done.stdout


def test_missing_definitions_are_an_error_that_names_the_folder(tmp_path):
    done = run_pytest(tmp_path, DOUBLED)
    assert "1 error" in done.stdout
    assert str(tmp_path / "config") in done.stdout


def test_an_option_has_every_step_replay(folder):
    test = (
        "def test_it(workflow_env):\n"
        "    assert workflow_env.client._runtime.settings.cache_runs == 0\n"
        "    assert workflow_env.start('app:doubled', 2).result() == 4\n"
    )
    assert "1 passed" in run_pytest(folder, test, "--replay-workflows").stdout
    assert "1 failed" in run_pytest(folder, test).stdout


def test_a_project_that_does_not_use_it_pays_nothing(folder):
    test = "import sys\ndef test_it():\n    assert not {'celery', 'redis', 'lupa', 'pydantic'} & set(sys.modules)\n"
    done = run_pytest(folder, test)
    assert "1 passed" in done.stdout, done.stdout
