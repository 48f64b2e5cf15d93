# ruff: noqa: E501 - Lua sources read better on one line
"""The module ``events``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.core import payload
from orchestration.modules import events as module
from orchestration.modules.caller import Caller
from orchestration.registry import Registry, load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

project = Project()


def function(name: str, body: str) -> str:
    return project.function(name, f"local events, time = require('events'), require('time')\nreturn function(...)\n{body}\nend", modules=("events", "time"))


function("order", """
    local sub = assert(events.subscribe("shop"))
    for i = 1, 20 do assert(events.send("shop", "sold", "/items/" .. i, { n = i })) end
    local found = {}
    for i = 1, 20 do found[i] = sub:channel():receive() end
    return found
""")
function("patterns", """
    local pattern, kind = ...
    local sub, all = assert(events.subscribe(pattern, kind)), assert(events.subscribe("*"))
    for _, system in ipairs { "shop.eu", "shop.us", "bank" } do
        events.send(system, "a", "/")
        events.send(system, "b", "/")
    end
    events.send("end", "end", "/")
    local found, channel = {}, all:channel()
    while channel:receive().system ~= "end" do end
    while true do
        local got = channel.select({ sub:channel():case_receive() }, true)
        if got.default then return found end
        found[#found + 1] = got.value.system .. "/" .. got.value.kind
    end
""".replace("channel.select", "_G.channel.select"))
function("plain", "local sub = events.subscribe('s') events.send('s', 'k', 'p') return sub:channel():receive()")
function("closes", """
    local inbox = process.inbox()
    local sub, probe = assert(events.subscribe("s")), assert(events.subscribe("s"))
    events.send("s", "k", "1")
    time.sleep("50ms")
    local first, second = sub:close(), sub:close()
    events.send("s", "k", "2")
    probe:channel():receive() probe:channel():receive()
    local value, open = sub:channel():receive()
    local last, still = sub:channel():receive()
    process.send(process.pid(), "mine", 1)
    return { first, second, value.path, open, last == nil, still, inbox:receive():topic() }
""")
function("wrong", """
    local found = {}
    for i, call in ipairs {
        function() return events.subscribe("") end, function() return events.send("", "k", "p") end,
        function() return events.send("s", "", "p") end, function() return events.send("s", "k", "") end,
    } do local v, e = call() found[i] = e:kind() end
    found[5] = pcall(events.subscribe, 5)
    found[6] = pcall(events.send, "s", "k")
    return found
""")
function("many", "local e for i = 1, 1001 do local s s, e = events.subscribe('s') end return e:kind()")
function("odd", """
    local sub, found = assert(events.subscribe("s")), {}
    for i, call in ipairs {
        function() return events.send("\\xff", "k", "p") end, function() return events.send("s", "\\xff", "p") end,
        function() return events.send("s", "k", "\\xff") end, function() return events.subscribe("\\xff") end,
        function() return events.subscribe("s", "\\xff") end,
    } do local v, e = call() found[i] = e and e:kind() or "done" end
    events.send("s", "k", "p", "\\xff")
    found[#found + 1] = sub:channel():receive().data
    return found
""")
project.workflow("flow", "return function() end", modules=())


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(registry: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=registry) as env:
        yield env


def run(env: WorkflowEnvironment, target: str, *args: Any) -> Any:
    return env.client.call(f"app:{target}", *args, timeout=20)


def test_events_of_one_sender_come_in_order_with_all_their_parts(env: WorkflowEnvironment) -> None:
    assert run(env, "order") == [
        {"system": "shop", "kind": "sold", "path": f"/items/{i}", "data": {"n": i}} for i in range(1, 21)
    ]


def test_an_event_may_have_no_data(env: WorkflowEnvironment) -> None:
    assert run(env, "plain") == {"system": "s", "kind": "k", "path": "p"}


@pytest.mark.parametrize(
    ("pattern", "kind", "found"),
    [
        ("shop.*", None, ["shop.eu/a", "shop.eu/b", "shop.us/a", "shop.us/b"]),
        ("shop.*", "b", ["shop.eu/b", "shop.us/b"]),
        ("*", "a", ["shop.eu/a", "shop.us/a", "bank/a"]),
        ("shop.eu", "*", ["shop.eu/a", "shop.eu/b"]),
        ("shop?eu", None, []),
        ("*.us", None, ["shop.us/a", "shop.us/b"]),
    ],
)
def test_stars_stand_for_anything_and_a_kind_narrows(
    env: WorkflowEnvironment, pattern: str, kind: str | None, found: list[str]
) -> None:
    assert (run(env, "patterns", pattern, kind) or []) == found


def test_a_closed_subscription_gets_nothing_more_and_leaves_nothing_in_the_inbox(env: WorkflowEnvironment) -> None:
    assert run(env, "closes") == [True, True, "1", True, True, False, "mine"]


def test_wrong_arguments(env: WorkflowEnvironment) -> None:
    assert run(env, "wrong") == ["Invalid"] * 4 + [False, False]


def test_names_are_text(env: WorkflowEnvironment) -> None:
    """One that was not ended the thread that hears events, for everybody on that worker."""
    assert run(env, "odd") == ["Invalid"] * 5 + [b"\xff"]


@pytest.mark.parametrize("message", [b"\xc1", payload.encode(5), payload.encode({"system": b"\xff", "kind": "k"})])
def test_what_is_no_event_ends_nothing(
    env: WorkflowEnvironment, message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = env._parts.runtime.store("default")
    run(env, "plain")
    board = module._switchboard(env._parts.runtime)
    listener = module._Listener(Caller(runtime=env._parts.runtime, entry_id="x", pid="x"), "t", "*", "*")
    board.add(env._parts.runtime, listener)
    store.effects.tell_event("", message)
    assert run(env, "plain") == {"system": "s", "kind": "k", "path": "p"}
    assert "an event that cannot be read was dropped" in caplog.text
    board.discard(listener)


def test_a_pattern_costs_no_more_than_its_length(env: WorkflowEnvironment) -> None:
    """As a regular expression this one took a worker with it: it holds everybody's lock while it is tried."""
    pattern = "*a" * 30 + "*b"
    heard: list[bytes] = []
    caller = Caller(runtime=env._parts.runtime, entry_id="x", pid="x", answer=heard.append)
    begun = time.monotonic()
    module._Listener(caller, "t", pattern, "*").hear({"system": "a" * 5_000, "kind": "k"})
    assert not heard
    assert time.monotonic() - begun < 2


def test_too_many_subscriptions_are_refused(env: WorkflowEnvironment) -> None:
    assert run(env, "many") == "RateLimited"


def test_the_end_of_the_caller_ends_its_subscriptions(env: WorkflowEnvironment) -> None:
    run(env, "plain")
    assert all(not board._listeners for board in module._switchboards.values())
