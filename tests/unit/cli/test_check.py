"""``orchestration check`` in this process; nothing of it needs a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestration.cli.group import orchestration

YAML = """\
version: "1.0"
namespace: app
entries:
  - name: hello
    kind: workflow.lua
    source: file://hello.lua
    method: main
    modules: [time]
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATION_CONFIG", raising=False)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/hello.yaml").write_text(YAML)
    (tmp_path / "config/hello.lua").write_text('print("loaded")\nreturn { main = function(x) return x.y end }\n')
    return tmp_path / "config"


def check(*args: str) -> Result:
    return CliRunner().invoke(orchestration, ["check", *args])


def test_good_definitions_are_listed(tree: Path) -> None:
    result = check()
    assert result.exit_code == 0, result.output
    assert "app:hello  workflow.lua" in result.stdout
    assert "config/hello.yaml:4" in result.stdout
    assert "1 entry in config: no problems" in result.stdout
    assert result.stderr == ""


def test_every_mistake_is_told_at_once(tree: Path) -> None:
    (tree / "hello.yaml").write_text(YAML.replace("workflow.lua", "workflow.luna") + "    extra: 1\n" + YAML[-130:])
    other = YAML.replace("hello\n", "other\n").replace("[time]", "[tyme]")
    (tree / "other.yaml").write_text(other)
    result = check("config")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("error: ")
    assert len(lines) >= 3
    assert all(line.startswith("config/") for line in lines[:-1]), lines
    assert any("did you mean 'time'" in line for line in lines)


def test_a_syntax_error_names_the_line_of_lua(tree: Path) -> None:
    (tree / "hello.lua").write_text("local x = 1\nlocal y = = 2\n")
    result = check()
    assert result.exit_code == 1
    assert "hello.lua:2" in result.stderr


def test_a_missing_method_is_found_before_anything_runs(tree: Path) -> None:
    (tree / "hello.lua").write_text("return { other = function() end }\n")
    result = check()
    assert result.exit_code == 1
    assert "config/hello.yaml:4: entry app:hello: field 'method' = 'main'" in result.stderr
    assert "return { main = main }" in result.stderr


def test_a_chunk_that_fails_is_found(tree: Path) -> None:
    (tree / "hello.lua").write_text("local x = nil\nlocal y = x.z\nreturn { main = function() end }\n")
    result = check()
    assert result.exit_code == 1
    assert "loading it fails: hello.lua:2" in result.stderr


def test_a_module_that_is_not_listed_has_its_own_cure(tree: Path) -> None:
    """``require`` of what exists and is not in ``modules`` is the first mistake of everybody."""
    (tree / "hello.lua").write_text('local funcs = require("funcs")\nreturn { main = function() end }\n')
    result = check()
    assert result.exit_code == 1
    assert "hello.lua:1: module 'funcs' not found; add 'funcs' to the list 'modules' of the entry" in result.stderr


def test_tasks_are_not_looked_for_without_an_application(tree: Path) -> None:
    """An application that is not called ``celery_app`` is easily left out; then nobody says that a task is missing."""
    (tree / "hello.yaml").write_text(YAML + "  - {name: greet, kind: function.celery, task: shop.greet}\n")
    result = check()
    assert result.exit_code == 0
    assert "note: the Celery task of 1 entry was not looked for: there is no celery_app.py here" in result.stderr
    assert "-A" in result.stderr
    assert json.loads(check("--json").stdout)["warnings"] == []


def test_for_programs(tree: Path) -> None:
    facts = json.loads(check("--json").stdout)
    assert facts["problems"] == []
    assert [entry["id"] for entry in facts["entries"]] == ["app:hello"]
    (tree / "hello.lua").unlink()
    result = check("--json")
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["entry"] == "app:hello"
    assert problem["cure"]


def test_no_definitions_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATION_CONFIG", raising=False)
    result = check()
    assert result.exit_code == 1
    assert f"config: there is no such file or folder in {tmp_path}; create it" in result.stderr
    (tmp_path / "config").mkdir()
    result = check()
    assert result.exit_code == 0
    assert "there are no entries yet" in result.stdout


CALLS = """\
local funcs, workflow = require("funcs"), require("workflow")
local function main(id)
    -- funcs.call("app:in_a_comment")
    local a = funcs.call("app:hallo", 1)
    local b = funcs.async('elsewhere:entirely')
    local c = workflow.exec("app:hello", id)
    local d = process.spawn(id, "app:host")
    local e = funcs.call("app:" .. id)
    local f = funcs.new():call("app:hallo", "app:text")
    return ("app:text"):len()
end
return { main = main }
"""


def test_calls_of_entries_that_are_not_there_are_warned_of_with_their_line(tree: Path) -> None:
    text = YAML.replace("[time]", "[funcs, workflow]")
    (tree / "hello.yaml").write_text(text + text[text.index("  - name") :].replace("hello\n", "again\n"))
    (tree / "hello.lua").write_text(CALLS)
    result = check("--quiet")
    assert result.exit_code == 0, result.output
    place, what = "entry app:again: field 'source' = ", "it is called here, and there is no such entry"
    elsewhere = "nothing to do if another deployment's definitions have it"
    assert result.stderr.splitlines() == [
        f"warning: config/hello.lua:4: {place}'app:hallo': {what}; did you mean 'app:hello'?",
        f"warning: config/hello.lua:5: {place}'elsewhere:entirely': {what}; {elsewhere}",
        f"warning: config/hello.lua:9: {place}'app:hallo': {what}; did you mean 'app:hello'?",
    ]
    assert "no problems, 3 warnings" in result.stdout
