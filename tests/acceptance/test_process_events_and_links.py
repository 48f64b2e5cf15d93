# ruff: noqa: E501 - Lua sources read better on one line
"""Events, monitors and links between processes of one worker."""

from __future__ import annotations

import pytest

from orchestration import Client
from orchestration.errors import ApplicationError
from tests.support.actors import scenes

project, act = scenes()

act.process(
    "waits",
    """
    -- Ends as the first message says.
    local how = process.inbox():receive():topic()
    if how == "fail" then return nil, errors.new { message = "no", kind = "NotFound", retryable = false } end
    if how == "raise" then error("boom") end
    return how
""",
)
act.process("obeys", "return process.events():receive()")
act.process(
    "partner",
    """
    -- Linked to who is named first; says how it hears of its end, and ends if that says so.
    local to, traps, link_to = ...
    if traps then assert(process.set_options { trap_links = true }) end
    if link_to then assert(process.link(link_to)) end
    process.send(to, "ready", process.pid())
    if not traps then return process.inbox():receive():topic() end
    local event = process.events():receive()
    process.send(to, "heard", { event.kind, event.from, told(event.result.error) })
    process.inbox():receive()
""",
)
project.workflow(
    "flow",
    """
    return function()
        if process.inbox():receive():topic() == "fail" then return nil, "no luck" end
        return "done"
    end
""",
)

LINKED = "Internal nil: linked process failed"
FAILED = "NotFound false: no"


# Events ---------------------------------------------------------------------------------------------------------------

kinds = act.function(
    "kinds",
    """
    return { process.event.CANCEL, process.event.EXIT, process.event.LINK_DOWN, process.event.OUTDATED }
""",
)


def test_events_have_names(client: Client) -> None:
    assert client.call(kinds, timeout=10) == ["pid.cancel", "pid.exit", "pid.link.down", "pid.outdated"]


fields = act.function(
    "fields",
    """
    process.set_options { trap_links = true }
    local events, found = process.events(), {}
    local function note(event, pid)
        local names = {}
        for name in pairs(event) do names[#names + 1] = name end
        table.sort(names)
        found[#found + 1] = { table.concat(names, " "), event.kind, event.from == pid, math.type(event.at),
            math.abs(event.at - os.time()) < 5, event.error == nil, event.deadline == nil }
    end
    local pid = process.spawn_linked_monitored("app:waits", "app:host")
    process.send(pid, "fail")
    note(events:receive(), pid)
    note(events:receive(), pid)
    local asked = process.spawn_monitored("app:obeys", "app:host")
    process.cancel(asked, "why")
    local event = events:receive().result.value
    note(event, process.pid())
    found[#found + 1] = event.reason
    process.cancel(process.spawn_monitored("app:obeys", "app:host"))
    found[#found + 1] = events:receive().result.value.reason
    return found
""",
)


def test_fields_of_events(client: Client) -> None:
    ends = "at from kind result"
    assert client.call(fields, timeout=10) == [
        [ends, "pid.exit", True, "integer", True, True, True], [ends, "pid.link.down", True, "integer", True, True, True],
        ["at from kind reason", "pid.cancel", True, "integer", True, True, True], "why", "",
    ]  # fmt: skip


# Monitors -------------------------------------------------------------------------------------------------------------

monitored = act.function(
    "monitored",
    """
    local events, found = process.events(), {}
    for i, how in ipairs { "value", "fail", "raise", "terminate" } do
        local pid = process.spawn("app:waits", "app:host")
        found[i] = { process.monitor(pid), process.monitor(pid) }
        if how == "terminate" then process.terminate(pid) else process.send(pid, how) end
        local event = events:receive()
        found[i][3], found[i][4] = event.from == pid, heard(event)[2]
    end
    found[#found + 1] = silent(events)
    return found
""",
)


def test_a_monitor_brings_one_exit_for_each_kind_of_end_also_when_set_twice(client: Client) -> None:
    found = client.call(monitored, timeout=10)
    assert found.pop() is True
    assert [item[:3] for item in found] == [[True, True, True]] * 4
    ends = [item[3] for item in found]
    assert ends[:2] == ["value", FAILED]
    assert ends[2].startswith("Internal nil: waits.lua:")
    assert ends[3] == "Internal nil: process terminated"


missing = act.function(
    "missing",
    """
    local found = {}
    local pid = process.spawn("app:waits", "app:host")
    process.send(pid, "end")
    gone(pid)
    for _, dest in ipairs { pid, "nobody", "{0123456789ab@app:host|0x00001}", "{a@b|no-such-workflow}" } do
        local here = {}
        for i, verb in ipairs { "monitor", "link", "cancel", "terminate", "unmonitor", "unlink" } do
            here[i] = said(process[verb](dest))
        end
        found[#found + 1] = here
    end
    for i, verb in ipairs { "monitor", "unmonitor", "link", "unlink", "cancel", "terminate" } do
        found[#found + 1] = raised(process[verb], 5) == "bad argument #1 to '" .. verb .. "' (string expected, got number)"
    end
    found[#found + 1] = raised(process.cancel, pid, 5)
    return found
""",
)


def test_what_is_not_there_cannot_be_watched_or_ended_and_the_kind_is_internal(client: Client) -> None:
    ended, nobody, never, workflow, *raised = client.call(missing, timeout=10)
    for found in (ended, never):
        assert all(said.startswith("Internal false: pid not registered") for said in found[:2]), found
        assert all(said.startswith("Internal false: process not found") for said in found[2:4]), found
        assert found[4:] == [True, True], "unmonitor and unlink are idempotent"
    assert set(nobody) == {"Internal false: could not resolve 'nobody' as PID or registered name"}
    assert all(said.startswith("Internal false: process not found") for said in workflow[:4]), workflow
    assert raised[:-1] == [True] * 6
    assert raised[-1] == "bad argument #2 to 'cancel' (string expected, got number)"


undone = act.function(
    "undone",
    """
    local events, found = process.events(), {}
    for i, by_name in ipairs { false, true } do
        local pid = process.spawn_linked_monitored("app:waits", "app:host")
        local dest = by_name and "undone" or pid
        if by_name then assert(process.registry.register("undone", pid)) end
        found[#found + 1] = { process.unmonitor(dest), process.unmonitor(dest), process.unlink(dest), process.unlink(dest) }
        process.send(pid, "fail")
        found[#found + 1] = silent(events, "100ms")
    end
    return found
""",
)


def test_after_unmonitor_and_unlink_no_event_arrives(client: Client) -> None:
    assert client.call(undone, timeout=10) == [[True] * 4, True, [True] * 4, True]


# Links ----------------------------------------------------------------------------------------------------------------

options = act.function(
    "options",
    """
    local found = { process.get_options(), { process.set_options { trap_links = true } }, process.get_options() }
    local function refused(given)
        local ok, err = process.set_options(given)
        found[#found + 1] = { ok, told(err) }
    end
    refused(nil) refused("x") refused { trap_links = 1 } refused { other = true, trap_links = false }
    found[#found + 1] = process.get_options()
    found[#found + 1] = { process.set_options { upgradable = true } }
    return found
""",
)


def test_options_of_a_process(client: Client) -> None:
    assert client.call(options, timeout=10) == [
        {"trap_links": False}, [True], {"trap_links": True},
        [False, "Invalid false: options parameter must be a table"],
        [False, "Invalid false: options parameter must be a table"],
        [False, "Invalid false: trap_links must be a boolean"],
        [False, "Invalid false: option other is not supported"],
        {"trap_links": False}, [True],
    ]  # fmt: skip


links = act.function(
    "links",
    """
    -- Ends one of two linked processes: what the other hears or how it ends, whoever set the link and however often.
    local how, traps, reverse = ...
    local ready, heard_, events = process.listen("ready"), process.listen("heard"), process.events()
    local one = process.spawn_monitored("app:waits", "app:host")
    local other = process.spawn_monitored("app:partner", "app:host", process.pid(), traps, one)
    ready:receive()
    local ends, stays = one, other
    if reverse then ends, stays = other, one end
    if how == "terminate" then process.terminate(ends) else process.send(ends, how) end
    local first = events:receive()
    local found = { first.from == ends, heard(first)[2] }
    if traps and how ~= "value" then
        local event = heard_:receive()
        found[3] = { event[1], event[2] == ends, event[3] }
    elseif how ~= "value" then
        local second = events:receive()
        found[3] = { second.from == stays, heard(second)[2] }
    end
    found[#found + 1] = silent(events, "50ms")
    process.terminate(stays)
    return found
""",
)


@pytest.mark.parametrize("reverse", [False, True])
def test_an_abnormal_end_kills_whoever_is_linked_and_a_normal_one_does_not(client: Client, reverse: bool) -> None:
    assert client.call(links, "value", False, reverse, timeout=10) == [True, "value", True]
    ended = client.call(links, "terminate", False, reverse, timeout=10)
    assert ended == [True, "Internal nil: process terminated", [True, LINKED], True]


def test_with_trap_links_an_abnormal_end_is_an_event(client: Client) -> None:
    assert client.call(links, "fail", True, timeout=10) == [True, FAILED, ["pid.link.down", True, FAILED], True]


repeated = act.function(
    "repeated",
    """
    process.set_options { trap_links = true }
    local events = process.events()
    local pid = process.spawn_linked("app:waits", "app:host")
    assert(process.link(pid) and process.link(pid))
    process.send(pid, "fail")
    local found = { events:receive().kind, silent(events) }
    local other = process.spawn_linked("app:waits", "app:host")
    process.send(other, "value")
    found[3] = silent(events)
    return found
""",
)


def test_a_link_is_one_however_often_it_is_set_and_a_normal_end_dissolves_it(client: Client) -> None:
    assert client.call(repeated, timeout=10) == ["pid.link.down", True, True]


exit_first = act.function(
    "exit_first",
    """
    process.set_options { trap_links = true }
    local events, kinds = process.events(), {}
    for i = 1, 10 do
        local pid = process.spawn_linked_monitored("app:waits", "app:host")
        process.send(pid, "fail")
        kinds[#kinds + 1] = events:receive().kind
        kinds[#kinds + 1] = events:receive().kind
    end
    return kinds
""",
)


def test_of_one_end_exit_comes_before_link_down(client: Client) -> None:
    assert client.call(exit_first, timeout=10) == ["pid.exit", "pid.link.down"] * 10


chain = act.function(
    "chain_of_links",
    """
    local times = ...
    local ready, events = process.listen("ready"), process.events()
    local first = process.spawn_monitored("app:waits", "app:host")
    local last = first
    for i = 1, times do
        last = process.spawn_monitored("app:partner", "app:host", process.pid(), false, last)
        ready:receive()
    end
    process.terminate(first)
    local found = {}
    for i = 0, times do
        local said = heard(events:receive())[2]
        found[said] = (found[said] or 0) + 1
    end
    return found
""",
)


def test_a_failure_spreads_through_a_chain_of_links(client: Client) -> None:
    assert client.call(chain, 12, timeout=10) == {"Internal nil: process terminated": 1, LINKED: 12}


begins = act.function(
    "begins",
    """
    -- A parent that fails at once, linked to children that trap in their first line, and to some that do not.
    local ready, events = process.listen("ready"), process.events()
    local found = {}
    for i, traps in ipairs { true, false } do
        local parent = process.spawn_monitored("app:parent", "app:host", process.pid(), traps)
        local child = ready:receive()
        local watched = process.monitor(child)
        if traps then
            found[i] = process.send(child, "end")
        else
            found[i] = not watched or heard(events:receive()) ~= nil
        end
    end
    return found
""",
)
act.process(
    "parent",
    """
    local to, traps = ...
    process.spawn_linked("app:partner", "app:host", to, traps)
    error("gone at once")
""",
)


def test_who_traps_links_in_its_first_step_hears_of_an_end_that_came_before(client: Client) -> None:
    for _ in range(5):
        assert client.call(begins, timeout=10) == [True, True]


killed = act.function(
    "killed",
    """
    process.spawn_linked("app:raises", "app:host")
    process.listen("nothing"):receive()
""",
)
act.process("raises", "error('boom')")


def test_a_broken_link_kills_a_function_that_never_asked_for_events(client: Client) -> None:
    with pytest.raises(ApplicationError, match="linked process failed") as caught:
        client.call(killed, timeout=10)
    assert (caught.value.kind, caught.value.retryable) == ("Internal", None)


to_workflows = act.function(
    "to_workflows",
    """
    process.set_options { trap_links = true }
    local events, found = process.events(), {}
    for i, how in ipairs { "value", "fail" } do
        local pid = process.spawn("app:flow", "celery")
        assert(process.link(pid) and process.link(pid))
        process.send(pid, how)
        local event = events:receive()
        found[i] = { event.from == pid, heard(event) }
    end
    return found
""",
)


def test_a_link_to_a_workflow_tells_of_its_normal_end_too(client: Client) -> None:
    assert client.call(to_workflows, timeout=10) == [
        [True, ["pid.exit", "done"]], [True, ["pid.link.down", "Internal false: no luck"]],
    ]  # fmt: skip


forgotten = act.function(
    "forgotten",
    """
    -- Watchers and partners that have ended are forgotten: the target's end reaches nobody else by mistake.
    local events = process.events()
    local target = process.spawn_monitored("app:waits", "app:host")
    for i = 1, 3 do
        local watcher = process.spawn("app:watches_and_ends", "app:host", target)
        gone(watcher)
    end
    local alive = process.send(target, "value")
    return { alive, heard(events:receive()) }
""",
)
act.process("watches_and_ends", "return process.monitor((...)) and process.link((...))")


def test_a_watcher_that_has_ended_is_forgotten(client: Client) -> None:
    assert client.call(forgotten, timeout=10) == [True, ["pid.exit", "value"]]


# Others watch a function while it runs --------------------------------------------------------------------------------

watched = act.function(
    "watched",
    """
    local to, how = ...
    local answers = process.listen("answer")
    process.send(to, "here", process.pid())
    local answer = answers:receive()
    if how == "fail" then return nil, errors.new { message = answer, kind = "Conflict", retryable = true } end
    return answer
""",
)
act.process(
    "watches",
    """
    local to, how = ...
    local here, events = process.listen("here"), process.events()
    process.send(to, "here", process.pid())
    local pid = here:receive()
    assert(process.monitor(pid))
    assert(process.send(pid, "answer", "42"))
    local event = events:receive()
    return { event.from == pid, heard(event)[2], said(process.send(pid, "late")):match("not found") }
""",
)
functions = act.function(
    "functions",
    """
    local here, events, how = process.listen("here"), process.events(), ...
    local watcher = process.spawn_monitored("app:watches", "app:host", process.pid())
    here:receive()
    local future = funcs.async("app:watched", watcher, how)
    local found = { heard(events:receive())[2] }
    future:response():receive()
    local payload, err = future:result()
    found[2] = said(payload and payload:data(), err)
    return found
""",
)


def test_others_send_to_a_function_and_watch_it_while_it_runs(client: Client) -> None:
    assert client.call(functions, "value", timeout=10) == [[True, "42", "not found"], "42"]
    assert client.call(functions, "fail", timeout=10) == [[True, "Conflict true: 42", "not found"], "Conflict true: 42"]


observed = act.function(
    "observed",
    """
    local ready = process.listen("ready")
    local pid = process.with_options({}):with_name("observer"):spawn("app:observer", "app:host", process.pid())
    ready:receive()
    return { "seen by", pid }
""",
)
act.process(
    "observer",
    """
    local inbox, events, who = process.inbox(), process.events(), ...
    assert(process.monitor(who))
    process.send(who, "ready")
    local event = events:receive()
    process.send(inbox:receive():from(), "saw", { event.from == who, heard(event)[2] })
""",
)
ask = act.function(
    "ask",
    """
    local saw = process.listen("saw")
    assert(process.send("observer", "ask"))
    return saw:receive()
""",
)


def test_a_function_that_python_called_is_watched_too(client: Client) -> None:
    said = client.call(observed, timeout=10)
    assert client.call(ask, timeout=10) == [True, said]
