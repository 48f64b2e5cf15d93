"""Workflows and Python call a process that has a default host like a function; and what a process writes to the log."""

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
    -- Answers, fails, logs, or waits for its end and notes why it came.
    local logger, store = require("logger"), require("store")
    local function main(how, ...)
        if how == "answer" then return { pid = process.pid(), n = select("#", ...), third = select(3, ...) } end
        if how == "fail" then return nil, errors.new { message = "closed", kind = "Conflict", retryable = false } end
        if how == "log" then
            logger:with({ a = 1 }):error("it is written", { error = errors.new("why") })
            return "done"
        end
        local notes = assert(store.get("app:notes"))
        notes:set("waits", process.pid())
        local event = process.events():receive()
        notes:set("ended", { event.kind, event.reason })
    end
    return main
    """,
    modules=["logger", "store"],
    meta={"default_host": "app:host"},
)
project.lua("homeless", "process.lua", "return function() end")
flow = project.workflow(
    "flow",
    """
    local funcs = require("funcs")
    local once = { ["activity.retry_policy"] = { maximum_attempts = 1 } }
    local function main(target, ...)
        local found, err = funcs.new():with_options(once):call(target, ...)
        return { found = found, error = err and { err:kind(), err:message() } }
    end
    return main
    """,
    modules=["funcs"],
)
takes_back = project.workflow(
    "takes_back",
    """
    local funcs = require("funcs")
    local function main()
        local future = assert(funcs.async("app:clerk", "wait"))
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


def run(client: Client, *args: Any) -> Any:
    return client.start_workflow(flow, *args).result(timeout=20)


def test_a_workflow_calls_a_process(client: Client) -> None:
    found = run(client, "app:clerk", "answer", 1, None, "x")["found"]
    assert "@app:host|" in found.pop("pid"), "it lives on its default host"
    assert found == {"n": 3, "third": "x"}
    assert run(client, "app:clerk", "fail") == {"error": ["Conflict", "closed"]}


def test_a_process_without_a_default_host_is_not_found_by_a_workflow(client: Client) -> None:
    kind, text = run(client, "app:homeless")["error"]
    assert kind == "NotFound"
    assert text.endswith("app:homeless is a process without a default_host")


def test_python_code_calls_a_process(client: Client) -> None:
    found = client.call("app:clerk", "answer", 1, None, "x", timeout=20)
    assert (found["n"], found["third"]) == (3, "x")
    with pytest.raises(ApplicationError, match="closed") as caught:
        client.call("app:clerk", "fail", timeout=20)
    assert (caught.value.kind, caught.value.retryable) == ("Conflict", False)


def test_when_a_workflow_takes_the_call_back_the_process_is_asked_to_end_with_the_reason(client: Client) -> None:
    handle = client.start_workflow(takes_back)
    wait_until(lambda: client.call("app:note", "waits", timeout=10), deadline_s=10)
    handle.signal("enough")
    assert handle.result(timeout=20) == "Canceled"
    wait_until(lambda: client.call("app:note", "ended", timeout=10), deadline_s=10)
    assert client.call("app:note", "ended", timeout=10) == ["pid.cancel", "caller context canceled"]


def test_a_process_logs_with_its_address_and_its_fields(client: Client, running: Deployment) -> None:
    assert client.call("app:clerk", "log", timeout=20) == "done"
    log = running.workers[0].wait_for_log('"lua": "it is written"')
    line = json.loads(next(line for line in log.splitlines() if '"lua": "it is written"' in line))
    assert (line["level"], line["function_id"]) == ("ERROR", "app:clerk")
    assert "@app:host|" in line["process_id"]
    assert line["fields"].pop("location").startswith("clerk.lua:")
    assert line["fields"] == {"a": 1, "error": "why", "pid": line["process_id"]}
