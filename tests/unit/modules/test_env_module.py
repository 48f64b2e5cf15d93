# ruff: noqa: E501 - Lua sources read better on one line
"""The module ``env``: declared variables alone, from every storage, and what may be set."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.core.identity import Identity
from orchestration.core.lua.host import HostError
from orchestration.errors import ApplicationError
from orchestration.modules import env as module
from orchestration.modules.caller import Caller
from orchestration.registry import load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project


def make(folder: Path) -> Project:
    project = Project()
    project.entry("memory", "env.storage.memory")
    project.entry("os", "env.storage.os")
    project.entry("static", "env.storage.static", values={"MODE": "test", "BOTH": "static"})
    project.entry("file", "env.storage.file", file_path=str(folder / "app.env"), auto_create=True, file_mode="0600")
    project.entry("gone", "env.storage.file", file_path=str(folder / "none" / "gone.env"))
    project.entry("folder", "env.storage.file", file_path=str(folder))
    project.entry("router", "env.storage.router", storages=["memory", "file", "static"])
    project.entry("outer", "env.storage.router", storages=["router", "os"])
    project.entry("frozen", "env.storage.router", storages=["static", "memory"])
    for name, storage, more in (
        ("level", "memory", {}), ("mode", "static", {"variable": "MODE"}), ("home", "os", {"variable": "TEST_ENV_HOME"}),
        ("raw", "os", {"variable": "TEST_ENV_RAW"}), ("token", "file", {"variable": "TOKEN"}),
        ("late", "gone", {"variable": "LATE"}), ("broken", "folder", {}), ("both", "router", {"variable": "BOTH"}),
        ("far", "outer", {"variable": "FAR"}), ("cold", "frozen", {"variable": "COLD"}),
        ("port", "memory", {"variable": "PORT", "default": 8080}), ("debug", "memory", {"default": True}),
        ("fixed", "memory", {"variable": "FIXED", "readonly": True, "default": "x"}),
    ):  # fmt: skip
        project.entry(name, "env.variable", storage=storage, **more)
    project.entry("mail", "security.policy", policy={"actions": "env.*", "resources": ["TOKEN", "PORT"], "effect": "allow"})
    project.entry("hide", "security.policy", policy={
        "actions": "*", "resources": "*", "effect": "deny",
        "conditions": [{"field": "meta.variable", "operator": "eq", "value": "TOKEN"}],
    })  # fmt: skip
    project.entry("all", "security.policy", policy={"actions": "*", "resources": "*", "effect": "allow"})
    for name, body in {
        "get": "return function(...) return env.get(...) end",
        "set": "return function(...) return env.set(...) end",
        "set_get": "return function(key, value) assert(env.set(key, value)) return env.get(key) end",
        "length": "return function(key, value) assert(env.set(key, value)) return #env.get(key) end",
        "all": "return function() return env.get_all() end",
        "bytes": "return function(key) local v = assert(env.get(key)) return { #v, v:byte(1) } end",
        "raises": "return function(name, ...) local ok, e = pcall(env[name], ...) return e end",
    }.items():
        project.function(name + "_it", f"local env = require('env')\n{body}", modules=("env",))
    return project


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkflowEnvironment]:
    monkeypatch.delenv("TEST_ENV_HOME", raising=False)
    registry = load_registry(make(tmp_path).write(tmp_path / "config"))
    with WorkflowEnvironment(registry=registry) as env:
        yield env


def run(env: WorkflowEnvironment, target: str, *args: Any) -> Any:
    try:
        return env.client.call(f"app:{target}_it", *args, timeout=20)
    except ApplicationError as error:
        return error.kind, error.message, error.retryable


def test_variables_by_public_name_and_by_entry_id(env: WorkflowEnvironment) -> None:
    assert run(env, "get", "MODE") == "test"
    assert run(env, "get", "app:mode") == "test"
    assert run(env, "set_get", "app:level", "5") == "5"


def test_the_environment_of_the_process_is_read_as_it_is_now(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(env, "get", "TEST_ENV_HOME")[0] == "NotFound"
    monkeypatch.setenv("TEST_ENV_HOME", "/here")
    assert run(env, "get", "app:home") == "/here"
    monkeypatch.setenv("TEST_ENV_RAW", "\udcff")
    assert run(env, "bytes", "TEST_ENV_RAW") == [1, 255]


def test_what_is_not_declared_is_not_found_though_the_process_has_it(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_ENV_SECRET", "x")
    assert run(env, "get", "TEST_ENV_SECRET") == ("NotFound", "the variable TEST_ENV_SECRET is not declared", False)
    assert run(env, "set", "TEST_ENV_SECRET", "y")[0] == "NotFound"
    assert run(env, "get", "app:memory")[0] == "NotFound"
    assert run(env, "get", b"\xff")[0] == "NotFound"


def test_a_variable_without_a_value_has_its_default_as_text(env: WorkflowEnvironment) -> None:
    assert run(env, "get", "PORT") == "8080"
    assert run(env, "get", "app:debug") == "true"
    assert run(env, "set_get", "PORT", "") == ""
    assert run(env, "get", "app:level") == ("NotFound", "the variable app:level has no value", False)


def test_a_file_is_written_and_read_as_it_is_now(env: WorkflowEnvironment, tmp_path: Path) -> None:
    path = tmp_path / "app.env"
    assert run(env, "get", "TOKEN")[0] == "NotFound"
    assert run(env, "set", "TOKEN", "one") is True
    assert path.read_text() == "TOKEN=one\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(env, "get", "TOKEN") == "one"
    path.write_text("TOKEN=another\n")
    assert run(env, "get", "TOKEN") == "another"
    assert run(env, "set", "TOKEN", "two\nlines")[:2] == ("Invalid", "a value in a file is one line, without spaces at its ends")


def test_a_file_that_cannot_be_written(env: WorkflowEnvironment) -> None:
    assert run(env, "get", "LATE")[0] == "NotFound"
    assert run(env, "set", "LATE", "x")[:2] == ("NotFound", "the file of app:gone is not there: make it, or set 'auto_create: true'")
    kind, text, _ = run(env, "set", "app:broken", "secret")
    assert kind == "Internal"
    assert "the file of app:folder cannot be written" in text
    assert "secret" not in text


def test_a_router_reads_the_first_that_has_a_value_and_writes_to_the_first(env: WorkflowEnvironment, tmp_path: Path) -> None:
    assert run(env, "get", "BOTH") == "static"
    (tmp_path / "app.env").write_text("BOTH=file\n")
    assert run(env, "get", "BOTH") == "file"
    assert run(env, "set_get", "BOTH", "memory") == "memory"
    assert (tmp_path / "app.env").read_text() == "BOTH=file\n"
    assert run(env, "set_get", "FAR", "through two") == "through two"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FIXED", "the variable FIXED is read-only"),
        ("MODE", "the variable MODE cannot be set: its storage app:static (env.storage.static) is read-only"),
        ("app:home", "the variable app:home cannot be set: its storage app:os (env.storage.os) is read-only"),
        ("COLD", "the variable COLD cannot be set: its storage app:static (env.storage.static) is read-only"),
    ],
)
def test_what_is_read_only_is_refused(env: WorkflowEnvironment, name: str, text: str) -> None:
    assert run(env, "set", name, "x") == ("PermissionDenied", text, False)


def test_get_all_has_those_with_a_value(env: WorkflowEnvironment) -> None:
    assert run(env, "all") == {"MODE": "test", "PORT": "8080", "app:debug": "true", "FIXED": "x", "BOTH": "static"}


def test_arguments_are_checked(env: WorkflowEnvironment) -> None:
    assert run(env, "get", "") == ("Invalid", "the name of a variable is needed", False)
    assert run(env, "set", "", "x")[0] == "Invalid"
    assert run(env, "set", "PORT", b"\xff")[:2] == ("Invalid", "a value is text: UTF-8, without zero bytes")
    assert run(env, "set", "PORT", "a\0b")[0] == "Invalid"
    assert "bad argument #1 to 'get' (string expected, got no value)" in run(env, "raises", "get")
    assert "bad argument #2 to 'set' (string expected, got number)" in run(env, "raises", "set", "PORT", 5)


def caller_of(env: WorkflowEnvironment, *scope: str) -> Caller:
    runtime = env.client._runtime
    return Caller(runtime=runtime, entry_id="app:f", pid="{a|b}", identity=Identity({"id": "ann"}, scope))


def test_policies_say_who_may_read_and_set_what(env: WorkflowEnvironment) -> None:
    caller = caller_of(env, "app:mail")
    assert module._set(caller, "TOKEN", "x") is True
    assert module._get(caller, "TOKEN") == "x"
    assert module._all(caller) == {"TOKEN": "x", "PORT": "8080"}
    for verb, args in ((module._get, ("MODE",)), (module._set, ("MODE", "x")), (module._get, ("NONE",))):
        with pytest.raises(HostError) as caught:
            verb(caller, *args)
        assert caught.value.kind == "PermissionDenied"


def test_a_policy_on_one_name_of_a_variable_sees_the_other(env: WorkflowEnvironment) -> None:
    module._set(caller_of(env, "app:all"), "TOKEN", "x")
    hidden = caller_of(env, "app:all", "app:hide")
    for name in ("TOKEN", "app:token"):
        with pytest.raises(HostError, match=r"not allowed to env\.get"):
            module._get(hidden, name)
    assert "TOKEN" not in module._all(hidden)


def test_values_are_not_logged(env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert run(env, "length", "TOKEN", "hunter2") == 7
    run(env, "set", "FIXED", "hunter2")
    run(env, "set", "TOKEN", "hunter2\n")
    assert "hunter2" not in caplog.text
