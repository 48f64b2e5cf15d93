# ruff: noqa: E501 - Lua sources read better on one line
"""A process that has a default host is called like a function; and what processes and functions write to the log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestration import Client
from orchestration.errors import ApplicationError
from tests.support.projects import Deployment, Project
from tests.support.waiting import wait_until

project = Project(tasks=["tests.acceptance.log_lines"], pool="threads", concurrency=2)
project.entry("host", "process.host")
project.entry("notes", "store.memory")
project.lua(
    "clerk",
    "process.lua",
    """
    -- Answers with its arguments, fails, or waits for its end and notes why it came.
    local logger, store = require("logger"), require("store")
    local function main(how, ...)
        if how == "args" then return { pid = process.pid(), n = select("#", ...), third = select(3, ...) } end
        if how == "fail" then return nil, errors.new { message = "closed", kind = "Conflict", retryable = false } end
        if how == "log" then logger:with({ a = 1 }):error("it is written", { error = errors.new("why") }) return "done" end
        local notes = assert(store.get("app:notes"))
        notes:set("waits " .. (how == "for a function" and "app:clerk" or how), process.pid())
        local event = process.events():receive()
        notes:set("ended " .. how, { kind = event.kind, reason = event.reason })
    end
    return main
    """,
    modules=["logger", "store"],
    meta={"default_host": "app:host"},
)
project.lua("lost", "process.lua", "return nil", meta={"options": {"default_host": "app:host"}})

CALL = """
    local funcs = require("funcs")
    local function main(target, ...)
        local found, err = funcs.call(target, ...)
        return { found = found, kind = err and err:kind(), retryable = err and err:retryable(), message = err and err:message() }
    end
    return main
"""
calls = {
    "function": project.function("calls", CALL, modules=["funcs"]),
    "workflow": project.workflow("flow", CALL, modules=["funcs"]),
}
project.function(
    "gives_up",
    """
    local funcs, store, time = require("funcs"), require("store"), require("time")
    local function main(target)
        assert(funcs.async(target, "for a function"))
        local notes = assert(store.get("app:notes"))
        while not notes:get("waits " .. target) do time.sleep("10ms") end
        error("enough")
    end
    return main
    """,
    modules=["funcs", "store", "time"],
)
project.function(
    "sits",
    """
    local function main()
        require("store").get("app:notes"):set("waits app:sits", process.pid())
        process.listen("nothing"):receive()
    end
    return main
    """,
    modules=["store"],
)
project.function(
    "is_there", "return function(pid) local _, err = process.send(pid, 'other', 1) return err and err:kind() or 'there' end"
)
project.workflow(
    "takes_back",
    """
    local funcs = require("funcs")
    local function main()
        local future = assert(funcs.async("app:clerk", "for a workflow"))
        process.listen("enough"):receive()
        future:cancel()
        local _, err = future:result()
        return err:kind()
    end
    return main
    """,
    modules=["funcs"],
)
project.function(
    "note", "return function(key) return (require('store').get('app:notes'):get(key)) end", modules=["store"]
)


def call(client: Client, caller: str, *args: Any) -> Any:
    if caller == "workflow":
        return client.start_workflow(calls[caller], *args).result(timeout=20)
    return client.call(calls[caller], *args, timeout=20)


@pytest.mark.parametrize("caller", list(calls))
def test_a_process_is_called_and_its_end_is_the_result(client: Client, caller: str) -> None:
    answer = call(client, caller, "app:clerk", "args", 1, None, "x")
    found = answer["found"]
    assert "@app:host|" in found.pop("pid"), "it lives on its default host"
    assert found == {"n": 3, "third": "x"}
    error = call(client, caller, "app:clerk", "fail")
    assert error == {"kind": "Conflict", "retryable": False, "message": "closed"}


def test_python_code_calls_a_process_too(client: Client) -> None:
    found = client.call("app:clerk", "args", 1, None, "x", timeout=20)
    assert (found["n"], found["third"]) == (3, "x")
    with pytest.raises(ApplicationError, match="closed") as caught:
        client.call("app:clerk", "fail", timeout=20)
    assert (caught.value.kind, caught.value.retryable) == ("Conflict", False)


def test_a_process_that_cannot_start_is_internal_and_says_so(client: Client) -> None:
    error = call(client, "function", "app:lost")
    assert error["kind"] == "Internal"
    assert error["message"].startswith("failed to start process")


def note(client: Client, key: str) -> Any:
    return client.call("app:note", key, timeout=10)


CANCELED = {"kind": "pid.cancel", "reason": "caller context canceled"}


def test_when_the_caller_fails_the_process_is_cancelled_with_the_reason(client: Client) -> None:
    with pytest.raises(ApplicationError, match="enough"):
        client.call("app:gives_up", "app:clerk", timeout=20)
    wait_until(lambda: note(client, "ended for a function"), deadline_s=10)
    assert note(client, "ended for a function") == CANCELED


def test_when_the_caller_fails_the_function_that_it_called_is_ended(client: Client) -> None:
    with pytest.raises(ApplicationError, match="enough"):
        client.call("app:gives_up", "app:sits", timeout=20)
    pid = note(client, "waits app:sits")
    wait_until(lambda: client.call("app:is_there", pid, timeout=10) == "NotFound", deadline_s=10)


def test_when_a_workflow_takes_the_call_back_the_process_is_cancelled_with_the_reason(client: Client) -> None:
    handle = client.start_workflow("app:takes_back")
    wait_until(lambda: note(client, "waits for a workflow"), deadline_s=10)
    handle.signal("enough")
    assert handle.result(timeout=20) == "Canceled"
    wait_until(lambda: note(client, "ended for a workflow"), deadline_s=10)
    assert note(client, "ended for a workflow") == CANCELED


def test_a_process_logs_with_its_address_and_its_fields(client: Client, running: Deployment) -> None:
    assert call(client, "function", "app:clerk", "log")["found"] == "done"
    log = running.workers[0].wait_for_log('"lua": "it is written"')
    line = json.loads(next(line for line in log.splitlines() if '"lua": "it is written"' in line))
    assert (line["level"], line["function_id"]) == ("ERROR", "app:clerk")
    assert "@app:host|" in line["process_id"]
    location = line["fields"].pop("location")
    assert location.startswith("clerk.lua:")
    assert line["fields"] == {"a": 1, "error": "why", "pid": line["process_id"]}
