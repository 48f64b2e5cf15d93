"""Processes whose code is Python: async functions, async generators and classes, on real workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.client import Actor, Client, Subscription
from orchestration.embedded import EmbeddedRedis
from orchestration.errors import (
    ApplicationError,
    OrchestrationError,
    ProcessFailedError,
    ProcessNotFoundError,
    ProcessStartError,
)
from tests.support.fixtures import empty_database
from tests.support.projects import Project, deployed
from tests.support.waiting import wait_until

CODE = "tests.acceptance.python_processes"
project = Project()
host = project.entry("host", "process.host")


def python(name: str, code: str) -> str:
    return project.entry(name, "process.python", callable=f"{CODE}:{code}")


session = python("py_session", "session")
counter = python("py_counter", "counter")
ledger = python("py_ledger", "Ledger")
watchman = python("py_watchman", "Watchman")
stubborn = python("py_stubborn", "stubborn")
verbs = python("py_verbs", "verbs")
ticker = python("py_ticker", "ticker")
guarded = python("py_guarded", "guarded")
old = [python(f"py_{code}", code) for code in ("old_function", "old_generator", "OldClass", "OldAsyncClass")]
new = python("py_new", "NewClass")
project.entry("py_adds", "process.python", callable=f"{CODE}:adds", meta={"default_host": host})
asks = project.function("asks", """
    return function(...)
        return require("funcs").new():with_context({ tenant = "blue" }):call("app:py_adds", ...)
    end
""", modules=["funcs"])
asks_durably = project.workflow("asks_durably", """
    return function(target, ...)
        local once = { ["activity.retry_policy"] = { maximum_attempts = 1 } }
        local found, err = require("funcs").new():with_options(once):call(target, ...)
        return { found = found, error = err and err:message() }
    end
""", modules=["funcs"])
may_send = project.entry(
    "may_send", "security.policy", "", policy={"actions": ["process.send"], "resources": "*", "effect": "allow"}
)
unusable = [
    (python("py_missing", "missing"), "has no attribute 'missing'"),
    (python("py_plain", "plain"), "no class, async function or async generator"),
    (python("py_mute", "Mute"), r"Mute has no method on_message\(message\)"),
    (project.entry("py_nowhere", "process.python", callable="no.such_module:x"), "No module named 'no'"),
]
project.function("double", "return function(n) return 2 * n end")
project.workflow("doubles", "return function(n) return 2 * n end")
project.lua("returns", "process.lua", "return function(...) return { ... } end")
project.lua("fails", "process.lua", "return function() error('oh no') end")
echo = project.lua("echo", "process.lua", """
    return function()
        local inbox = process.inbox()
        while true do
            local msg = inbox:receive()
            process.send(msg:from(), "echo", msg:payload():data())
        end
    end
""")  # fmt: skip
lua_parent = project.lua("lua_parent", "process.lua", """
    return function()
        local inbox, events = process.inbox(), process.events()
        local pid = assert(process.spawn_monitored("app:py_session", "app:host", "ann"))
        assert(process.send(pid, "ping", 1))
        local answer = inbox:receive()
        assert(process.send(pid, "fail"))
        local event = events:receive()
        return { answer:from() == pid, answer:payload()[1]:data(), event.kind, event.result.error:kind() }
    end
""")  # fmt: skip
service = project.entry("py_service", "process.service", "", process=session, host=host, input=["service"])


@pytest.fixture
def mine(client: Client) -> Iterator[Subscription]:
    """An address of the test."""
    with client.subscribe(timeout=20) as subscription:
        yield subscription


def test_an_async_function_is_a_process(client: Client, mine: Subscription) -> None:
    handle = client.spawn(session, host, "ann", context={"tenant": "blue"})
    mine.send(handle.pid, "ping", 1, "two")
    answer = next(mine)
    assert (answer.topic, answer.values, answer.sender) == ("ping", ("ann", "blue", 1, "two"), handle.pid)
    handle.send("stop")
    assert handle.result(timeout=10) == {"user": "ann", "seen": 1}
    with pytest.raises(ProcessNotFoundError):
        handle.send("ping")


def test_a_process_ends_when_nothing_comes_for_some_time(client: Client) -> None:
    assert client.spawn(session, host, "ann", 0.05).result(timeout=10) == {"user": "ann", "seen": 0, "idle": True}


def test_an_error_of_its_code_is_the_end_of_it(client: Client) -> None:
    handle = client.spawn(session, host, "ann")
    handle.send("fail")
    with pytest.raises(ProcessFailedError, match="as asked") as caught:
        handle.result(timeout=10)
    assert (caught.value.kind, caught.value.retryable) == ("Teapot", True)
    raising = client.spawn(session, host, "ann", messages=[("raise", [])])
    with pytest.raises(ProcessFailedError, match="ValueError: no luck"):
        raising.result(timeout=10)


def test_an_async_generator_gets_messages_by_yield(client: Client, mine: Subscription) -> None:
    handle = client.spawn(counter, host, 40)
    for n, total in [(1, 41), (2, 43)]:
        mine.send(handle.pid, "add", n)
        assert next(mine).value == total
    handle.send("stop")
    assert handle.result(timeout=10) is None


def test_a_class_handles_one_message_after_the_other(client: Client, mine: Subscription) -> None:
    handle = client.spawn(ledger, host, mine.pid)
    assert next(mine).values == (handle.pid, ledger)
    for _ in range(100):
        mine.send(handle.pid, "add", 1)
    sums = [next(mine).values for _ in range(100)]
    assert [total for total, _ in sums] == list(range(1, 101))
    assert {thread.partition("-")[0] for _, thread in sums} == {"orchestration"}
    handle.send("stop")
    assert (next(mine).topic, handle.result(timeout=10)) == ("ended", 100)
    failing = client.spawn(ledger, host, mine.pid, messages=[("raise", [])])
    assert [next(mine).topic, next(mine).value] == ["started", "no luck"]
    with pytest.raises(ProcessFailedError, match="ValueError: no luck"):
        failing.result(timeout=10)


def test_code_that_cannot_be_used_is_told_to_who_spawns_it(client: Client) -> None:
    for entry, text in unusable:
        with pytest.raises(ProcessStartError, match=text) as caught:
            client.spawn(entry, host)
        assert caught.value.kind == "Invalid"
    for entry, args in [(session, []), (ledger, []), (counter, [1, 2])]:
        with pytest.raises(ProcessStartError, match="TypeError"):
            client.spawn(entry, host, *args)
    refused = {entry for entry, _ in unusable}
    wait_until(lambda: not [found for found in client.list_processes(host=host) if found.entry_id in refused])


def test_events_monitors_and_links(client: Client, mine: Subscription) -> None:
    handle = client.spawn(watchman, host, mine.pid)
    mine.send(handle.pid, "monitor", "app:returns", host, 7)
    first, second = sorted([next(mine), next(mine)], key=lambda message: message.topic)
    assert (first.topic, second.topic) == ("pid.exit", "spawned")
    assert first.values == (second.value, [7], None)
    mine.send(handle.pid, "trap", "app:fails", host)
    found = {message.topic: message.values for message in (next(mine), next(mine))}
    assert found["pid.link.down"][0] == found["spawned"][0]
    assert "oh no" in found["pid.link.down"][2]
    handle.cancel("closing time")
    assert handle.result(timeout=10) == ["canceled", "closing time"]
    doomed = client.spawn(watchman, host, mine.pid)
    mine.send(doomed.pid, "link", "app:fails", host)
    with pytest.raises(ProcessFailedError, match="linked process failed"):
        doomed.result(timeout=10)


def test_a_cancellation_is_an_event_for_who_reads_events_and_else_cancels_the_task(
    client: Client, mine: Subscription
) -> None:
    decides, value, raises = (client.spawn(stubborn, host, mine.pid, how) for how in ("decides", "value", "raises"))
    assert [next(mine).topic for _ in range(3)] == ["ready"] * 3
    for handle in (decides, value, raises):
        handle.cancel("time to go")
    assert decides.result(timeout=10) == ["pid.cancel", "time to go"]
    assert value.result(timeout=10) == "cleaned up"
    for handle in (raises, _cancelled(client, ledger, mine.pid)):
        with pytest.raises(ProcessFailedError, match="process canceled: time to go") as caught:
            handle.result(timeout=10)
        assert caught.value.kind == "Canceled"


def _cancelled(client: Client, entry: str, *args: object):
    handle = client.spawn(entry, host, *args)
    handle.cancel("time to go")
    return handle


def test_what_is_terminated_sends_nothing_more(client: Client, mine: Subscription) -> None:
    handle = client.spawn(stubborn, host, mine.pid, "tells")
    assert next(mine).topic == "ready"
    handle.terminate()
    with pytest.raises(ProcessFailedError, match="process terminated"):
        handle.result(timeout=10)
    asks = client.spawn(session, host, "ann")
    mine.send(asks.pid, "after", 1)
    assert next(mine).topic == "after"
    asks.terminate()


def test_the_verbs_of_a_python_process(client: Client) -> None:
    assert client.spawn(verbs, host).result(timeout=30) == {
        "call": 42, "exec": [1, 2], "workflow": 8, "lookup": True, "order": [1, 2], "unregister": [True, False],
        "errors": [
            ["ProcessNotFoundError", "NotFound"], ["ProcessNotFoundError", "NotFound"],
            ["ProcessNotFoundError", "NotFound"], ["ApplicationError", "NotFound"], ["ProcessStartError", "NotFound"],
            ["ProcessError", "Internal"],
        ],
        "event": ["pid.exit", True, "Canceled"],
    }  # fmt: skip


def test_policies_decide_what_a_python_process_may_do(client: Client) -> None:
    found = client.spawn(guarded, host, actor=Actor("ann"), scope=[may_send]).result(timeout=20)
    assert found == ["allowed", ["PermissionDenied"] * 5]


def test_lua_processes_do_not_tell_it_from_one_of_theirs(client: Client) -> None:
    assert client.spawn(lua_parent, host).result(timeout=10) == [True, "ann", "pid.exit", "Teapot"]


def test_blocking_code_does_not_hold_up_processes_in_lua(
    client: Client, mine: Subscription, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    slow, quick = client.spawn(session, host, "slow"), client.spawn(echo, host)
    mine.send(slow.pid, "block", str(release))
    for n in range(20):
        mine.send(quick.pid, "ping", n)
    assert [next(mine).values for _ in range(20)] == [(n,) for n in range(20)]
    release.touch()
    assert next(mine).topic == "block"
    for handle in (slow, quick):
        handle.terminate()


def test_a_python_process_with_a_default_host_is_called_like_a_function(client: Client) -> None:
    for found, tenant in (
        (client.call("app:py_adds", 2, 3, timeout=20), None), (client.call(asks, 2, 3, timeout=20), "blue"),
        (client.start_workflow(asks_durably, "app:py_adds", 2, 3).result(timeout=20)["found"], None),
    ):  # fmt: skip
        assert (found[0], found[2]) == (5, tenant)
        assert f"@{host}|" in found[1], "it runs on its host"
    with pytest.raises(ApplicationError, match="TypeError"):
        client.call(asks, 2, timeout=20)
    with pytest.raises(OrchestrationError, match=r"give it a 'meta\.default_host'"):
        client.call(session, "ann", timeout=20)
    error = client.start_workflow(asks_durably, session).result(timeout=20)["error"]
    assert error.endswith(f"{session} is a process without a default_host")


@pytest.mark.parametrize("entry", old)
def test_an_upgrade_keeps_address_name_context_and_what_is_unread(
    client: Client, mine: Subscription, entry: str
) -> None:
    handle = client.spawn(entry, host, mine.pid, name=f"name of {entry}", context={"tenant": "blue"})
    assert next(mine).values == (handle.pid,)
    order = ["x", "go", "y"] if entry == "app:py_old_function" else ["go", "x", "y"]
    for topic in order:
        mine.send(handle.pid, topic, *((new, mine.pid, "first") if topic == "go" else ()))
    assert next(mine).values == ("first", handle.pid, new, False, "blue")
    assert [next(mine).values, next(mine).values] == [("x",), ("y",)]
    mine.send(f"name of {entry}", "again")
    mine.send(f"name of {entry}", "z")
    assert next(mine).values == ("again", handle.pid, new, False, "blue")
    assert next(mine).values == ("z",)
    handle.send("stop")
    assert next(mine).values == ("stop",)
    assert handle.result(timeout=10) == "stopped"


@pytest.mark.parametrize("entry", old)
@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ([echo], f"upgrade: create failed: {echo} is a process.lua, no process.python"),
        (["app:nothing"], "upgrade: create failed: app:nothing is no entry"),
        (["app:py_new"], "upgrade: create failed: TypeError"),
        (["app:py_missing"], "upgrade: create failed: RegistryError"),
    ],
)
def test_an_upgrade_to_code_that_cannot_be_made_is_the_end(
    client: Client, mine: Subscription, entry: str, wanted: list[str], text: str
) -> None:
    handle = client.spawn(entry, host, mine.pid, messages=[("go", wanted)])
    with pytest.raises(ProcessFailedError, match=text):
        handle.result(timeout=10)
    assert next(mine).topic == "old"


def test_a_python_process_can_be_a_service(client: Client) -> None:
    client.start_service(service, wait=True, timeout=20)
    pid = next(found.pid for found in client.list_services() if found.id == service)
    client.terminate(pid)

    def again() -> str:
        found = next(found for found in client.list_services() if found.id == service)
        return found.pid if found.state == "running" and found.pid != pid else ""

    assert wait_until(again, deadline_s=20)
    client.stop_service(service, wait=True, timeout=20)


def test_a_python_process_of_a_worker_that_was_paused_has_no_effect_any_more(
    redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """With a prefork pool, where the hosts are in a process of their own."""
    with deployed(project, tmp_path, empty_database(redis_server)) as deployment:
        worker = deployment.worker(pool="prefork", concurrency=1)
        deployment.wait_for_hosts(host)
        with deployment.client.subscribe() as ticks:
            handle = deployment.client.spawn(ticker, host, ticks.pid, timeout=30)
            assert ticks.receive(timeout=10).value == handle.pid
            children = worker.children()
            for child in children:
                os.kill(child, signal.SIGSTOP)
            with pytest.raises(ProcessFailedError, match="the worker of this process is gone"):
                handle.result(timeout=20)
            while _has_more(ticks):
                pass
            for child in children:
                os.kill(child, signal.SIGCONT)
            worker.wait_for_log("has been taken for dead", deadline_s=20)
            time.sleep(0.3)  # fifteen ticks
            assert not _has_more(ticks)


def _has_more(subscription: Subscription) -> bool:
    try:
        subscription.receive(timeout=0)
    except TimeoutError:
        return False
    return True
