# ruff: noqa: E501 - Lua sources read better on one line
"""What modules do outside of Lua, with real servers: between OS processes, refused, and fenced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery.exceptions import TimeoutError as CeleryTimeoutError

from orchestration import Client
from orchestration.core import payload
from orchestration.modules.caller import Caller
from orchestration.modules.verbs import perform
from orchestration.tasks.consumers.queues import BoundQueue
from tests.support.projects import Deployment, Project

project = Project(pool="prefork", concurrency=3)
project.entry("driver", "queue.driver.memory")
queue = project.entry("jobs", "queue.queue", driver="app:driver")
project.entry("db", "db.sql.sqlite", file=":memory:")
project.entry("nothing", "security.policy", policy={"actions": "nothing.at.all", "resources": "*", "effect": "allow"})
waits = project.function("waits", "local events = require('events') return function(...) local sub = assert(events.subscribe(...)) return sub:channel():receive() end", modules=("events",))
sends = project.function("sends", "local events = require('events') return function(...) return events.send(...) end", modules=("events",))
asks = project.function(
    "asks",
    """
    local queue, events, sql, http = require("queue"), require("events"), require("sql"), require("http_client")
    local function kind(value, err) return err and err:kind() or "done" end
    return function()
        return {
            publish = kind(queue.publish("app:jobs", 1)), info = kind(queue.info("app:jobs")),
            send = kind(events.send("s", "k", "p")), subscribe = kind(events.subscribe("s")),
            sql = kind(sql.get("app:db")), http = kind(http.get("http://127.0.0.1:9/")),
        }
    end
    """,
    modules=("queue", "events", "sql", "http_client"),
)

project.entry("host", "process.host")
actor = project.lua(
    "actor", "process.lua",
    """
    local events, queue, time, sql = require("events"), require("queue"), require("time"), require("sql")
    return function(round)
        local sub = assert(events.subscribe("rounds"))
        events.send("rounds", "begun", tostring(round))
        local got = sub:channel():receive()
        local tx = assert(sql.get("app:db"):begin()) -- the only connection: the next round needs it back
        if round < 3 then process.upgrade(nil, round + 1) end
        time.sleep("100ms")
        local more = channel.select({ sub:channel():case_receive() }, true)
        assert(queue.publish("app:jobs", got.path))
        return { got.path, more.default }
    end
    """,
    method="main", modules=["events", "queue", "time", "sql"],
)  # fmt: skip
acts = project.function("acts", "return function() local events = process.events() assert(process.spawn_monitored('app:actor', 'app:host', 1)) local result = events:receive().result return result.value or result.error:message() end", modules=())


def test_processes_have_the_modules_and_an_upgrade_lets_go_of_what_the_old_code_held_open(
    client: Client, running: Deployment
) -> None:
    jobs = BoundQueue.of(running.orchestration.runtime, queue)
    before = jobs.info()["message_count"]
    assert client.call(acts, timeout=30) == ["3", True]
    assert jobs.info()["message_count"] == before + 1


def test_events_reach_functions_of_other_processes(client: Client) -> None:
    app = client._orchestration.app
    waiting = app.send_task(waits, args=["shop.*", "sold"])
    for _ in range(100):  # until the other one listens: what is sent before is nobody's
        assert client.call(sends, "shop.eu", "sold", "/1", {"n": 1}, timeout=10)
        with contextlib.suppress(CeleryTimeoutError):
            assert waiting.get(timeout=0.2) == {"system": "shop.eu", "kind": "sold", "path": "/1", "data": {"n": 1}}
            return
    raise AssertionError("no event came")


def test_what_policies_do_not_allow_is_refused(client: Client) -> None:
    app = client._orchestration.app
    headers = {"orchestration_identity": {"actor": {"id": "ann", "meta": {}}, "scope": ["app:nothing"]}}
    assert app.send_task(asks, headers=headers).get(timeout=20) == {
        "publish": "Invalid", "info": "Invalid", "send": "PermissionDenied", "subscribe": "PermissionDenied",
        "sql": "PermissionDenied", "http": "PermissionDenied",
    }  # fmt: skip
    free = client.call(asks, timeout=20)
    assert {free[name] for name in ("publish", "info", "send", "subscribe", "sql")} == {"done"}
    assert free["http"] == "PermissionDenied", "no place that code may connect to"


class TestFence:
    """A process whose worker was taken for dead has no effect, however long it goes on."""

    @pytest.fixture
    def caller(self, running: Deployment) -> Iterator[Caller]:
        runtime = running.orchestration.runtime
        keys = runtime.store("default").keyspace.actors
        with contextlib.closing(redis.Redis.from_url(running.redis_url)) as server:
            server.zadd(keys.nodes, {"living": 1})
            yield Caller(runtime=runtime, entry_id="app:x", pid="{a|b}", node="living")
            server.zrem(keys.nodes, "living")

    @pytest.mark.parametrize("args", [("queue.publish", queue, 1, None), ("events.send", "s", "k", "p", None)])
    def test_what_a_dead_one_sends_goes_nowhere(self, caller: Caller, args: tuple[Any, ...]) -> None:
        jobs = BoundQueue.of(caller.runtime, queue)
        before = jobs.info()["message_count"]
        assert perform(caller, args[0], payload.encode(list(args[1:]))) == (True, payload.encode(True))
        sent = jobs.info()["message_count"] - before
        caller.node = "dead"
        ok, failure = perform(caller, args[0], payload.encode(list(args[1:])))
        assert not ok
        assert "taken for dead" in payload.decode_failure(failure)["message"]
        assert sent == (args[0] == "queue.publish")
        assert jobs.info()["message_count"] == before + sent
