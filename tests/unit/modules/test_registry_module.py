"""The module ``registry``: entries by id and by what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.core.identity import Identity
from orchestration.core.lua.host import HostError
from orchestration.errors import ApplicationError
from orchestration.modules import registry as module
from orchestration.modules.caller import Caller
from orchestration.registry import Registry, load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

project = Project()
project.entry("b", "registry.entry", meta={"type": "test", "order": 2, "tags": ["x", "y"], "deep": {"er": True}})
project.entry("a", "registry.entry", meta={"type": "test", "order": 1, "a.b": {"c": "dotted"}}, size=2.5, on=True)
project.entry("c", "registry.entry", namespace="other", meta={"type": "prod", "order": 1}, limits={"most": 5})
project.entry("static", "env.storage.static", values={"TOKEN": "hunter2"})
project.entry("some", "security.policy", policy={"actions": "*", "resources": ["app:a", "other:*"], "effect": "allow"})
project.function("get", "return function(...) return require('registry').get(...) end", modules=("registry",))
project.function("find", """
    return function(...)
        local found, problem = require("registry").find(...)
        if problem then return nil, problem end
        local ids = {}
        for i, entry in ipairs(found) do ids[i] = entry.id end
        return ids
    end
""", modules=("registry",))  # fmt: skip
project.function("raises", """
    return function(name, ...) local ok, problem = pcall(require("registry")[name], ...) return problem end
""", modules=("registry",))  # fmt: skip


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(definitions: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=definitions) as env:
        yield env


def run(env: WorkflowEnvironment, target: str, *args: Any) -> Any:
    try:
        return env.client.call(f"app:{target}", *args, timeout=20)
    except ApplicationError as error:
        return error.kind, error.message, error.retryable


def test_an_entry_by_its_id(env: WorkflowEnvironment) -> None:
    assert run(env, "get", "app:a") == {
        "id": "app:a", "kind": "registry.entry", "meta": {"type": "test", "order": 1, "a.b": {"c": "dotted"}},
        "data": {"size": 2.5, "on": True},
    }  # fmt: skip


def test_a_missing_entry_is_not_found(env: WorkflowEnvironment) -> None:
    assert run(env, "get", "app:none") == ("NotFound", "there is no entry app:none", False)
    assert run(env, "get", b"\xff")[0] == "NotFound"
    assert run(env, "get", "") == ("Invalid", "entry ID required", False)


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({"meta.type": "test"}, ["app:a", "app:b"]),
        ({".kind": "registry.entry"}, ["app:a", "app:b", "other:c"]),
        ({".kind": "registry.entry", "meta.order": 1}, ["app:a", "other:c"]),
        ({"meta.order": 1.0}, ["app:a", "other:c"]),
        ({"meta.order": "1"}, []),
        ({"meta.order": True}, []),
        ({".id": "other:c"}, ["other:c"]),
        ({".namespace": "other"}, ["other:c"]),
        ({".ns": "other"}, ["other:c"]),
        ({".name": "b"}, ["app:b"]),
        ({"meta.deep.er": True}, ["app:b"]),
        ({"meta.a.b.c": "dotted"}, ["app:a"]),
        ({"meta.tags": "y"}, ["app:b"]),
        ({"meta.deep": "er"}, []),
        ({"meta.type.more": "test"}, []),
        ({"data.size": 2.5}, ["app:a"]),
        ({"data.limits.most": 5}, ["other:c"]),
        ({"meta.type": b"\xff"}, []),
    ],
)
def test_entries_by_what_they_say_in_the_order_of_their_ids(
    env: WorkflowEnvironment, criteria: dict[str, Any], found: list[str]
) -> None:
    assert run(env, "find", criteria) == found


def test_without_criteria_all_entries(env: WorkflowEnvironment, definitions: Registry) -> None:
    everything = [entry.id for entry in definitions.entries]
    assert run(env, "find", {}) == run(env, "find") == everything


def test_a_criterion_is_not_longer_than_any_path(env: WorkflowEnvironment) -> None:
    """Each of its dots is tried: a megabyte of them kept everybody on the worker waiting."""
    kind, text, _ = run(env, "find", {"meta." + "." * 100_000: 1})
    assert (kind, text) == ("Invalid", "a criterion has at most 1000 characters, not 100005")


def test_secrets_are_neither_shown_nor_guessed(env: WorkflowEnvironment) -> None:
    assert run(env, "get", "app:static")["data"] == {}
    assert run(env, "find", {"data.values.TOKEN": "hunter2"}) == []


@pytest.mark.parametrize("key", ["kind", ".type", "meta", "meta.", "data", "", ".", "other.a", b"\xff"])
def test_an_unknown_criterion_is_invalid(env: WorkflowEnvironment, key: str | bytes) -> None:
    if isinstance(key, bytes):
        with pytest.raises(HostError, match="there is no criterion"):
            module._test(key, 1)
        return
    kind, text, _ = run(env, "find", {key: "x"})
    assert kind == "Invalid"
    assert text.startswith(f"there is no criterion {key!r}: there are .id, .kind, .name, .namespace, .ns, meta.<key>")


def test_arguments_are_checked(env: WorkflowEnvironment) -> None:
    assert run(env, "find", {"meta.type": {"a": 1}})[0] == "Invalid"
    assert "bad argument #1 to 'get' (string expected, got no value)" in run(env, "raises", "get")
    assert "bad argument #1 to 'find' (table expected, got string)" in run(env, "raises", "find", "x")
    assert "criteria have string keys" in run(env, "raises", "find", [1])


def test_what_takes_too_much_is_refused_with_the_cure(definitions: Registry) -> None:
    with WorkflowEnvironment(registry=definitions, payload_bytes=1024) as env:
        kind, text, _ = run(env, "find", {})
        assert (kind, text.endswith("more than 1024 bytes: narrow the criteria")) == ("Invalid", True)
        assert run(env, "find", {".id": "app:a"}) == ["app:a"]


def test_policies_say_which_entries_are_seen(env: WorkflowEnvironment) -> None:
    identity = Identity({"id": "ann"}, ("app:some",))
    caller = Caller(runtime=env.client._runtime, entry_id="app:f", pid="{a|b}", identity=identity)
    assert [entry["id"] for entry in module._find(caller, {".kind": "registry.entry"})] == ["app:a", "other:c"]
    assert module._get(caller, "other:c")["kind"] == "registry.entry"
    for entry_id in ("app:b", "app:none"):
        with pytest.raises(HostError, match=rf"not allowed to registry\.get: {entry_id}") as caught:
            module._get(caller, entry_id)
        assert caught.value.kind == "PermissionDenied"
