"""Every command in a real terminal, narrow and wide, for people and for programs, and with no Redis."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.cli.celery_command import workflow
from orchestration.cli.group import orchestration
from tests.support.projects import Deployment
from tests.support.terminal import Screen, Terminal
from tests.support.warm_cli import ProjectCli, project_cli
from tests.support.workers import ROOT
from tests.terminal.cases import CASES, SAMPLE, Case, Nowhere, command_paths
from tests.terminal.stage import Stage, make_project

project = make_project()
AWAY = "redis://127.0.0.1:1/0"
WIDTHS = (80, 140)

_every = [(path, number) for path, cases in CASES.items() for number in range(len(cases))]
_slow = pytest.mark.slow


def _marks(sample: str, path: str, number: int, width: int) -> list[Any]:
    return [] if path in SAMPLE[sample] and number == 0 and width == 80 else [_slow]


def _params(sample: str, *widths: int) -> list[Any]:
    return [
        pytest.param(path, number, width, id=f"{path}-{number}-{width}", marks=_marks(sample, path, number, width))
        for path, number in _every for width in widths
    ]  # fmt: skip


@pytest.fixture(scope="module")
def stage(running: Deployment) -> Stage:
    """Runs in every state."""
    return Stage(running)


@pytest.fixture(scope="module")
def terminal(running: Deployment) -> Iterator[Callable[[int], Terminal]]:
    """Terminals by their width, beside the stage."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "ORCHESTRATION_"))}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        env.pop(name, None)
    env |= {
        "PYTHONPATH": str(ROOT), "REDIS_URL": running.redis_url, "ORCHESTRATION_APP": "tests.support.project_app",
        "ORCHESTRATION_CONFIG": str(running.config), "ORCHESTRATION_TEST_FOLDER": str(running.folder),
        "ORCHESTRATION_TEST_INCLUDE": ",".join(running.project.tasks),
    }  # fmt: skip
    opened: dict[int, Terminal] = {}

    def find(width: int) -> Terminal:
        if width not in opened:
            opened[width] = Terminal(width, folder=running.folder, env=env, cwd=ROOT)
        return opened[width]

    yield find
    for found in opened.values():
        found.close()


@pytest.fixture(scope="module")
def cli(running: Deployment) -> Iterator[ProjectCli]:
    """The command line with pipes for its output and errors."""
    with project_cli(running) as run:
        yield run


def call(terminal: Terminal, stage: Stage, case: Case, *more: str) -> Screen:
    words = [*case.words(stage), *more]
    number = terminal.begin(*words)
    if case.meanwhile is not None:
        case.meanwhile(terminal, stage, words)
    return terminal.wait(number, deadline_s=60)


def test_every_command_has_a_case() -> None:
    assert sorted(CASES) == sorted(command_paths()), "tests/terminal/cases.py says how a command is called"


def test_the_same_commands_are_below_celery() -> None:
    with workflow.make_context("workflow", ["list"]):
        assert command_paths(workflow) == command_paths(orchestration)


@pytest.mark.parametrize(("path", "number", "width"), _params("people", *WIDTHS))
def test_people_find_what_they_look_for(
    terminal: Callable[[int], Terminal], stage: Stage, path: str, number: int, width: int
) -> None:
    case = CASES[path][number]
    screen = call(terminal(width), stage, case)
    assert screen.code in case.codes, screen.text
    assert "Traceback" not in screen.text
    for text in case.sees:
        assert text in screen.words, screen.text
    if not case.has_data:
        assert not screen.too_wide, screen.text


@pytest.mark.parametrize(("path", "number", "width"), _params("programs", *WIDTHS))
def test_programs_can_read_it(
    terminal: Callable[[int], Terminal], stage: Stage, path: str, number: int, width: int
) -> None:
    """Errors, which go to the same terminal, are JSON too."""
    case = CASES[path][number]
    if not case.has_json:
        pytest.skip("prints what others say until Ctrl-C, or nothing when there is nothing")
    screen = call(terminal(width), stage, case, "--json")
    assert screen.code in case.codes, screen.text
    values = screen.values()
    assert values, screen.text
    for value in values:
        assert isinstance(value, dict), screen.text
    if screen.code > 1:
        assert values[-1]["error"]["exit_code"] == screen.code


def _without_redis() -> list[Any]:
    return [
        pytest.param(path, number, id=f"{path}-{number}", marks=_marks("no redis", path, number, 80))
        for path, number in _every if CASES[path][number].needs_redis
    ]  # fmt: skip


@pytest.mark.parametrize(("path", "number"), _without_redis())
def test_without_redis_it_says_so_on_one_line(
    terminal: Callable[[int], Terminal], cli: ProjectCli, path: str, number: int
) -> None:
    words = [*CASES[path][number].words(Nowhere()), "--wait", "300ms"]
    began = time.monotonic()
    screen = terminal(80).run(*words, REDIS_URL=AWAY)
    assert time.monotonic() - began < 15
    assert screen.code == 4, screen.text
    assert screen.words.startswith("error: no reply from Redis at 127.0.0.1:1/0 "), screen.text
    assert screen.words.count("error:") == 1
    assert not screen.too_wide

    told = cli(*words, code=4, env={"REDIS_URL": AWAY})
    assert told.stdout == ""
    assert told.stderr == screen.words + "\n", "one line where it is no terminal"
    fact = json.loads(cli(*words, "--json", code=4, env={"REDIS_URL": AWAY}).stderr)
    assert fact["error"]["exit_code"] == 4
    assert f"error: {fact['error']['message']}\n" == told.stderr


@_slow
@pytest.mark.parametrize("path", [path for path, cases in CASES.items() if not all(case.needs_redis for case in cases)])
def test_what_needs_no_redis_does_without(terminal: Callable[[int], Terminal], path: str) -> None:
    for case in CASES[path]:
        if not case.needs_redis:
            screen = terminal(80).run(*case.words(Nowhere()), REDIS_URL=AWAY)
            assert screen.code == 0, screen.text


@pytest.mark.parametrize("path", ["", *(pytest.param(path, marks=_slow) for path in command_paths())])
@pytest.mark.parametrize("width", [80, pytest.param(140, marks=_slow)])
def test_help_fits_and_teaches(terminal: Callable[[int], Terminal], path: str, width: int) -> None:
    screen = terminal(width).run(*path.split(), "--help")
    assert screen.code == 0
    assert not screen.too_wide, screen.too_wide
    if path:
        assert f"orchestration {path}" in screen.text.split("Example", 1)[1]
        assert "Next:" in screen.text or path == "services", screen.text


def test_ctrl_c_ends_the_following_and_leaves_the_terminal_in_order(
    terminal: Callable[[int], Terminal], stage: Stage
) -> None:
    screen = terminal(80)
    number = screen.begin("show", "reminder-1", "--follow")
    screen.wait_for("time.sleep 24h")
    screen.press("C-c")
    ended = screen.wait(number)
    assert ended.code == 130
    assert ended.lines[-1].endswith("interrupted")
    assert "time.sleep" not in ended.text, "what was shown in place is gone"


@_slow
def test_following_shows_each_change_in_place(terminal: Callable[[int], Terminal], stage: Stage) -> None:
    screen = terminal(140)
    workflow_id = stage.new("counter")
    number = screen.begin("show", workflow_id, "--follow")
    screen.wait_for("workflow.wait")
    handle = stage.client.get_workflow(workflow_id)
    handle.pause("a look")
    shown = screen.wait_for("a look")
    assert shown.count("history") == 1, "one picture, not one below the other"
    handle.resume()
    handle.update("add", 100)
    ended = screen.wait(number)
    assert ended.code == 0
    assert "completed" in ended.text


@_slow
def test_following_into_a_pipe_is_a_line_or_an_object_for_each_change(cli: ProjectCli, stage: Stage) -> None:
    handle = stage.client.start_workflow("app:order", "piped", id=f"piped-{time.time_ns()}")
    lines = cli("show", handle.id, "--follow").stdout.splitlines()
    assert lines[-1].endswith("completed")
    found = [json.loads(line) for line in cli("show", handle.id, "--follow", "--json").stdout.splitlines()]
    assert [item["status"] for item in found] == ["completed"]
    assert found[0]["result"]["parcel"] == "parcel piped"


@_slow
def test_the_picture_goes_into_a_file(cli: ProjectCli, stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "order.svg"
    done = cli("graph", "order-7", "--format", "svg", "--output", str(file))
    assert (done.stdout, file.read_text("utf-8")[:4]) == ("", "<svg")
    fact = json.loads(cli("graph", "order-7", "-o", str(file), "--json").stdout)
    assert fact["output"] == str(file)
    assert str(tmp_path) in cli("graph", "order-7", "-o", str(tmp_path), code=2).stderr


@_slow
def test_a_shell_completes_ids(cli: ProjectCli, stage: Stage) -> None:
    def complete(line: str, **env: str) -> list[str]:
        words = line.split(" ")
        variables = {"_ORCHESTRATION_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        return [item.partition(",")[2] for item in cli(env={**variables, **env}).stdout.split()]

    assert "order-7" in complete("orchestration show ord")
    assert complete("orchestration terminate remin") == ["reminder-1"]
    assert complete("orchestration start app:pa") == ["app:packing"]
    assert complete("orchestration schedule show nig") == ["nightly"]
    assert complete("orchestration services stop app:m") == ["app:mailer"]
    assert complete("orchestration sho") == ["show"]
    assert complete("orchestration show ord", REDIS_URL=AWAY) == []


