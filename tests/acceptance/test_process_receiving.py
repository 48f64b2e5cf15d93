# ruff: noqa: E501 - Lua sources read better on one line
"""The mailbox of a process: subscriptions, the rule of delivery, and what a message is."""

from __future__ import annotations

from orchestration import Client
from tests.support.actors import scenes

project, act = scenes()


def in_a_process(name: str, body: str) -> str:
    """A process, and a function that returns what it gives. ``me(topic, ...)`` writes to oneself."""
    act.process(f"{name}_there", "local function me(...) assert(process.send(process.pid(), ...)) end\n" + body)
    return act.function(name, f'return process.exec("app:{name}_there", "app:host", ...)')


channels = in_a_process(
    "channels",
    """
    local inbox, events, t, m = process.inbox(), process.events(), process.listen("t"), process.listen("m", { message = true })
    local same = { process.inbox() == inbox, process.events() == events, process.listen("t") == t,
        process.listen("m") == m, process.listen("m", { message = false }) == m }
    me("t", 1)
    same[6] = channel.select { t:case_receive(), inbox:case_receive() }.channel == t
    return same
""",
)


def test_the_same_subscription_is_the_same_channel(client: Client) -> None:
    assert client.call(channels, timeout=10) == [True] * 6


wrong = in_a_process(
    "wrong",
    """
    local ok, err = process.unlisten(channel.new())
    return { said(process.listen("")), said(process.listen("@x")), raised(process.listen, 5), { ok, told(err) } }
""",
)


def test_wrong_topics_and_unknown_channels_are_said(client: Client) -> None:
    assert client.call(wrong, timeout=10) == [
        "Invalid false: topic cannot be empty", "Invalid false: cannot listen to @ topics",
        "bad argument #1 to 'listen' (string expected, got number)", [False, "NotFound false: channel not found"],
    ]  # fmt: skip


values = in_a_process(
    "values",
    """
    local t = process.listen("t")
    me("t") me("t", { 1 }) me("t", 1, nil, 3)
    local none, one, several = t:receive(), t:receive(), t:receive()
    local found = { none == nil, one, { several[1], several[2] == nil, several[3] } }
    me("t", "kept")
    assert(process.listen("t", { message = true }) == t and process.listen("t") == t)
    local kept = t:receive()
    me("t", "after")
    found[#found + 1] = { type(kept), t:receive():payload():data() }
    return found
""",
)


def test_a_listener_has_raw_values_until_it_wants_messages(client: Client) -> None:
    found = client.call(values, timeout=10)
    assert found[:3] == [True, [1], [1, True, 3]]
    assert found[3][1] == "after", "the later call without the option does not switch back"


exact = in_a_process(
    "exact",
    """
    local t, star, inbox = process.listen("t"), process.listen("*"), process.inbox()
    me("t2", 1) me("*", 2) me("T", 3) me("t", 4)
    return { inbox:receive():topic(), star:receive(), inbox:receive():topic(), (t:receive()) }
""",
)


def test_topics_match_exactly(client: Client) -> None:
    assert client.call(exact, timeout=10) == ["t2", 2, "T", 4]


before = in_a_process(
    "before",
    """
    me("a", 1) me("b", 2) me("a", 3) me("c", 4)
    local a = process.listen("a")
    local found = { a:receive(), a:receive() }
    local inbox = process.inbox()
    found[3], found[4] = inbox:receive():topic(), inbox:receive():topic()
    -- The inbox is there, but has not taken these: a listener that comes later gets them.
    me("d", 5) me("e", 6)
    local d = process.listen("d")
    found[5], found[6] = d:receive(), inbox:receive():topic()
    return found
""",
)


def test_messages_that_came_before_listen_are_delivered_to_it(client: Client) -> None:
    assert client.call(before, timeout=10) == [1, 3, "b", "c", 5, "e"]


fallback = in_a_process(
    "fallback",
    """
    local inbox, t = process.inbox(), process.listen("t")
    me("t", 1) me("other", 2) me("t", 3)
    local found = {}
    for i = 1, 3 do
        local picked = channel.select { inbox:case_receive(), t:case_receive() }
        found[i] = picked.channel == t and "listener " .. picked.value or "inbox " .. picked.value:topic()
    end
    return found
""",
)


def test_a_listened_topic_never_goes_to_the_inbox(client: Client) -> None:
    found = client.call(fallback, timeout=10)
    assert sorted(found) == ["inbox other", "listener 1", "listener 3"]


act.process(
    "held_there",
    """
    -- Nobody receives for a while: everything waits, in its order, and the events too.
    local to = ...
    process.send(to, "ready")
    time.sleep("30ms")
    local t = process.listen("t")
    local found = {}
    for i = 1, 20 do found[i] = t:receive() end
    found[#found + 1] = process.events():receive().kind
    process.send(to, "found", found)
""",
)
held = act.function(
    "held",
    """
    local ready, found = process.listen("ready"), process.listen("found")
    local pid = process.spawn("app:held_there", "app:host", process.pid())
    ready:receive()
    for i = 1, 20 do process.send(pid, "t", i) end
    process.cancel(pid)
    return found:receive()
""",
)


def test_nothing_is_lost_or_reordered_and_events_wait_for_their_reader(client: Client) -> None:
    assert client.call(held, timeout=10) == [*range(1, 21), "pid.cancel"]


unlisten = in_a_process(
    "unlisten",
    """
    local t, inbox = process.listen("t"), process.inbox()
    me("t", 1)
    local found = { t:receive(), process.unlisten(t) }
    local value, ok = t:receive()
    found[3], found[4] = tostring(value), ok
    me("t", 2)
    found[5] = inbox:receive():topic()
    local again = process.listen("t")
    found[6] = again ~= t
    me("t", 3)
    found[7] = again:receive()
    again:close()
    me("t", 4) me("t", 5)
    found[8] = inbox:receive():payload():data()
    return found
""",
)


def test_after_unlisten_messages_follow_the_rule_again(client: Client) -> None:
    found = client.call(unlisten, timeout=10)
    assert found[:7] == [1, True, "nil", False, "t", True, 3]
    assert found[7] == 5, "the first delivery to a channel that code has closed is dropped with the subscription"


waiting = in_a_process(
    "waiting",
    """
    local t = process.listen("t")
    local woken = channel.new(1)
    coroutine.spawn(function() woken:send({ tostring((t:receive())) }) end)
    time.sleep("1ms")
    process.unlisten(t)
    return woken:receive()
""",
)


def test_who_waits_on_a_channel_is_woken_when_its_subscription_ends(client: Client) -> None:
    assert client.call(waiting, timeout=10) == ["nil"]


messages = in_a_process(
    "messages",
    """
    local inbox, sender = process.inbox(), ...
    local found = {}
    me("none") me("one", { a = 1 }) me("several", 1, nil, 3)
    local none, one, several = inbox:receive(), inbox:receive(), inbox:receive()
    local list = several:payload()
    return { none:topic(), none:from() == process.pid(), none:payload() == nil, type(none), tostring(none),
        one:payload():data().a, type(one:payload()), #list, list[1]:data(), list[2]:data() == nil, list[3]:data() }
""",
)


def test_a_message_says_its_topic_sender_and_payload(client: Client) -> None:
    assert client.call(messages, timeout=10) == [
        "none", True, True, "userdata", "process.Message{topic=none}", 1, "userdata", 3, 1, True, 3,
    ]  # fmt: skip


def test_a_message_without_a_sender_says_so_with_an_empty_text(client: Client) -> None:
    assert client.call(unsent, timeout=10) == ["", ""]


act.process(
    "asks_for_sender",
    """
    local msg = process.inbox():receive()
    return { msg:from(), msg:payload():data() }
""",
)
unsent = act.function(
    "from_python",
    """
    local pid = process.with_options({}):with_message("t", ""):spawn_monitored("app:asks_for_sender", "app:host")
    return process.events():receive().result.value
""",
)

dropped = act.function(
    "dropped",
    """
    local pid = process.spawn_monitored("app:takes_one", "app:host")
    for i = 1, 5 do process.send(pid, "t", i) end
    return heard(process.events():receive())
""",
)
act.process("takes_one", "return process.inbox():receive():payload():data()")


def test_what_is_undelivered_at_the_end_is_dropped(client: Client) -> None:
    assert client.call(dropped, timeout=10) == ["pid.exit", 1]
