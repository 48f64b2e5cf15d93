# ruff: noqa: E501 - Lua sources read better on one line
"""Processes on different workers, one with threads and one with prefork: as on one; and what happens when one dies or stops."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from orchestration import Client
from orchestration.embedded import EmbeddedRedis
from tests.support.actors import scenes
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, deployed
from tests.support.waiting import wait_until
from tests.support.workers import WorkerProcess

# Functions run on the first worker alone; each worker serves one host.
project, act = scenes(pool="threads", concurrency=4)
for name in ("one", "two", "three"):
    project.host(name, lifecycle={"stop_timeout": "2s"})


@pytest.fixture(scope="module")
def both(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two workers: ``app:one`` is served by one with threads, ``app:two`` by one with prefork."""
    with deployed(project, tmp_path_factory.mktemp("across"), empty_database(redis_server)) as deployment:
        workers = [
            deployment.worker(options=["--hosts", "app:one"], wait=False),
            deployment.worker(
                options=["--hosts", "app:two"], pool="prefork", concurrency=1, queues=["unused"], wait=False
            ),
        ]
        for worker in workers:
            worker.wait_until_ready()
        deployment.wait_for_hosts("app:one", "app:two")
        yield deployment


@pytest.fixture
def nobody_serves_three(both: Deployment) -> None:
    """One that an earlier test has killed is given processes for another moment."""
    wait_until(lambda: not both.serving("app:three"), deadline_s=30)


@pytest.fixture
def client(both: Deployment) -> Client:
    return both.client


@pytest.fixture
def third(both: Deployment, nobody_serves_three: None) -> Iterator[WorkerProcess]:
    """A worker that serves ``app:three`` and that a test may end in any way."""
    worker = both.worker(options=["--hosts", "app:three"], queues=["unused"], concurrency=1)
    both.wait_for_hosts("app:three")
    yield worker
    worker.kill()


run = act.function("run", """
    -- Runs a scene on the first worker; its partners are on the second.
    return said(process.exec("app:" .. ..., "app:one", select(2, ...)))
""")


def scene(name: str, body: str) -> str:
    act.process(name, body)
    return name


act.process("waits", """
    local inbox = process.inbox()
    while true do
        local msg = inbox:receive()
        local how = msg:topic()
        if how == "fail" then return nil, errors.new { message = "no", kind = "NotFound", retryable = false } end
        if how == "value" then return { "value", process.pid() } end
        if how == "echo" then process.send(msg:from(), "echo", msg:payload():data()) end
    end
""")
act.process("echo", "return ...")
act.process("fails", "return nil, errors.new { message = 'no', kind = 'NotFound', retryable = false }")
act.process("collects", """
    local inbox, found = process.inbox(), {}
    for i = 1, (...) do found[i] = inbox:receive():payload():data() end
    return { found, process.pid() }
""")
FAILED = "NotFound false: no"
LINKED = "Internal nil: linked process failed"

variants = scene("variants", """
    local events, found = process.events(), {}
    process.set_options { trap_links = true }
    for _, verb in ipairs { "spawn_monitored", "spawn_linked", "spawn_linked_monitored" } do
        local here = {}
        for i, id in ipairs { "app:echo", "app:fails" } do
            local pid = assert(process[verb](id, "app:two", { 1 }, nil, "x"))
            local n = verb == "spawn_linked_monitored" and i or (verb == "spawn_monitored" or i == 2) and 1 or 0
            for _ = 1, n do
                local event = events:receive()
                assert(event.from == pid)
                here[#here + 1] = heard(event)
            end
        end
        found[#found + 1] = here
    end
    found[#found + 1] = silent(events)
    return found
""")


def test_each_spawn_on_another_worker_tells_of_the_end_as_on_the_own(client: Client) -> None:
    exits, down = [["pid.exit", [1]], ["pid.exit", FAILED]], ["pid.link.down", FAILED]
    assert client.call(run, variants, timeout=30) == [exits, [down], [*exits, down], True]


wrong = scene("wrong", """
    local ended = process.spawn_monitored("app:echo", "app:two")
    process.events():receive()
    return { said(process.spawn("app:none", "app:two")), said(process.exec("app:fails", "app:two")),
        said(process.exec("app:echo", "app:two", "value")), said(process.send(ended, "x")), said(process.monitor(ended)),
        said(process.link(ended)), said(process.cancel(ended)), said(process.terminate(ended)), process.unmonitor(ended) }
""")


def test_errors_from_another_worker_are_those_of_the_own(client: Client) -> None:
    none, failed, value, send, monitor, link, cancel, terminate, unmonitor = client.call(run, wrong, timeout=30)
    assert (none, failed, value, unmonitor) == ("NotFound false: factory not found", FAILED, "value", True)
    assert send.startswith("NotFound false: process not found")
    for said in (monitor, link):
        assert said.startswith("Internal false: pid not registered")
    for said in (cancel, terminate):
        assert said.startswith("Internal false: process not found")


watching = scene("watching", """
    local events, found = process.events(), {}
    process.set_options { trap_links = true }
    for i, how in ipairs { "value", "fail", "terminate", "undone" } do
        local pid = process.spawn("app:waits", "app:two")
        local dest = pid
        if i % 2 == 0 then
            dest = "watched-" .. i
            assert(process.registry.register(dest, pid))
        end
        assert(process.monitor(dest) and process.monitor(dest) and process.link(dest) and process.link(dest))
        if how == "undone" then
            assert(process.unmonitor(dest) and process.unlink(dest) and process.unlink(dest))
            process.terminate(dest)
            found[i] = silent(events, "150ms")
        else
            if how == "terminate" then assert(process.terminate(dest)) else assert(process.send(dest, how)) end
            found[i] = {}
            for n = 1, how == "value" and 1 or 2 do
                local event = events:receive()
                assert(event.from == pid)
                found[i][n] = event.kind
            end
        end
    end
    found[#found + 1] = silent(events)
    return found
""")


def test_monitors_and_links_reach_across_by_pid_and_by_name(client: Client) -> None:
    both_events = ["pid.exit", "pid.link.down"]
    assert client.call(run, watching, timeout=30) == [["pid.exit"], both_events, both_events, True, True]


act.process("partner", """
    local to, other = ...
    assert(process.link(other))
    process.send(to, "ready")
    process.inbox():receive()
""")
chain = scene("chain", """
    local ready, events = process.listen("ready"), process.events()
    local first = process.spawn_monitored("app:waits", "app:two")
    local last = first
    for i = 1, 6 do
        last = process.spawn_monitored("app:partner", i % 2 == 0 and "app:two" or "app:one", process.pid(), last)
        ready:receive()
    end
    process.send(first, "fail")
    local found = {}
    for i = 0, 6 do
        local said = heard(events:receive())[2]
        found[said] = (found[said] or 0) + 1
    end
    return found
""")


def test_a_failure_spreads_from_worker_to_worker(client: Client) -> None:
    assert client.call(run, chain, timeout=30) == {FAILED: 1, LINKED: 6}


ordered = scene("ordered", """
    local events = process.events()
    local pid = process.spawn_monitored("app:collects", "app:two", 200)
    for i = 1, 200 do assert(process.send(pid, "topic " .. i % 5, i)) end
    return events:receive().result.value[1]
""")


def test_messages_to_another_worker_keep_their_order(client: Client) -> None:
    assert client.call(run, ordered, timeout=30) == list(range(1, 201))


act.process("takes_part", """
    local to, name, host = ...
    process.send(to, "ready", process.pid())
    process.inbox():receive()
    local pid, err = process.with_options({}):with_name(name):with_message("hello", process.pid())
        :spawn_monitored("app:collects", host, 2)
    process.send(to, "pid", said(pid, err))
    local found = process.events():receive().result.value[1]
    process.send(to, "found", #found)
    process.inbox():receive()
""")
race = scene("race", """
    -- Two workers spawn under one name at the same time.
    local name = ...
    local ready, pids, found = process.listen("ready"), process.listen("pid"), process.listen("found")
    for _, host in ipairs { "app:one", "app:two" } do
        process.spawn("app:takes_part", host, process.pid(), name, host)
    end
    local both = { (ready:receive()), (ready:receive()) }
    for i = 1, 2 do process.send(both[i], "go") end
    local one, two = pids:receive(), pids:receive()
    local result = { one == two, found:receive() + found:receive(), said(process.registry.lookup(name)) }
    for i = 1, 2 do process.terminate(both[i]) end
    return result
""")


def test_of_two_spawns_under_one_name_on_two_workers_one_starts_and_the_other_signals(client: Client) -> None:
    for n in range(5):
        found = client.call(run, race, f"race-{n}", timeout=30)
        assert found == [True, 4, "NotFound false: name not registered"], "each is told of the end of both messages' reader"


names = scene("names", """
    local echo, found = process.listen("echo"), {}
    local pid = process.with_options({}):with_name("over there"):spawn("app:waits", "app:two")
    found[1] = process.registry.lookup("over there") == pid
    found[2] = said(process.registry.register("over there"))
    assert(process.send("over there", "echo", "by name"))
    found[3] = echo:receive()
    found[4] = process.registry.unregister("over there")
    found[5] = said(process.send("over there", "echo", 1))
    assert(process.registry.register("again", pid) and process.monitor("again"))
    process.send("again", "value")
    process.events():receive()
    found[6], found[7] = said(process.registry.lookup("again")), process.registry.register("again")
    return found
""")


def test_names_are_those_of_the_whole_deployment(client: Client) -> None:
    free = "NotFound false: name not registered"
    assert client.call(run, names, timeout=30) == [
        True, "AlreadyExists false: name already registered", "by name", True,
        "NotFound false: could not resolve 'over there' as PID or registered name", free, True,
    ]  # fmt: skip


signals = scene("signals", """
    -- The name is that of a process on one worker; it is spawned again on a host of the other.
    local events, found = process.events(), {}
    process.set_options { trap_links = true }
    for i, hosts in ipairs { { "app:one", "app:two" }, { "app:two", "app:one" }, { "app:two", "app:two" } } do
        local builder = process.with_options({}):with_name("signals-" .. i)
        local pid = builder:spawn("app:waits", hosts[1])
        local again = builder:with_message("x"):spawn_linked_monitored("app:waits", hosts[2])
        local executed = channel.new(1)
        coroutine.spawn(function() executed:send({ said(builder:with_message("fail"):exec("app:waits", hosts[2])) }) end)
        local one, two = events:receive(), events:receive()
        found[i] = { again == pid, one.from == pid and heard(one), two.from == pid and heard(two), executed:receive()[1] }
    end
    return found
""")


def test_a_spawn_under_a_name_of_another_worker_watches_and_signals_whoever_has_it(client: Client) -> None:
    wanted = [True, ["pid.exit", FAILED], ["pid.link.down", FAILED], FAILED]
    assert client.call(run, signals, timeout=30) == [wanted] * 3


orphans = scene("orphans", """
    -- A parent that is terminated while it starts a child that is linked to it.
    local born, events, found = process.listen("born"), process.events(), {}
    for i, host in ipairs { "app:one", "app:two", "app:one", "app:two", "app:one", "app:two" } do
        local parent = process.spawn_monitored("app:parent", "app:one", process.pid(), host)
        process.send(parent, "go")
        process.terminate(parent)
        events:receive()
        local picked = channel.select { born:case_receive(), time.after("300ms"):case_receive() }
        if picked.channel == born and process.monitor(picked.value) then
            found[i] = heard(events:receive())[2]
        else
            found[i] = "gone"
        end
    end
    return found
""")
act.process("parent", """
    local to, host = ...
    process.inbox():receive()
    process.spawn_linked("app:child", host, to)
    process.inbox():receive()
""")
act.process("child", "process.send((...), 'born', process.pid()) process.inbox():receive()")


def test_a_child_that_is_linked_to_a_parent_that_has_just_ended_ends_too(client: Client) -> None:
    assert set(client.call(run, orphans, timeout=30)) <= {"gone", LINKED}


upgrade = scene("upgrade", """
    local pid = process.spawn_linked_monitored("app:upgrades", "app:two", process.pid())
    local here = process.listen("here")
    local old, new = here:receive(), here:receive()
    process.send(pid, "value")
    local event = process.events():receive()
    return { old == pid and new == pid, event.from == pid, event.result.value[1] }
""")
act.process("upgrades", """
    process.send((...), "here", process.pid())
    process.upgrade("app:upgraded", ...)
""")
act.process("upgraded", """
    process.send((...), "here", process.pid())
    return { process.inbox():receive():topic() }
""")


def test_an_upgrade_keeps_monitors_from_another_worker(client: Client) -> None:
    assert client.call(run, upgrade, timeout=30) == [True, True, "value"]


# A worker dies, stops, or stalls --------------------------------------------------------------------------------------

act.process("watcher", """
    -- Watches a process of the third worker, and tells what it has heard to whoever asks.
    local to, how = ...
    process.set_options { trap_links = true }
    local inbox, events, found = process.inbox(), process.events(), {}
    local pid = process.with_options({}):with_name("victim"):spawn_linked_monitored("app:victim", "app:three", process.pid(), how)
    if how == "killed" then
        coroutine.spawn(function()
            table.insert(found, { "exec", true, said(process.exec("app:victim", "app:three", process.pid(), how)) })
        end)
        coroutine.spawn(function() table.insert(found, { "call", true, said(funcs.call("app:called", process.pid())) }) end)
        inbox:receive()
        inbox:receive()
    end
    process.send(to, "pid", said(pid))
    while true do
        local picked = channel.select { inbox:case_receive(), events:case_receive() }
        local value = picked.value
        if picked.channel == events then
            found[#found + 1] = { value.kind, value.from == pid, said(value.result.value, value.result.error) }
        elseif value:topic() == "ask" then
            process.send(value:from(), "found", found)
        elseif value:topic() == "end" then
            break
        else
            found[#found + 1] = { value:topic(), value:from() == pid, value:payload() and value:payload():data() or "none" }
        end
    end
""")
act.process("victim", """
    local to, how = ...
    if how == "ticks" then
        while true do
            process.send(to, "tick")
            time.sleep("100ms")
        end
    end
    if how == "killed" and process.registry.lookup("victim") ~= process.pid() then process.send(to, "begun") end
    local event = process.events():receive()
    process.send(to, event.kind, event.reason)
    if how == "obeys" then return "obeyed" end
    process.inbox():receive()
""")
act.process("called", """
    process.send((...), "begun")
    process.inbox():receive()
""", meta={"default_host": "app:three"})
begin = act.function("begin", """
    local pids = process.listen("pid")
    local watcher = process.spawn("app:watcher", "app:one", process.pid(), (...))
    return { watcher, (pids:receive()) }
""")
look = act.function("look", """
    local watcher, found = (...), process.listen("found")
    assert(process.send(watcher, "ask"))
    return found:receive()
""")
after = act.function("after", """
    local watcher, pid = ...
    process.send(watcher, "end")
    return { said(process.send(pid, "x")), said(process.send("victim", "x")), said(process.registry.lookup("victim")),
        said(process.monitor(pid)), process.registry.register("victim") }
""")


def events_of(client: Client, watcher: str, count: int, *, deadline_s: float) -> list[list[Any]]:
    """What the watcher has heard, but for ticks, when there is so much of it."""

    found: list[list[Any]] = []

    def heard() -> bool:
        found[:] = [event for event in client.call(look, watcher, timeout=20) if event[0] != "tick"]
        return len(found) >= count

    wait_until(heard, deadline_s=deadline_s, every_s=0.2, message=lambda: f"{count} events, only {found}")
    return found


def is_forgotten(client: Client, watcher: str, pid: str) -> None:
    to_pid, to_name, name, monitor, taken = client.call(after, watcher, pid, timeout=20)
    assert to_pid.startswith("NotFound false: process not found")
    assert to_name == "NotFound false: could not resolve 'victim' as PID or registered name"
    assert name == "NotFound false: name not registered"
    assert monitor.startswith("Internal false: pid not registered")
    assert taken is True


def test_when_a_worker_is_killed_watchers_hear_of_it_within_10_seconds(client: Client, third: WorkerProcess) -> None:
    watcher, pid = client.call(begin, "killed", timeout=20)
    third.kill()
    begun = time.monotonic()
    lost = "Unavailable true: the worker of this process is gone"
    heard = events_of(client, watcher, 4, deadline_s=10)
    assert [event for event in heard if event[0].startswith("pid.")] == [["pid.exit", True, lost], ["pid.link.down", True, lost]]
    assert sorted(event for event in heard if event[0] in ("call", "exec")) == [["call", True, lost], ["exec", True, lost]]
    assert time.monotonic() - begun < 10
    is_forgotten(client, watcher, pid)


@pytest.mark.usefixtures("nobody_serves_three")
def test_when_the_process_that_serves_the_hosts_of_a_worker_dies_watchers_hear_and_another_is_started(
    client: Client, both: Deployment
) -> None:
    worker = both.worker(options=["--hosts", "app:three"], pool="prefork", concurrency=1, queues=["unused"])
    try:
        both.wait_for_hosts("app:three")
        (first,) = both.serving("app:three")
        watcher, pid = client.call(begin, timeout=20)
        worker.kill_children()
        lost = "Unavailable true: the worker of this process is gone"
        assert events_of(client, watcher, 2, deadline_s=10) == [["pid.exit", True, lost], ["pid.link.down", True, lost]]
        is_forgotten(client, watcher, pid)
        wait_until(lambda: set(both.serving("app:three")) - {first}, deadline_s=60)
        watcher, again = client.call(begin, "obeys", timeout=20)
        assert again.startswith("{")
        assert again != pid
    finally:
        worker.kill()


@pytest.mark.parametrize("how", ["obeys", "ignores"])
def test_when_a_worker_stops_its_processes_are_asked_to_end_and_then_terminated(
    client: Client, third: WorkerProcess, how: str
) -> None:
    watcher, pid = client.call(begin, how, timeout=20)
    third.stop()
    asked, exit_, *down = events_of(client, watcher, 2 if how == "obeys" else 3, deadline_s=10)
    assert asked == ["pid.cancel", True, "host is stopping"]
    said = "obeyed" if how == "obeys" else "Internal nil: process terminated"
    assert exit_ == ["pid.exit", True, said]
    assert down == ([] if how == "obeys" else [["pid.link.down", True, said]])
    is_forgotten(client, watcher, pid)


def test_what_a_worker_that_was_paused_does_afterwards_has_no_effect(client: Client, third: WorkerProcess) -> None:
    watcher, pid = client.call(begin, "ticks", timeout=20)
    wait_until(lambda: len(client.call(look, watcher, timeout=20)) > 2)
    third.pause()
    lost = "Unavailable true: the worker of this process is gone"
    heard = events_of(client, watcher, 2, deadline_s=20)
    assert heard == [["pid.exit", True, lost], ["pid.link.down", True, lost]]
    count = len(client.call(look, watcher, timeout=20))
    third.resume()
    third.wait_for_log("has been taken for dead", deadline_s=10)
    time.sleep(0.3)  # for a tick that must not come
    assert len(client.call(look, watcher, timeout=20)) == count
    is_forgotten(client, watcher, pid)
    watcher, pid = client.call(begin, "obeys", timeout=20)
    assert pid.startswith("{"), "it serves its host again, as another"
