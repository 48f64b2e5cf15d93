"""Functions that processes and functions call: where they run, how many at once, and nobody waits for himself."""

from __future__ import annotations

import time
from typing import Any

import pytest

from orchestration import Client
from tests.support.projects import Project

# One slot: whoever waits in it for another task waits for ever.
project = Project(tasks=["tests.acceptance.process_tasks"], pool="prefork", concurrency=1)
project.entry("host", "process.host")
project.celery_task("where", "tests.where")
project.celery_task("fails", "tests.fails")
project.entry("nobody", "function.celery", task="tests.nobody", queue="unread", meta={"options": {"timeout": 300}})

project.lua(
    "caller",
    "process.lua",
    """
    -- Calls a function so many times at once and returns what each gave.
    local funcs, time = require("funcs"), require("time")
    local function main(target, times, ...)
        local futures, found = {}, {}
        for i = 1, times do futures[i] = assert(funcs.async(target, ...)) end
        for i = 1, times do
            futures[i]:response():receive()
            local payload, err = futures[i]:result()
            found[i] = err and { kind = err:kind(), message = err:message() } or payload:data()
        end
        return found
    end
    return main
    """,
    modules=["funcs", "time"],
)
project.function("in_process", "return function(...) return process.exec('app:caller', 'app:host', ...) end")
project.lua(
    "detached",
    "process.lua",
    """
    local function main(to, ...)
        local found, err = require("funcs").call(...)
        process.send(to, "found", found or err:message())
    end
    return main
    """,
    modules=["funcs"],
)
project.function(
    "waits_for_a_process",
    """
    local function main(...)
        local found = process.listen("found")
        assert(process.spawn("app:detached", "app:host", process.pid(), ...))
        return found:receive()
    end
    return main
    """,
)
project.lua(
    "rounds",
    "process.lua",
    """
    local function main(times)
        for i = 1, times do assert(require("funcs").call("app:where")) end
        return times
    end
    return main
    """,
    modules=["funcs"],
)
project.function("direct", "return function(target, ...) return require('funcs').call(target, ...) end")

TALLY = """
    local time = require("time")
    local store = require("store").get("app:tally")
    local function main(pause)
        local tag = tostring(math.random(1, 1000000000))
        local name = "{name}"
        assert(store:set("in/" .. name .. "/" .. tag, true))
        local now = #store:list({{ prefix = "in/" .. name .. "/" }}).items
        time.sleep(pause)
        store:delete("in/" .. name .. "/" .. tag)
        return now
    end
    return main
"""
project.entry("tally", "store.memory")
for name, pool in {
    "free": {"type": "inline"}, "two": {"type": "static", "workers": 2}, "three": {"type": "lazy", "max_size": 3},
}.items():  # fmt: skip
    project.function(name, TALLY.format(name=name), modules=["time", "store"], pool=pool)
project.function(
    "down",
    "return function(n) if n == 0 then return 'there' end return require('funcs').call('app:down', n - 1) end",
    pool={"type": "static", "workers": 1},
)


def test_a_process_that_nobody_waits_for_in_a_slot_calls_celery_tasks_as_tasks(client: Client) -> None:
    in_slot = client.call("app:direct", "app:where", timeout=20)["pid"]
    started = client.spawn("app:caller", "app:host", "app:where", 3)
    found = started.result(timeout=20)
    assert [one["pid"] for one in found] == [in_slot] * 3, "all in the one slot of the worker, not in the process' host"
    assert all(one["as_task"] for one in found)


def test_all_processes_that_call_tasks_at_the_same_time_hear_of_their_results(client: Client) -> None:
    handles = [client.spawn("app:rounds", "app:host", 60) for _ in range(8)]
    assert [handle.result(timeout=60) for handle in handles] == [60] * 8


def test_what_a_task_raises_is_the_error_of_the_call(client: Client) -> None:
    assert client.call("app:in_process", "app:fails", 1, "no", timeout=20) == [
        {"kind": "Internal", "message": "ValueError: no"}
    ]


@pytest.mark.parametrize("through", ["app:direct", "app:in_process", "app:waits_for_a_process"])
def test_a_function_in_the_only_slot_does_not_wait_for_that_slot(client: Client, through: str) -> None:
    args: list[Any] = ["app:where", 1] if through == "app:in_process" else ["app:where"]
    found = client.call(through, *args, timeout=20)
    assert (found[0] if isinstance(found, list) else found)["pid"] > 0


def test_a_task_that_nobody_runs_is_a_timeout(client: Client) -> None:
    begun = time.monotonic()
    (found,) = client.call("app:in_process", "app:nobody", 1, timeout=20)
    assert found["kind"] == "Timeout"
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(("name", "most"), [("free", 6), ("two", 2), ("three", 3)])
def test_a_pool_bounds_how_many_calls_of_a_function_run_at_once(client: Client, name: str, most: int) -> None:
    found = client.call("app:in_process", f"app:{name}", 6, "150ms", timeout=20)
    assert max(found) <= most
    assert max(found) == most, "and as many as it may"


def test_a_function_that_calls_itself_does_not_wait_for_its_own_place_in_the_pool(client: Client) -> None:
    assert client.call("app:in_process", "app:down", 1, 5, timeout=20) == ["there"]
    assert client.call("app:down", 5, timeout=20) == "there"
