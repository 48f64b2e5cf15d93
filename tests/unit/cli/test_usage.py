"""What the commands say about themselves, and about words they do not know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from orchestration.cli.celery_command import workflow
from orchestration.cli.exits import Exit
from orchestration.cli.group import SECTIONS, orchestration

COMMANDS = sorted(orchestration.commands)
PAGE = (Path(__file__).resolve().parents[3] / "docs/reference/cli.md").read_text("utf-8")


def test_the_commands_are_those_of_the_documentation() -> None:
    assert sorted([
        "run", "dev", "start", "list", "show", "history", "signal", "cancel", "terminate", "result", "call", "retry",
        "check", "pause", "resume", "upgrade", "reset", "fork", "count", "query", "update", "schedule", "activity",
        "services", "processes", "send", "doctor", "audit", "metrics", "timeline", "graph", "completion",
    ]) == COMMANDS  # fmt: skip


def every_command(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, *before, name)


EVERY = dict(every_command(orchestration))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_help_teaches_and_fits_80_columns(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(orchestration, [*path, "--help"], terminal_width=80)
    assert result.exit_code == 0
    assert f"orchestration {' '.join(path)}" in result.output.split("Example", 1)[1]
    assert "Next:" in result.output or isinstance(EVERY[path], click.Group)
    assert "--json" in result.output
    assert not [line for line in result.output.splitlines() if len(line) > 80]
    assert "..." not in EVERY[path].get_short_help_str(64), "it is cut off in the list"
    assert re.search(rf"`{' '.join(path)}\b", PAGE), "docs/reference/cli.md has it"


def test_the_list_of_commands_has_every_command_below_a_heading() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == COMMANDS
    assert "Other:" not in CliRunner().invoke(orchestration, ["--help"]).output


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "runn"], ["runn", "--json"], ["list", "--nonsense", "--json"], ["list", "--status", "no", "--json"],
        ["show", "--json"], ["--nonsense", "--json"], ["schedule", "lst", "--json"], ["list", "--limit", "0", "--json"],
        ["schedule", "create", "s", "--json"],
    ],
)  # fmt: skip
def test_wrong_usage_is_an_object_for_programs(words: list[str]) -> None:
    result = CliRunner().invoke(orchestration, words)
    assert result.exit_code == 2
    assert json.loads(result.stderr)["error"]["exit_code"] == 2
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["runn"], "did you mean 'run'?"),
        (["--nonsense"], "No such option"),
        (["list", "--nonsense"], "No such option"),
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


def test_the_reference_names_every_option_and_exit_code() -> None:
    for option in orchestration.params:
        assert any(f"`{name}" in PAGE for name in option.opts) or option.name in ("version", "help"), option.opts
    for code in Exit:
        assert re.search(rf"^\| (\d+, )?{code:d}[ ,]", PAGE, re.MULTILINE), code


def test_below_celery_the_group_explains_the_options_of_every_command() -> None:
    celery = click.Group("celery", commands={"workflow": workflow})
    told = CliRunner().invoke(celery, ["workflow", "--help"], prog_name="celery").output
    assert "How long to wait for a Redis" in told
    told = CliRunner().invoke(celery, ["workflow", "show", "--help"], prog_name="celery").output
    assert "How long to wait for a Redis" not in told
    assert "`celery workflow --help` explains them" in told
