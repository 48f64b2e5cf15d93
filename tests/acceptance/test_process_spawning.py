# ruff: noqa: E501 - Lua sources read better on one line
"""Processes are started: by functions and processes, with builders, and by exec."""

from __future__ import annotations

import re
import time

import pytest

from orchestration import Client
from tests.support.actors import scenes

project, act = scenes(env={"ORCHESTRATION_HOSTS": "app:host"})
project.host("unserved", lifecycle={"start_timeout": "1s"})
project.entry("file", "registry.entry")

act.process("echo", "return ...")
act.process("itself", "return { process.pid(), process.id(), process.pid() }")
act.process("fails", "return nil, errors.new { message = 'no', kind = 'NotFound', retryable = false }")
act.process("raises", "error('boom')")
act.process("waits", "process.inbox():receive()")
act.process(
    "collects",
    """
    local inbox, found = process.inbox(), {}
    for i = 1, (...) do
        local msg = inbox:receive()
        local payload = msg:payload()
        found[i] = { msg:topic(), msg:from(), type(payload) == "table" and #payload or payload and payload:data() or "none" }
    end
    return found
""",
)
act.process("context", "return ctx.all()")
act.process(
    "arguments",
    """
    local args = table.pack(...)
    local first = args[1]
    if type(first) == "table" then first.changed = true end
    return { n = args.n, types = { type(args[1]), type(args[2]), math.type(args[3]), math.type(args[4]),
        type(args[5]), type(args[6]), type(args[7]), type(args[8]) }, binary = args[8] == "\\0\\255", inner = first.a }
""",
)
project.process("table", "return { main = function() return 'main' end, other = function() return 'other' end }")
project.lua("method", "process.lua", "return { main = function() end, other = function() return 'other' end }",
            method="other")  # fmt: skip
project.process("no_method", "return { other = 1 }")
project.process("broken", "error('never loaded')")
project.workflow("flow", "return function(...) return process.id() end")


# What a process is called, and what its spawner hears -----------------------------------------------------------------

own = act.function(
    "own",
    """
    local function look() return { process.pid(), process.id(), process.pid() } end
    return { here = look(), there = process.exec("app:itself", "app:host"), again = process.exec("app:itself", "app:host") }
""",
)


def test_a_process_knows_its_pid_and_the_id_of_its_entry(client: Client) -> None:
    found = client.call(own, timeout=10)
    for (pid, entry, again), place in (
        (found["here"], own),
        (found["there"], "app:host"),
        (found["again"], "app:host"),
    ):
        assert pid == again
        assert re.fullmatch(rf"\{{[0-9a-f]{{12}}@{place}\|0x[0-9a-f]{{5,}}\}}", pid), "{node@host|number}"
        assert entry == (own if place == own else "app:itself")
    assert found["there"][0] != found["again"][0], "no address is used twice"


variants = act.function(
    "variants",
    """
    local verb, id, times = ...
    local events, found = process.events(), {}
    process.set_options { trap_links = true }
    local pid = assert(process[verb](id, "app:host", 1))
    for i = 1, times do
        local event = events:receive()
        assert(event.from == pid)
        found[i] = heard(event)
    end
    if not silent(events) then found[#found + 1] = "more" end
    return found
""",
)
FAILED = "NotFound false: no"


@pytest.mark.parametrize(("verb", "entry", "events"), [
    ("spawn", "app:echo", []), ("spawn", "app:fails", []),
    ("spawn_monitored", "app:echo", [["pid.exit", 1]]), ("spawn_monitored", "app:fails", [["pid.exit", FAILED]]),
    ("spawn_linked", "app:echo", []), ("spawn_linked", "app:fails", [["pid.link.down", FAILED]]),
    ("spawn_linked_monitored", "app:echo", [["pid.exit", 1]]),
    ("spawn_linked_monitored", "app:fails", [["pid.exit", FAILED], ["pid.link.down", FAILED]]),
])  # fmt: skip
def test_each_spawn_tells_its_caller_of_the_end_as_it_says(
    client: Client, verb: str, entry: str, events: list[object]
) -> None:
    assert client.call(variants, verb, entry, len(events), timeout=10) == events


missed = act.function(
    "missed",
    """
    local events, n = process.events(), 0
    process.set_options { trap_links = true }
    for i = 1, 40 do assert(process.spawn_linked_monitored(i % 2 == 0 and "app:echo" or "app:fails", "app:host")) end
    while n < 60 do events:receive() n = n + 1 end
    return silent(events)
""",
)


def test_monitors_and_links_are_there_before_the_process_runs(client: Client) -> None:
    assert client.call(missed, timeout=10) is True, "40 exits and 20 broken links, however short the processes"


arguments = act.function(
    "arguments_of",
    """
    local shared = { a = { b = 1 } }
    local found = process.exec("app:arguments", "app:host", shared, nil, 1, 1.0, channel.new(), print, time.now(), "\\0\\255", nil)
    found.unchanged = shared.changed == nil
    return found
""",
)


def test_arguments_are_copied_and_channels_objects_and_functions_become_nil(client: Client) -> None:
    found = client.call(arguments, timeout=10)
    assert found.pop("types") == ["table", "nil", "integer", "float", "nil", "nil", "nil", "string"]
    assert found == {"n": 9, "binary": True, "inner": {"b": 1}, "unchanged": True}


# What is wrong --------------------------------------------------------------------------------------------------------

wrong = act.function(
    "wrong",
    """
    local found = {}
    for _, verb in ipairs { "spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored" } do
        found[verb] = { said(process[verb]()), said(process[verb]("app:echo")), said(process[verb]("app:none", "app:host")),
            said(process[verb]("app:file", "app:host")), said(process[verb]("app:echo", "app:none")),
            said(process[verb]("app:flow", "app:host")), raised(process[verb], 5, "app:host") }
    end
    return found
""",
)


def test_what_is_wrong_with_a_spawn_is_returned(client: Client) -> None:
    for verb, said in client.call(wrong, timeout=10).items():
        few = f"Invalid false: {verb} requires at least id and host arguments"
        missing = "NotFound false: factory not found"
        no_text = f"bad argument #1 to '{verb}' (string expected, got number)"
        assert said == [few, few, missing, missing, "NotFound false: host not found", missing, no_text]


unloaded = act.function(
    "unloaded",
    """
    local found = {}
    for i, id in ipairs { "app:table", "app:method", "app:no_method", "app:broken" } do
        found[i] = said(process.exec(id, "app:host"))
        local pid, err = process.spawn_monitored(id, "app:host")
        if not pid then found[i] = { found[i], told(err) } end
    end
    return found
""",
)


def test_a_chunk_gives_the_function_that_method_names_or_the_spawn_fails(client: Client) -> None:
    by_table, by_method, without, broken = client.call(unloaded, timeout=10)
    assert (by_table, by_method) == ("main", "other")
    assert without == ['NotFound false: method "main" not found in module'] * 2
    assert broken[0] == broken[1]
    assert broken[0].startswith("Internal nil: broken.lua:1: never loaded")


nowhere = act.function("nowhere", "return said(process[(...)]('app:echo', 'app:unserved'))")


@pytest.mark.parametrize("verb", ["spawn_monitored", "exec"])
def test_a_spawn_on_a_host_that_nobody_serves_is_unavailable_after_its_start_timeout(client: Client, verb: str) -> None:
    begun = time.monotonic()
    said = client.call(nowhere, verb, timeout=10)
    assert said == "Unavailable false: host is not running: no worker has served app:unserved for 1 s"
    assert 1 <= time.monotonic() - begun < 8


# The builder ----------------------------------------------------------------------------------------------------------

built = act.function(
    "built",
    """
    local base = process.with_options({ a = 1 })
    local one = base:with_context({ who = "one", deep = { 1 } }):with_context({ more = true })
    local two = base:with_context({ who = "two" })
    local inherited = process.with_context({ who = "mine" })
    return { one:exec("app:context", "app:host"), two:exec("app:context", "app:host"),
        base:exec("app:context", "app:host"), inherited:exec("app:context", "app:host"),
        process.exec("app:context", "app:host") }
""",
)


def test_a_builder_does_not_change_and_lays_its_context_over_the_inherited(client: Client) -> None:
    mine = {"given": "by the client"}
    found = client.call(act_with_context, timeout=10)
    assert found == [
        {**mine, "who": "one", "deep": [1], "more": True}, {**mine, "who": "two"}, mine, {**mine, "who": "mine"}, mine,
    ]  # fmt: skip


act_with_context = act.function(
    "with_context", "return funcs.new():with_context({ given = 'by the client' }):call('app:built')"
)

builders = act.function(
    "builders",
    """
    local events, found = process.events(), {}
    process.set_options { trap_links = true }
    local b = process.with_options({})
    for _, verb in ipairs { "spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored" } do
        assert(b[verb](b, "app:fails", "app:host"))
        for i = 1, #verb > 15 and 2 or #verb > 5 and 1 or 0 do events:receive() end
        found[verb] = said(b[verb](b, "app:fails"))
        found[verb .. " none"] = said(b[verb](b, "app:fails", "app:none"))
    end
    found.exec = said(b:exec("app:fails", "app:host"))
    return found
""",
)


def test_each_spawn_of_a_builder_checks_what_the_module_checks(client: Client) -> None:
    found = client.call(builders, timeout=10)
    for verb in ("spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored"):
        assert found[verb] == f"Invalid false: {verb} requires at least id and host arguments"
        assert found[f"{verb} none"] == "NotFound false: host not found"
    assert found["exec"] == FAILED


refusals = act.function(
    "refusals",
    """
    local b = process.with_options({})
    return {
        raised(b.with_name, b, ""), raised(b.with_name, b), raised(b.with_message, b, "@x"), raised(b.with_message, b),
        raised(b.with_actor, b, nil), raised(b.with_scope, b, nil), raised(b.with_options, b, { 1 }),
        raised(b.with_context, b, "x"), raised(process.with_options, 1), raised(process.with_context),
        raised(b.spawn, nil, "app:echo", "app:host"),
    }
""",
)


def test_wrong_arguments_of_a_builder_raise(client: Client) -> None:
    assert client.call(refusals, timeout=10) == [
        "name cannot be empty", "bad argument #2 to 'with_name' (string expected, got no value)",
        "cannot send to @ topics", "bad argument #2 to 'with_message' (string expected, got no value)",
        "actor cannot be nil", "scope cannot be nil", "bad argument #2 to 'with_options' (option keys must be strings)",
        "bad argument #2 to 'with_context' (table expected, got string)",
        "bad argument #1 to 'with_options' (table expected, got number)",
        "bad argument #1 to 'with_context' (table expected, got no value)",
        "bad argument #1 to 'spawn' (builder expected, got no value)",
    ]  # fmt: skip


messages = act.function(
    "messages",
    """
    local b = process.with_options({}):with_message("a"):with_message("b", 1):with_message("a", 1, 2, 3)
    local pid = b:with_message("last", 1):spawn_monitored("app:collects", "app:host", 5)
    process.send(pid, "after", 1)
    return { process.events():receive().result.value, process.pid() }
""",
)


def test_startup_messages_come_first_in_their_order_and_have_no_sender(client: Client) -> None:
    found, me = client.call(messages, timeout=10)
    assert found == [["a", "", "none"], ["b", "", 1], ["a", "", 3], ["last", "", 1], ["after", me, 1]]


# exec -----------------------------------------------------------------------------------------------------------------

execs = act.function(
    "execs",
    """
    local beside
    coroutine.spawn(function() beside = "ran" end)
    return {
        process.exec("app:echo", "app:host", { 1, 2 }), beside, said(process.exec("app:fails", "app:host")),
        said(process.exec("app:raises", "app:host")), said(process.exec("app:none", "app:host")),
        said(process.exec("app:echo", "app:none")),
        said(process.exec("app:echo")), said(process.exec("", "app:host")), said(process.exec("echo", "app:host")),
        said(process.exec(":echo", "app:host")), said(process.exec("app:echo", "")),
    }
""",
)


def test_exec_gives_the_value_or_the_error_of_the_end_and_checks_its_arguments(client: Client) -> None:
    found = client.call(execs, timeout=10)
    assert found[:3] == [[1, 2], "ran", FAILED]
    assert re.fullmatch(r"Internal nil: raises.lua:\d+: boom", found[3])
    assert found[4:6] == ["NotFound false: factory not found", "NotFound false: host not found"]
    assert found[6:] == [
        "Invalid false: exec requires id and host arguments", "Invalid false: process ID required",
        *["Invalid false: invalid process ID format (namespace:name required)"] * 2, "Invalid false: host ID required",
    ]  # fmt: skip


act.process(
    "executes",
    """
    process.send((...), "begun", process.pid())
    process.exec("app:outlives", "app:host", ...)
""",
)
act.process(
    "outlives",
    """
    local parent = ...
    local inbox, events = process.inbox(), process.events()
    process.send(parent, "child", process.pid())
    inbox:receive()
    return silent(events, "1ms")
""",
)
outlived = act.function(
    "outlived",
    """
    local begun, child = process.listen("begun"), process.listen("child")
    assert(process.spawn("app:executes", "app:host", process.pid()))
    local parent, pid = begun:receive(), child:receive()
    assert(process.monitor(pid))
    process.terminate(parent)
    gone(parent)
    assert(process.send(pid, "end"))
    return heard(process.events():receive())
""",
)


def test_the_death_of_who_executes_does_not_end_the_child(client: Client) -> None:
    assert client.call(outlived, timeout=10) == ["pid.exit", True]


workflows = act.function(
    "workflows",
    """
    local pid = process.spawn_monitored("app:flow", "celery")
    return { pid, process.events():receive().result.value, process.exec("app:flow", "celery") }
""",
)


def test_on_a_host_that_is_a_worker_the_id_is_the_type_of_a_workflow(client: Client) -> None:
    pid, spawned, executed = client.call(workflows, timeout=10)
    assert pid.startswith("{celery@default|")
    assert (spawned, executed) == ("app:flow", "app:flow")
