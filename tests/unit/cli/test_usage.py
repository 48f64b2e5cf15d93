"""What the commands say about themselves, and about words they do not know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestration.cli.exits import Exit
from orchestration.cli.group import orchestration
from orchestration.cli.schedules import schedule
from orchestration.cli.services import services

COMMANDS = sorted(orchestration.commands)


def test_the_commands_are_those_of_the_documentation() -> None:
    assert sorted([
        "run", "dev", "start", "list", "show", "history", "signal", "cancel", "terminate", "result", "call", "retry",
        "check", "pause", "resume", "upgrade", "reset", "fork", "count", "query", "update", "schedule", "activity",
        "services", "processes", "send", "doctor", "audit", "timeline", "graph", "completion",
    ]) == COMMANDS  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example(name: str) -> None:
    result = CliRunner().invoke(orchestration, [name, "--help"])
    assert result.exit_code == 0
    assert f"orchestration {name}" in result.output.split("Example", 1)[1]
    assert "--json" in result.output


@pytest.mark.parametrize("name", sorted(schedule.commands))
def test_every_help_about_schedules_has_an_example(name: str) -> None:
    result = CliRunner().invoke(orchestration, ["schedule", name, "--help"])
    assert result.exit_code == 0
    assert f"orchestration schedule {name}" in result.output.split("Example", 1)[1]
    assert "--json" in result.output
    page = (Path(__file__).resolve().parents[3] / "docs/reference/cli.md").read_text("utf-8")
    assert re.search(rf"`schedule {name}\b", page), name


@pytest.mark.parametrize("name", sorted(services.commands))
def test_every_help_about_services_has_an_example(name: str) -> None:
    result = CliRunner().invoke(orchestration, ["services", name, "--help"])
    assert result.exit_code == 0
    assert f"orchestration services {name}" in result.output.split("Example", 1)[1]
    page = (Path(__file__).resolve().parents[3] / "docs/reference/cli.md").read_text("utf-8")
    assert re.search(rf"`services {name}\b", page), name


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["runn"], "did you mean 'run'?"),
        (["run"], "Missing argument 'ENTRY'"),
        (["run", "a:b", "--input", "{"], "not valid JSON at line 1, column 2"),
        (["result", "x", "--timeout", "soon"], "'soon' is no time"),
        (["list", "--status", "asleep"], "'asleep' is not one of"),
        (["list", "--limit", "0"], "0 is not in the range"),
        (["list", "--where", "amount >"], "column 9: expected a value"),
        (["count", "--where", 'status = "asleep"'], "'asleep' is no status"),
        (["list", "--started-after", "soon"], "'soon' is no time"),
        (["show"], "Missing argument 'ID'"),
        (["schedule", "lst"], "did you mean 'list'?"),
        (["schedule", "create", "s", "a:b"], "needs --cron or --every"),
        (["schedule", "create", "s", "a:b", "--cron", "0 25 * * *"], "bad cron expression '0 25 * * *'"),
        (["schedule", "create", "s", "a:b", "--cron", "@daily", "--zone", "Mars"], "unknown time zone 'Mars'"),
        (["schedule", "create", "s", "a:b", "--every", "10ms"], "one second"),
        (["schedule", "create", "s", "a:b", "--every", "1h", "--start-at", "2026-01-01T00:00"], "no time zone"),
        (["schedule", "create", "s", "a:b", "--every", "1h", "--start-at", "2026-01-02", "--end-at", "2026-01-01"],
         "before the start"),
        (["schedule", "create", "s", "a:b", "--every", "1h", "--context", "[1]"], "--context takes a JSON object"),
        (["schedule", "backfill", "s", "yesterday", "today"], "'yesterday' is no time"),
        (["schedule", "trigger", "s", "--overlap", "twice"], "'twice' is not one of"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(words: list[str], part: str) -> None:
    result = CliRunner().invoke(orchestration, words)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert part in result.stderr


def test_the_reference_names_every_command_option_and_exit_code() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/reference/cli.md").read_text("utf-8")
    for name in COMMANDS:
        assert re.search(rf"`{name}\b", page), name
    for option in orchestration.params:
        assert any(f"`{name}" in page for name in option.opts) or option.name in ("version", "help"), option.opts
    for code in Exit:
        assert re.search(rf"^\| (\d+, )?{code:d}[ ,]", page, re.MULTILINE), code
