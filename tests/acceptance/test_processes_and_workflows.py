"""Processes and workflows write to each other, and processes hear of the end of workflows."""

from __future__ import annotations

import pytest

from orchestration import Client
from tests.support.projects import Project

project = Project()
host = project.entry("host", "process.host")

project.lua(
    "clerk",
    "process.lua",
    """
    -- Answers each message with its own address, the sender's, and what it was told.
    local function main()
        local inbox, events = process.inbox(), process.events()
        while true do
            local picked = channel.select { inbox:case_receive(), events:case_receive() }
            if picked.channel == events then return "canceled: " .. picked.value.reason end
            local msg = picked.value
            local said = { me = process.pid(), from = msg:from(), data = msg:payload():data() }
            assert(process.send(msg:from(), "answer", said))
        end
    end
    return main
    """,
)

asks = project.workflow(
    "asks",
    """
    local function main(pid, how)
        local answers = process.listen("answer")
        local ok, err = process.send(pid, "question", 42)
        if err then return { kind = err:kind(), retryable = err:retryable(), message = err:message() } end
        local answer = answers:receive()
        if how then process[how](pid, "enough") end
        return { answer = answer, me = process.pid() }
    end
    return main
    """,
)

hires = project.function(
    "hires",
    """
    local function main(how)
        local events = process.events()
        local pid = assert(process.spawn_monitored("app:clerk", "app:host"))
        local found = assert(process.exec("app:asks", "celery", pid, how))
        if how then
            local event = events:receive()
            found.kind, found.value = event.kind, event.result.value
            found.error = event.result.error and event.result.error:message()
        else
            process.terminate(pid)
            events:receive()  -- from now on it is no more
        end
        found.pid = pid
        return found
    end
    return main
    """,
)

project.workflow(
    "ends",
    """
    local function main(how)
        process.inbox():receive()
        if how == "fail" then return nil, require("errors").new { message = "no luck", kind = "NotFound" } end
        return "done"
    end
    return main
    """,
)

project.lua(
    "watcher",
    "process.lua",
    """
    local function main(verb, how, traps)
        if traps then process.set_options { trap_links = true } end
        local events = process.events()
        local pids = {}
        for i = 1, 3 do pids[i] = assert(process["spawn_" .. verb]("app:ends", "", how)) end
        local again = assert(process.monitor(pids[1]))
        for i = 1, 3 do assert(process.send(pids[i], "go")) end
        local heard = {}
        for i = 1, verb == "linked" and 4 or 3 do
            local event = events:receive()
            heard[#heard + 1] = event.kind .. " " .. (event.result.value or event.result.error:message())
        end
        table.sort(heard)
        return heard
    end
    return main
    """,
)
watch = project.function("watch", "return function(...) return process.exec('app:watcher', 'app:host', ...) end")


def test_a_workflow_and_a_process_answer_each_other_by_their_addresses(client: Client) -> None:
    found = client.call(hires, timeout=20)
    assert found["answer"] == {"me": found["pid"], "from": found["me"], "data": 42}


@pytest.mark.parametrize(
    ("how", "ends"), [("cancel", {"value": "canceled: enough"}), ("terminate", {"error": "process terminated"})]
)
def test_a_workflow_ends_a_process(client: Client, how: str, ends: dict[str, str]) -> None:
    found = client.call(hires, how, timeout=20)
    assert found["kind"] == "pid.exit"
    assert {key: found.get(key) for key in ends} == ends


def test_a_workflow_that_sends_to_a_process_that_is_no_more_is_told(client: Client) -> None:
    gone = client.call(hires, timeout=20)["pid"]
    found = client.start_workflow(asks, gone).result(timeout=20)
    assert (found["kind"], found["retryable"]) == ("NotFound", False)
    assert gone in found["message"]


def test_a_process_hears_of_the_end_of_each_workflow_it_monitors_once(client: Client) -> None:
    assert client.call(watch, "monitored", timeout=20) == ["pid.exit done"] * 3
    assert client.call(watch, "monitored", "fail", timeout=20) == ["pid.exit no luck"] * 3


def test_links_to_workflows_tell_of_a_normal_end_too(client: Client) -> None:
    assert client.call(watch, "linked", "", True, timeout=20) == ["pid.exit done"] * 4
    mixed = client.call(watch, "linked", "fail", True, timeout=20)
    assert mixed == ["pid.exit no luck", *["pid.link.down no luck"] * 3]
