# ruff: noqa: E501 - Lua sources read better on one line
"""Processes that misbehave end of it alone, and what cannot be done is said."""

from __future__ import annotations

import time

import pytest

from orchestration import Client
from tests.support.actors import scenes

LIMIT = 200_000
project, act = scenes(
    env={
        "ORCHESTRATION_HOSTS": "app:host", "ORCHESTRATION_MEMORY_BYTES": "16777216",
        "ORCHESTRATION_PAYLOAD_BYTES": str(LIMIT),
    }
)  # fmt: skip
project.host("unserved", lifecycle={"start_timeout": "300ms"})

act.process("echoes", """
    local inbox = process.inbox()
    while true do
        local msg = inbox:receive()
        process.send(msg:from(), "echo", msg:payload():data())
    end
""")
act.process("endless", "process.send((...), 'begun') while true do end")
act.process("endless_later", "process.send((...), 'begun') process.inbox():receive() while true do end")
act.process("pattern", "process.send((...), 'begun') return string.find(string.rep('a', 100000), string.rep('a-', 40) .. 'b')")
act.process("bomb", """
    process.send((...), "begun")
    local found = {}
    for i = 1, 1 << 40 do found[i] = string.rep("x", 100000) .. i end
""")
act.process("rep", "process.send((...), 'begun') return #string.rep('x', 1 << 40)")
act.process("deep", "process.send((...), 'begun') local function f() return 1 + f() end return f()")
act.process("tasks", "process.send((...), 'begun') while true do coroutine.spawn(function() process.inbox():receive() end) end")

misbehaves = act.function("misbehaves", """
    -- Starts one that misbehaves, and asks its neighbour all the time how long an answer takes.
    local id = ...
    local begun, echo, events = process.listen("begun"), process.listen("echo"), process.events()
    local neighbour = process.spawn("app:echoes", "app:host")
    local pid = process.spawn_monitored(id, "app:host", process.pid())
    begun:receive()
    process.send(pid, "go on")
    local slowest, ended = 0, nil
    repeat
        local before = time.now()
        assert(process.send(neighbour, "t", 1))
        echo:receive()
        slowest = math.max(slowest, time.now():sub(before):milliseconds())
        local picked = channel.select { events:case_receive(), time.after("5ms"):case_receive() }
        if picked.channel == events then ended = picked.value end
    until ended
    process.terminate(neighbour)
    local err = ended.result.error
    return { kind = err and err:kind(), said = err and err:message() or ended.result.value, slowest = slowest,
        reason = err and err:details() and err:details().reason }
""")


@pytest.mark.parametrize(("entry", "reason", "said"), [
    ("app:endless", "step_limit", "instructions"), ("app:endless_later", "step_limit", "instructions"),
    ("app:pattern", "step_limit", "instructions"), ("app:bomb", "memory_limit", "memory"),
    ("app:rep", None, ""), ("app:deep", "memory_limit", "memory"), ("app:tasks", None, ""),
])  # fmt: skip
def test_who_leaves_the_limits_ends_of_it_while_neighbours_answer(client: Client, entry: str, reason: str | None, said: str) -> None:
    found = client.call(misbehaves, entry, timeout=60)
    assert found["kind"] == "Internal"
    assert found.get("reason") == reason or reason is None, found
    assert said in found["said"]
    assert found["slowest"] < 1000, "milliseconds"


too_large = act.function("too_large", """
    local n = ...
    local pid = process.spawn("app:echoes", "app:host")
    local big = string.rep("x", n)
    local found = { said(process.send(pid, "t", big)), said(process.spawn("app:echoes", "app:host", big)),
        said(process.exec("app:returns", "app:host", n)), said(funcs.call("app:echoes_back", big)),
        raised(function() return process.with_options({}):with_message("t", big) end), said(process.send(process.pid(), "t", big)) }
    found[#found + 1] = said(process.send(pid, "t", "small"))
    found[#found + 1] = process.inbox():receive():payload():data()
    process.terminate(pid)
    return found
""")
act.process("returns", "return string.rep('x', (...))")
act.function("echoes_back", "return 1")


def test_what_is_larger_than_the_limit_is_refused_with_both_sizes(client: Client) -> None:
    *refused, sent, echoed = client.call(too_large, LIMIT + 1000, timeout=10)
    assert all("Invalid false: the payload takes 201" in said and f"the limit is {LIMIT}" in said for said in refused[:2]), refused
    assert f"the limit is {LIMIT}" in refused[2]
    assert all(f"the limit is {LIMIT}" in said for said in refused[3:]), refused
    assert (sent, echoed) == (True, "small")


unsendable = act.function("unsendable", """
    local cycle = {} cycle[1] = cycle
    return { said(process.send(process.pid(), "t", cycle)), said(process.send(process.pid(), "t", { 1, a = 2 })),
        said(process.send(process.pid(), "t", { [1] = 1, [3] = 3 })), said(process.spawn("app:echoes", "app:host", cycle)) }
""")


def test_what_cannot_be_carried_is_a_returned_error(client: Client) -> None:
    found = client.call(unsendable, timeout=10)
    assert all(isinstance(said, str) and "cannot encode" in said for said in found), found


nobody = act.function("nobody", """
    return { said(process.send("nobody", "t")), said(process.send("{0123456789ab@app:host|0x00001}", "t")),
        said(process.spawn("app:echoes", "app:unserved")), said(process.spawn("app:none", "app:host")) }
""")


def test_messages_to_nobody_and_spawns_nowhere_are_said_in_time(client: Client) -> None:
    begun = time.monotonic()
    to_name, to_pid, unserved, unknown = client.call(nobody, timeout=10)
    assert time.monotonic() - begun < 8
    assert to_name == "NotFound false: could not resolve 'nobody' as PID or registered name"
    assert to_pid == "NotFound false: process not found: {0123456789ab@app:host|0x00001}"
    assert unserved == "Unavailable false: host is not running: no worker has served app:unserved for 0.3 s"
    assert unknown == "NotFound false: factory not found"
