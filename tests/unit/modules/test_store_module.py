# ruff: noqa: E501 - Lua sources read better on one line
"""The module ``store``, over the store in memory; tests/store/test_items.py has the scripts over Redis too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from orchestration.core.identity import Identity
from orchestration.core.lua.host import HostError
from orchestration.errors import StoreUnavailableError
from orchestration.modules import store as module
from orchestration.modules.caller import Caller
from orchestration.registry import Registry, load_registry
from orchestration.store.items import Items
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

project = Project()
project.entry("shared", "store.memory")
project.entry("small", "store.memory", max_size=2)
project.entry("own", "store.memory", backend="memory", max_size=2)
project.entry("quick", "store.memory", backend="memory", cleanup_interval="1ms")
project.entry("settings", "registry.entry", answer=42)
project.entry("carts", "security.policy", policy={"actions": "store.get", "resources": "app:shared", "effect": "allow"})


def function(name: str, body: str) -> str:
    source = f"local store = require('store')\nreturn function(id, ...)\nlocal s = assert(store.get(id))\n{body}\nend"
    return project.function(name, source, modules=("store", "json", "time"))


function("values", """
    local found = {}
    for i, value in ipairs { 1, 1.5, -0.5, "text", "\\xff\\0", true, false, { 1, 2 }, { a = { b = {} } }, math.maxinteger } do
        assert(s:set("k" .. i, value))
        local got, problem = s:get("k" .. i)
        found[i] = { math.type(got) or type(got), got, problem == nil }
    end
    return found
""")
function("copies", """
    local value = { list = { 1 } }
    s:set("k", value)
    value.list[1] = 2
    local first = s:get("k")
    first.list[1] = 3
    return { s:get("k").list[1], s:put("k", value).value.list[1] }
""")
function("missing", """
    local value, problem = s:get("none")
    local entry, other = s:entry("none")
    return { value == nil, problem:kind(), problem:retryable(), entry == nil, other:kind(), s:has("none"), s:delete("none") }
""")
function("deletes", "s:set('k', 1) return { s:has('k'), s:delete('k'), s:has('k'), s:delete('k') }")
function("ends", "assert(s:set('k', 1, ...)) return true")
function("reads", "local v, e = s:get(...) return e and e:kind() or v")
function("writes", "local ok, e = s:set(...) return e and { e:kind(), e:message(), e:retryable() } or { ok }")
function("puts", "local entry, e = s:put(...) return e and { e:kind(), e:message() } or entry")
function("lists", "return s:list(...)")
function("refuses", "local v, e = s[...](s, select(2, ...)) return { v == nil, e:kind(), e:message() }")
function("raises", "local ok, e = pcall(s[...], s, select(2, ...)) return { ok, tostring(e) }")
function("info", "return s:info()")
function("released", """
    local text, other = tostring(s), assert(store.get(id))
    local found = { text, s:release(), s:release(), tostring(s) }
    for _, name in ipairs { "get", "set", "has", "delete", "entry", "put", "list", "info" } do
        local value, problem = s[name](s, name ~= "list" and "k" or nil, 1)
        found[#found + 1] = value == nil and problem:kind()
    end
    found[#found + 1] = other:has("k")
    return found
""")
function("functions", "local v, e = s:set('k', function() end) return { v == nil, e:kind() }")
function("words", """
    return { store.backend.MEMORY, store.backend.SQL, store.backend.KV_RAFT, store.backend.KV_CRDT, store.backend.UNKNOWN,
        store.consistency.LINEARIZABLE, store.consistency.EVENTUAL, store.consistency.LOCAL, store.consistency.UNKNOWN,
        pcall(function() store.backend.MEMORY = 1 end) }
""")
project.function("opens", """
    local store = require("store")
    return function(id) local s, e = store.get(id) return { s == nil, e:kind(), e:message(), e:retryable() } end
""", modules=("store",))
project.function("forgets_the_colon", "local store = require('store') return function(id) local ok, e = pcall(store.get(id).get, 'k') return e end", modules=("store",))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(registry: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=registry) as env:
        yield env


def run(env: WorkflowEnvironment, target: str, store_id: str = "app:shared", *args: Any) -> Any:
    return env.client.call(f"app:{target}", store_id, *args, timeout=20)


@pytest.mark.parametrize("store_id", ["app:shared", "app:quick"])
def test_values_keep_their_types(env: WorkflowEnvironment, store_id: str) -> None:
    assert run(env, "values", store_id) == [
        ["integer", 1, True], ["float", 1.5, True], ["float", -0.5, True], ["string", "text", True],
        ["string", b"\xff\0", True], ["boolean", True, True], ["boolean", False, True], ["table", [1, 2], True],
        ["table", {"a": {"b": []}}, True], ["integer", 2**63 - 1, True],
    ]  # fmt: skip


def test_tables_are_copied(env: WorkflowEnvironment) -> None:
    assert run(env, "copies") == [1, 2]


def test_what_is_not_there(env: WorkflowEnvironment) -> None:
    assert run(env, "missing") == [True, "NotFound", False, True, "NotFound", False, False]


def test_a_key_is_deleted_once(env: WorkflowEnvironment) -> None:
    assert run(env, "deletes") == [True, True, False, False]


def test_all_callers_see_one_store_and_stores_are_apart(env: WorkflowEnvironment) -> None:
    run(env, "writes", "app:shared", "k", "mine")
    assert run(env, "reads", "app:shared", "k") == "mine"
    assert run(env, "reads", "app:small", "k") == "NotFound"


@pytest.mark.parametrize(("ttl", "lives_s"), [(1, 0.9), (0.25, 0.2)])
def test_a_value_ends_after_its_time(env: WorkflowEnvironment, ttl: float, lives_s: float) -> None:
    run(env, "ends", "app:shared", ttl)
    env.skip(timedelta(seconds=lives_s))
    assert run(env, "reads", "app:shared", "k") == 1
    env.skip(timedelta(seconds=ttl))
    assert run(env, "reads", "app:shared", "k") == "NotFound"


@pytest.mark.parametrize("ttl", [0, None])
def test_without_a_time_a_value_stays(env: WorkflowEnvironment, ttl: int | None) -> None:
    run(env, "ends", "app:shared", 5)
    run(env, "ends", "app:shared", ttl)
    env.skip(timedelta(seconds=86_400))
    assert run(env, "reads", "app:shared", "k") == 1


@pytest.mark.parametrize("store_id", ["app:small", "app:own"])
def test_a_full_store_refuses_new_keys_alone(env: WorkflowEnvironment, store_id: str) -> None:
    assert run(env, "writes", store_id, "a", 1) == [True]
    assert run(env, "writes", store_id, "b", 1) == [True]
    kind, message, retryable = run(env, "writes", store_id, "c", 1)
    assert (kind, retryable) == ("RateLimited", True)
    assert message == f"the store {store_id} is full: it takes 2 keys"
    assert run(env, "writes", store_id, "b", 2) == [True]
    assert run(env, "reads", store_id, "b") == 2


def test_what_has_ended_makes_room(env: WorkflowEnvironment) -> None:
    run(env, "ends", "app:small", 1)
    run(env, "writes", "app:small", "b", 1)
    env.skip(timedelta(seconds=2))
    assert run(env, "writes", "app:small", "c", 1) == [True]


def test_put_answers_the_entry_and_versions_grow(env: WorkflowEnvironment) -> None:
    first, second = run(env, "puts", "app:shared", "k", {"a": 1}), run(env, "puts", "app:shared", "k", "two")
    assert (first["key"], first["value"], second["value"]) == ("k", {"a": 1}, "two")
    assert second["version"] > first["version"]


def test_put_only_if_absent(env: WorkflowEnvironment) -> None:
    assert run(env, "puts", "app:shared", "k", 1, {"only_if_absent": True, "ttl": 1})["value"] == 1
    assert run(env, "puts", "app:shared", "k", 2, {"only_if_absent": True})[0] == "AlreadyExists"
    env.skip(timedelta(seconds=2))
    assert run(env, "puts", "app:shared", "k", 3, {"only_if_absent": True})["value"] == 3


def test_put_if_version(env: WorkflowEnvironment) -> None:
    version = run(env, "puts", "app:shared", "k", 1)["version"]
    newer = run(env, "puts", "app:shared", "k", 2, {"if_version": version})["version"]
    assert run(env, "puts", "app:shared", "k", 3, {"if_version": version}) == [
        "Conflict", f"the key has version {newer}, not version {version}",
    ]  # fmt: skip
    assert run(env, "puts", "app:shared", "none", 3, {"if_version": 1}) == [
        "Conflict", "the key is not there, not version 1",
    ]  # fmt: skip
    assert run(env, "reads", "app:shared", "k") == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"only_if_absent": True, "if_version": 1}, "only_if_absent and if_version exclude each other"),
        ({"only_if_absent": 1}, "only_if_absent must be a boolean"),
        ({"if_version": "1"}, "if_version must be a version: a whole number from 1"),
        ({"if_version": 0}, "if_version must be a version: a whole number from 1"),
        ({"ttl": -1}, "ttl must be a number of seconds, 0 for no end"),
        ({"ttl": float("nan")}, "ttl must be a number of seconds, 0 for no end"),
        ({"ttl": float("inf")}, "ttl must be a number of seconds, 0 for no end"),
        ({"ttl": "5s"}, "ttl must be a number of seconds, 0 for no end"),
        ({"only_if_absnt": True}, "the options are if_version, only_if_absent, ttl"),
        ([1], "the options are if_version, only_if_absent, ttl"),
    ],
)
def test_wrong_options_of_put(env: WorkflowEnvironment, options: Any, problem: str) -> None:
    assert run(env, "refuses", "app:shared", "put", "k", 1, options) == [True, "Invalid", problem]


@pytest.mark.parametrize("store_id", ["app:shared", "app:own"])
def test_list_goes_through_the_keys_in_order(env: WorkflowEnvironment, store_id: str) -> None:
    for key in ("b/2", "b/1") if store_id == "app:own" else ("b/2", "a", "b/1", "b/10", "c"):
        run(env, "writes", store_id, key, key.upper())
    first = run(env, "lists", store_id, {"prefix": "b/", "limit": 1})
    assert ([item["key"] for item in first["items"]], first["cursor"], first["has_more"]) == (["b/1"], "b/1", True)
    rest = run(env, "lists", store_id, {"prefix": "b/", "after": first["cursor"]})
    assert [item["value"] for item in rest["items"]] == (["B/2"] if store_id == "app:own" else ["B/10", "B/2"])
    assert (rest["has_more"], rest.get("cursor")) == (False, None)
    assert all(item["version"] > 0 for item in rest["items"])


def test_list_of_an_empty_store(env: WorkflowEnvironment) -> None:
    assert run(env, "lists") == {"items": [], "has_more": False}


def test_list_leaves_out_what_has_ended(env: WorkflowEnvironment) -> None:
    for number in range(5):
        run(env, "puts", "app:shared", f"k{number}", number, {"ttl": 1} if number < 4 else {})
    env.skip(timedelta(seconds=2))
    page = run(env, "lists", "app:shared", {"limit": 1})
    assert [item["key"] for item in page["items"]] == ["k4"]


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"limit": 1001}, {"limit": 1.5}, {"limit": True}, {"prefix": 5}, {"after": 1}, {"size": 1}]
)
def test_wrong_options_of_list(env: WorkflowEnvironment, options: Any) -> None:
    assert run(env, "refuses", "app:shared", "list", options)[:2] == [True, "Invalid"]


def test_keys_and_values_are_checked(env: WorkflowEnvironment) -> None:
    assert run(env, "refuses", "app:shared", "set", "k", None)[1] == "Invalid"
    assert run(env, "refuses", "app:shared", "get", "") == [True, "Invalid", "key required"]
    assert run(env, "refuses", "app:shared", "set", "x" * 1025, 1)[1] == "Invalid"
    assert run(env, "functions") == [True, "Invalid"]
    assert "bad argument #1 to 'get' (string expected, got number)" in run(env, "raises", "app:shared", "get", 5)[1]
    assert "bad argument #3 to 'set' (number expected, got string)" in run(env, "raises", "app:shared", "set", "k", 1, "5s")[1]
    assert "bad argument #3 to 'put' (table expected, got number)" in run(env, "raises", "app:shared", "put", "k", 1, 5)[1]
    assert "called with a colon" in run(env, "forgets_the_colon")


def test_a_value_above_the_limit_is_refused(registry: Registry) -> None:
    with WorkflowEnvironment(registry=registry, payload_bytes=2048) as env:
        kind, message, _ = run(env, "writes", "app:shared", "k", "x" * 1981)
        assert (kind, "limit" in message) == ("Invalid", True)
        assert run(env, "writes", "app:shared", "k", "x" * 1900) == [True]
        assert len(run(env, "lists")["items"][0]["value"]) == 1900


def test_a_page_ends_before_it_is_too_large(registry: Registry) -> None:
    with WorkflowEnvironment(registry=registry, payload_bytes=4096) as env:
        for key in "abc":
            run(env, "writes", "app:shared", key, "x" * 1500)
        page = run(env, "lists")
        assert ([item["key"] for item in page["items"]], page["has_more"]) == (["a"], True)
        page = run(env, "lists", "app:shared", {"after": "b"})
        assert ([item["key"] for item in page["items"]], page["has_more"]) == (["c"], False)


def test_after_release_every_method_is_invalid(env: WorkflowEnvironment) -> None:
    assert run(env, "released") == [
        "store.Store{}", True, True, "store.Store{released}", *["Invalid"] * 8, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("store_id", "kind", "message"),
    [
        ("", "Invalid", "store ID required"),
        ("app:none", "NotFound", "there is no store app:none"),
        ("app:settings", "NotFound", "app:settings is no store: it is a registry.entry"),
    ],
)
def test_a_store_that_is_none(env: WorkflowEnvironment, store_id: str, kind: str, message: str) -> None:
    assert run(env, "opens", store_id) == [True, kind, message, False]


def test_info(env: WorkflowEnvironment) -> None:
    facts = {"backend": "memory", "list": True, "versioned": True, "conditional_put": True, "ttl": True}
    assert run(env, "info") == {"id": "app:shared", "consistency": "linearizable", "durable": True, **facts}
    assert run(env, "info", "app:own") == {"id": "app:own", "consistency": "local", "durable": False, **facts}


def test_the_words_of_info(env: WorkflowEnvironment) -> None:
    words = ["memory", "sql", "kv.raft", "kv.crdt", "unknown", "linearizable", "eventual", "local", "unknown"]
    assert run(env, "words")[:10] == [*words, False]


def test_a_store_of_the_process_is_its_own_and_tidies_itself(env: WorkflowEnvironment) -> None:
    run(env, "ends", "app:quick", 0.001)
    time.sleep(0.01)
    run(env, "reads", "app:quick", "other")
    items = module._local[env.client._runtime]._items
    assert items._connection.call("DBSIZE") == 2  # the versions of stores, and a receipt


class _Lost(Exception):
    """The reply is."""


def caller_of(env: WorkflowEnvironment, **options: Any) -> Caller:
    return Caller(runtime=env.client._runtime, entry_id="app:f", pid="{a|b}", **options)


def test_a_process_that_was_taken_for_dead_writes_nothing(env: WorkflowEnvironment) -> None:
    run(env, "writes", "app:shared", "k", "before")
    replaced = caller_of(env, node="buried")
    for write in (
        lambda: module._put(replaced, "app:shared", "k", "after", None), lambda: module._delete(replaced, "app:shared", "k"),
    ):  # fmt: skip
        with pytest.raises(HostError, match="has been replaced: nothing was written") as caught:
            write()
        assert caught.value.kind == "Canceled"
    assert module._read(replaced, "app:shared", "k") == "before"


def test_a_redis_that_does_not_answer_is_unavailable(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise StoreUnavailableError("Redis does not answer")

    for name in ("read", "has", "put", "delete", "page"):
        monkeypatch.setattr(Items, name, fail)
    for name, args in {"get": ("k",), "has": ("k",), "set": ("k", 1), "delete": ("k",), "list": ()}.items():
        assert run(env, "refuses", "app:shared", name, *args)[1] == "Unavailable"


def test_who_adds_one_by_versions_loses_none(env: WorkflowEnvironment) -> None:
    items = env.client._runtime.store("default").items
    items.put("app:shared", b"n", b"0", node="", most=10)

    def add() -> None:
        for _ in range(20):
            while True:
                item = items.read("app:shared", b"n")
                assert item is not None
                value = b"%d" % (int(item.value) + 1)
                if items.put("app:shared", b"n", value, node="", most=10, wanted=str(item.version)).status == "ok":
                    break

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = items.read("app:shared", b"n")
    assert found is not None
    assert found.value == b"80"


def test_policies_say_who_may_use_which_store(env: WorkflowEnvironment) -> None:
    allowed = Identity({"id": "ann"}, ("app:carts",))
    assert module._get(caller_of(env, identity=allowed), "app:shared") is True
    for identity, store_id in ((allowed, "app:small"), (Identity({"id": "ann"}, ()), "app:shared")):
        with pytest.raises(HostError, match=rf"not allowed to store\.get: {store_id}") as caught:
            module._get(caller_of(env, identity=identity), store_id)
        assert caught.value.kind == "PermissionDenied"
