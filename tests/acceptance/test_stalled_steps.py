"""A worker stands still in the middle of a step, is buried, and goes on: what the step asks for then has no effect."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until

TIMES = {"ORCHESTRATION_NODE_DEAD_AFTER_MS": "1500", "ORCHESTRATION_HEARTBEAT_MS": "300"}
STALL_S = 2.5
"""Longer than what the step takes for lost time: its worker may have been silent for a while before it is paused."""
project = Project(concurrency=1, env={**TIMES, "ORCHESTRATION_INSTRUCTIONS": "4000000000"})
project.entry("here", "process.host")
project.entry("there", "process.host")
project.entry("kv", "store.memory")
project.lua("waits", "process.lua", "return function() process.events():receive() end")
project.lua(
    "ear",
    "process.lua",
    """
    -- Remembers what it is told.
    local function main()
        local inbox, heard = process.inbox(), {}
        while true do
            local message = inbox:receive()
            if message:topic() == "ask" then process.send(message:from(), "heard", heard)
            else heard[#heard + 1] = message:topic() end
        end
    end
    return main
    """,
)
project.lua(
    "stalls",
    "process.lua",
    """
    local time, store = require("time"), require("store")
    -- Works without a pause until it sees that time has been lost, works so long again, and does everything at once.
    local function main(ear, again_ms)
        process.send(ear, "begun")
        local last, stop = time.now():unix_nano(), nil
        while not stop or last < stop do
            local now = time.now():unix_nano()
            if not stop and now - last > 2000000000 then stop = now + again_ms * 1000000 end
            last = now
        end
        local acts = {
            function() process.send(ear, "late") end,
            function() process.send("ear", "late by name") end,
            function() process.registry.register("late") end,
            function() process.registry.unregister("ear") end,
            function() process.with_context({}):with_name("late here"):spawn("app:waits", "app:here") end,
            function() process.with_context({}):with_name("late there"):spawn("app:waits", "app:there") end,
            function() store.get("app:kv"):set("late", true) end,
            function() process.terminate(ear) end,
            function() process.cancel("ear", "late") end,
        }
        for i = 1, #acts do coroutine.spawn(acts[i]) end
        coroutine.spawn(function() print("all has been asked for") end)
        process.events():receive()
    end
    return main
    """,
    modules=["time", "store"],
)
begin = project.function(
    "begin",
    """
    local function main(again_ms)
        local ear = assert(process.with_context({}):with_name("ear"):spawn("app:ear", "app:there"))
        return { ear, assert(process.spawn("app:stalls", "app:here", ear, again_ms)) }
    end
    return main
    """,
)
heard = project.function(
    "heard",
    """
    local function main(ear)
        local answer = process.listen("heard")
        local ok, err = process.send(ear, "ask")
        if err then return { err:message() } end
        return (answer:receive())
    end
    return main
    """,
)


@pytest.fixture
def deployment(redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(project, tmp_path, redis_url) as found:
        yield found


@pytest.mark.parametrize("again_ms", [0, 1500], ids=["at once", "after its worker has begun anew"])
def test_what_a_step_does_after_its_worker_was_buried_has_no_effect(deployment: Deployment, again_ms: int) -> None:
    client = deployment.client
    actors = deployment.orchestration.runtime.store("default").actors
    stalled = deployment.worker(options=["--hosts", "app:here"], queues=["unused"], wait=False)
    deployment.worker(options=["--hosts", "app:there"]).wait_until_ready()
    stalled.wait_until_ready()
    ear, pid = client.call(begin, again_ms, timeout=30)
    wait_until(lambda: client.call(heard, ear, timeout=20) == ["begun"])
    node = pid[1:13]
    stalled.pause()
    seen_s = time.monotonic() + STALL_S
    wait_until(lambda: time.monotonic() > seen_s and node not in actors.node_ids())
    stalled.resume()
    stalled.wait_for_log("all has been asked for", deadline_s=20)
    stalled.wait_for_log("has been taken for dead", deadline_s=20)
    wait_until(lambda: len(actors.serving("app:here")) == 1, message="it serves its host again")
    time.sleep(0.5)  # for what must not happen
    assert "late" not in str(client.call(heard, ear, timeout=20))
    assert actors.names() == {"ear": ear}
    item = deployment.orchestration.runtime.store("default").items.read("app:kv", b"late")
    assert item is None
