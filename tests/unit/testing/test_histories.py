"""Recorded histories: read from what the command line exports, replayed against the code of today."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.cli.history import _lines
from orchestration.cli.values import as_json
from orchestration.errors import CorruptHistoryError, EntryNotFoundError, NondeterminismError, OrchestrationError
from orchestration.registry import load_registry
from orchestration.testing import assert_history, read_history, replay, replay_histories
from tests.support.workers import ROOT


@pytest.fixture
def handle(env):
    env.activity("app:charge", lambda order: {"id": "p-1"})
    env.activity("app:ship", lambda order_id: None)
    handle = env.start("app:order", {"id": "A-1"}, id="order-7")
    handle.result()
    return handle


@pytest.fixture
def exported(handle, tmp_path) -> Path:
    """As ``orchestration history order-7 --json`` writes it."""
    path = tmp_path / "histories" / "order-7.jsonl"
    path.parent.mkdir()
    path.write_text("".join(as_json(line) + "\n" for line in _lines(handle)))
    return path


@pytest.fixture
def changed(config: Path) -> Path:
    """The definitions with an order that ships before it sleeps."""
    source = (config / "order.lua").read_text()
    sleep = '    time.sleep("24h")\n'
    assert sleep in source
    (config / "order.lua").write_text(source.replace(sleep, "").replace("    return {", sleep + "    return {"))
    return config


def test_an_exported_history_has_all_that_a_replay_needs(exported, handle):
    recorded = read_history(exported)
    assert (recorded.type, recorded.workflow_id, recorded.status) == ("app:order", "order-7", "completed")
    assert list(recorded.events) == list(handle.raw_history())
    assert recorded == read_history(handle) == read_history(exported.read_text().splitlines())
    assert_history(recorded).completed({"payment": "p-1", "id": "A-1"})


def test_it_replays_on_the_code_inside_it_and_on_code_that_goes_the_same_way(exported, handle, config, registry):
    assert replay(exported) == replay(handle) == replay(str(exported))
    replay(exported, config=config)
    replay(exported, config=[config])
    replay(exported, config=registry)
    replay(exported, registry.bundle("app:order"))


def test_code_that_goes_another_way_is_an_error_with_both_sides_and_the_line(exported, changed):
    with pytest.raises(NondeterminismError) as caught:
        replay(exported, config=changed)
    error = caught.value
    assert error.event_number == 4
    assert "timer of 86400000 ms" in error.expected
    assert "app:ship" in error.actual
    assert error.line == "order.lua:5"
    for part in ("event 4", "timer of 86400000 ms", "app:ship", "order.lua:5"):
        assert part in str(error)


def test_a_run_that_goes_on_and_one_that_was_ended_replay_too(env):
    handle = env.start("app:waits")
    env.run()
    replay(handle)
    handle.terminate("enough")
    replay(handle)


def test_a_type_that_is_gone_is_named(exported, registry, tmp_path):
    (tmp_path / "empty.yaml").write_text("version: '1.0'\nnamespace: app\nentries: []\n")
    with pytest.raises(EntryNotFoundError, match="app:order"):
        replay(exported, config=load_registry(tmp_path / "empty.yaml"))


def test_a_history_without_its_code_asks_for_it(exported, registry):
    head, *rest = exported.read_text().splitlines()
    bare = [json.dumps({**json.loads(head), "bundle": None}), *rest]
    with pytest.raises(OrchestrationError, match="give a bundle, or config"):
        replay(bare)
    replay(bare, config=registry)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: [], "is empty"),
        (lambda lines: lines[1:], "not a history of format 1"),
        (lambda lines: ["[]", *lines[1:]], "not a history of format 1"),
        (lambda lines: [lines[0].replace('"format": 1', '"format": 99'), *lines[1:]], "not a history of format 1"),
        (lambda lines: [lines[0], *lines[2:]], "event 2 follows 0"),
        (lambda lines: [lines[0], "not json"], "is no history"),
        (lambda lines: [lines[0], '{"number": 1}'], "is no history"),
        (lambda lines: [lines[0], '{"number": 1, "bytes": "?"}'], "is no history"),
        (lambda lines: [lines[0], "5"], "is no history"),
    ],
)
def test_what_is_no_history_is_said_to_be_none(exported, damage, said):
    with pytest.raises(CorruptHistoryError, match=said):
        read_history(damage(exported.read_text().splitlines()))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        replay(tmp_path / "none.jsonl")


def run_pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


def test_each_recorded_history_of_a_folder_becomes_a_test(exported, changed, tmp_path):
    (tmp_path / "histories" / "again.jsonl").write_bytes(exported.read_bytes())
    (tmp_path / "test_kept.py").write_text(
        "from orchestration.testing import replay_histories\n"
        "test_as_recorded = replay_histories('histories')\n"
        "test_on_the_code_of_today = replay_histories('histories', config='config')\n"
    )
    done = run_pytest(tmp_path)
    assert "2 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "PASSED test_kept.py::test_as_recorded[order-7.jsonl]" in done.stdout
    assert "FAILED test_kept.py::test_on_the_code_of_today[again.jsonl]" in done.stdout
    assert "NondeterminismError: non-deterministic replay at event 4" in done.stdout


def test_a_folder_without_histories_does_not_pass_in_silence(tmp_path):
    with pytest.raises(ValueError, match="no recorded histories"):
        replay_histories(tmp_path)
