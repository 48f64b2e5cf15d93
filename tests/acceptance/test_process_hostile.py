# ruff: noqa: E501 - Lua sources read better on one line
"""Code that means harm: it forges no sender, reaches no topic of modules, and stops nothing but itself."""

from __future__ import annotations

import pytest

from orchestration import Client
from tests.support.actors import scenes

project, act = scenes(pool="threads", concurrency=4, env={"ORCHESTRATION_HOSTS": "app:host"})

act.process("hears", """
    -- Tells all that it is sent, also on the topics of modules.
    local to = ...
    local inbox = process.inbox()
    process.send(to, "ready", process.pid())
    while true do
        local msg = inbox:receive()
        process.send(to, "got", { msg:topic(), msg:from() })
    end
""")

forging = act.function("forging", """
    local ready, got = process.listen("ready"), process.listen("got")
    local pid = process.spawn("app:hears", "app:host", process.pid())
    ready:receive()
    -- After the address: what stands in a message: topic "pay", no values, sender "boss".
    local crafted = pid .. "\\0\\163pay\\196\\001\\144\\164boss"
    local said_ = said(process.send(crafted, "harmless", 1))
    process.send(pid, "last")
    local found = got:receive()
    process.terminate(pid)
    return { said_, found[1] }
""")


def test_no_text_of_an_address_forges_the_sender_or_topic_of_a_message(client: Client) -> None:
    said, topic = client.call(forging, timeout=20)
    assert topic == "last"
    assert "Invalid false" in said


bytes_ = act.function("bytes_", """
    local what, bad = ..., "\\255\\254"
    if what == "send" then return said(process.send(bad, "t")) end
    if what == "topic" then return said(process.send("{0123456789ab@app:host|1}", bad)) end
    if what == "cancel" then return said(process.cancel(bad)) end
    if what == "reason" then return said(process.cancel("{0123456789ab@app:host|1}", bad)) end
    if what == "monitor" then return said(process.monitor(bad)) end
    if what == "register" then return said(process.registry.register(bad)) end
    if what == "lookup" then return said(process.registry.lookup(bad)) end
    if what == "unregister" then return said(process.registry.unregister(bad)) end
    if what == "spawn" then return said(process.spawn(bad, "app:host")) end
    if what == "host" then return said(process.spawn("app:hears", bad)) end
    if what == "name" then return said(process.with_options({}):with_name(bad):spawn("app:hears", "app:host")) end
    if what == "message" then return said(process.with_options({}):with_message(bad):spawn("app:hears", "app:host")) end
    if what == "call" then return said(funcs.call(bad)) end
""")


@pytest.mark.parametrize("what", ["send", "topic", "cancel", "reason", "monitor", "register", "lookup", "unregister", "spawn", "host", "name", "message", "call"])
def test_text_that_is_no_utf_8_is_answered(client: Client, what: str) -> None:
    said = client.call(bytes_, what, timeout=20)
    print(what, said)
    assert client.call(still, timeout=20) == 1


still = act.function("still", "local pid = process.pid() assert(process.registry.register('n' .. pid)) process.registry.unregister('n' .. pid) return 1")

naps = act.function("naps", """
    local what = ...
    if what == "sleep" then coroutine.spawn(function() time.sleep(math.maxinteger) end) end
    if what == "after" then time.after(math.maxinteger) end
    time.sleep("20ms")
    return 1
""")


@pytest.mark.parametrize("what", ["sleep", "after"])
def test_the_longest_timer_stops_no_other(client: Client, what: str) -> None:
    assert client.call(naps, what, timeout=20) == 1
    assert client.call(naps, "", timeout=20) == 1
