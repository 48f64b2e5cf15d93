"""Python code starts processes, talks to them, and hears of their end; with real workers, and across processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from orchestration import Orchestration
from orchestration.client import Actor, AsyncClient, Client
from orchestration.embedded import EmbeddedRedis
from orchestration.errors import (
    EncodeError,
    ProcessError,
    ProcessFailedError,
    ProcessNotFoundError,
    ProcessStartError,
    SubscriptionClosedError,
    WorkflowClosedError,
    WorkflowFailedError,
    WorkflowNotFoundError,
)
from orchestration.host.monitors import Exit
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until
from tests.support.warm_cli import ProjectCli, project_cli
from tests.support.workers import ROOT

project = Project(env={"ORCHESTRATION_HOSTS": "app:host"})
host = project.entry("host", "process.host")
unserved = project.entry("unserved", "process.host", lifecycle={"start_timeout": "1s"})

session = project.lua(
    "session",
    "process.lua",
    """
    -- Greets whoever it is given, then answers each message; "stop" and "fail" end it.
    local errors, ctx = require("errors"), require("ctx")
    local function main(owner, user)
        local inbox, events = process.inbox(), process.events()
        if owner then assert(process.send(owner, "hello", user, process.pid())) end
        while true do
            local picked = channel.select { inbox:case_receive(), events:case_receive() }
            if picked.channel == events then
                local event = picked.value
                return { kind = event.kind, from = event.from, reason = event.reason,
                         error = event.result and event.result.error and event.result.error:message() }
            end
            local msg = picked.value
            local topic, data = msg:topic(), msg:payload() and msg:payload():data()
            if topic == "stop" then return data end
            if topic == "fail" then return nil, errors.new { message = data, kind = "Teapot", retryable = true } end
            if topic == "monitor" then assert(process.monitor(data)) topic = "monitored" end
            if topic == "context" then data = ctx.get("tenant") end
            if msg:from() ~= "" then assert(process.send(msg:from(), topic, user, data)) end
        end
    end
    return main
    """,
    modules=["ctx", "errors"],
)
counts = project.lua("counts", "process.lua", """
    return function(to, n)
        for i = 1, n do assert(process.send(to, i % 2 == 0 and "even" or "odd", i)) end
        return n
    end
""")  # fmt: skip
returns = project.lua("returns", "process.lua", "return function(...) return { ... } end")
broken = project.lua("broken", "process.lua", "error('no luck at all')")
waits = project.workflow("waits", """
    return function(how)
        local msg = process.inbox():receive()
        if how == "fail" then return nil, "no luck" end
        process.send(msg:from(), "heard", msg:payload():data())
        return "done"
    end
""")  # fmt: skip
listens = project.function("listens", """
    return function(to)
        assert(process.send(to, "here"))
        return process.inbox():receive():payload():data()
    end
""")  # fmt: skip


@pytest.fixture(scope="module")
def cli(running: Deployment) -> Iterator[ProjectCli]:
    with project_cli(running) as run:
        yield run


@pytest.fixture
def watched(running: Deployment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses whose end somebody here has begun to wait for; what is sent afterwards comes after that."""
    monitors = running.orchestration.runtime.node.monitors
    watch, found = monitors.watch, list[str]()

    def note(pid: str) -> Exit:
        end = watch(pid)
        found.append(pid)
        return end

    monkeypatch.setattr(monitors, "watch", note)
    return found


def start(client: Client, user: str | None = "ann", **options: object):
    return client.spawn(session, host, None, user, **options)


def test_spawn_starts_a_process_and_its_handle_gives_its_value(client: Client) -> None:
    assert client.spawn(returns, host, 1, "two", 4.5).result(timeout=10) == [1, "two", 4.5]


def test_a_handle_can_be_waited_for_again_and_from_several_threads(client: Client) -> None:
    handle = start(client)
    with pytest.raises(TimeoutError, match=f"process {handle.pid} has not ended within 0.05 s".replace("|", r"\|")):
        handle.result(timeout=0.05)
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(handle.result(timeout=10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    handle.send("stop", "enough")
    for thread in threads:
        thread.join()
    assert results == ["enough"] * 4
    assert handle.result(timeout=0) == "enough"


def test_a_process_that_fails_raises_its_own_error(client: Client) -> None:
    handle = start(client)
    handle.send("fail", "short and stout")
    for _ in range(2):
        with pytest.raises(ProcessFailedError) as caught:
            handle.result(timeout=10)
        error = caught.value
        assert (error.message, error.kind, error.retryable) == ("short and stout", "Teapot", True)


def test_a_process_that_cannot_be_started_says_why(client: Client) -> None:
    for entry, wanted, kind, text in [
        (broken, host, "", f"{broken} on {host}: .*no luck at all"),
        ("app:nothing", host, "NotFound", f"app:nothing on {host}: factory not found"),
        (session, "app:nowhere", "NotFound", f"{session} on app:nowhere: host not found"),
        (session, unserved, "Unavailable", "app:unserved"),
        (session, waits, "Invalid", "is a workflow.lua, no process.host"),
    ]:
        with pytest.raises(ProcessStartError, match=text) as caught:
            client.spawn(entry, wanted)
        assert not kind or caught.value.kind == kind


def test_arguments_are_checked_before_anything_is_started(client: Client) -> None:
    before = {found.pid for found in client.list_processes(host=host)}
    for error, call in [
        (TypeError, lambda: client.spawn(5, host)),
        (TypeError, lambda: client.spawn(session, None)),
        (EncodeError, lambda: client.spawn(session, host, object())),
        (ValueError, lambda: client.spawn(session, host, name="")),
        (ValueError, lambda: client.spawn(session, host, messages=[("@x", [])])),
        (ValueError, lambda: client.spawn(session, host, scope=["app:no-such-policy"])),
        (TypeError, lambda: client.spawn(session, host, actor="ann")),
        (TypeError, lambda: client.spawn(session, host, timeout="1")),
        (ValueError, lambda: client.send("x", "@x")),
        (TypeError, lambda: client.cancel("x", 5)),
        (ValueError, lambda: client.subscribe(topic="@x")),
        (TypeError, lambda: client.subscribe(topic=[5])),
        (TypeError, lambda: client.subscribe(5)),
        (ProcessNotFoundError, lambda: client.get_process("nobody")),
        (ProcessNotFoundError, lambda: client.get_process("{app:client@app:worker|x}")),
    ]:
        with pytest.raises(error):
            call()
    assert {found.pid for found in client.list_processes(host=host)} <= before


def test_a_name_is_found_and_a_second_spawn_of_it_signals(client: Client) -> None:
    handle = start(client, name="the-session")
    assert client.lookup("the-session") == handle.pid
    with client.subscribe(timeout=10) as subscription:
        subscription.send("the-session", "ping", 1)
        assert next(subscription).values == ("ann", 1)
    again = client.spawn(session, host, None, "ben", name="the-session", messages=[("stop", ["by the second"])])
    assert again.pid == handle.pid
    assert again.result(timeout=10) == handle.result(timeout=10) == "by the second"
    wait_until(lambda: not any("the-session" in found.names for found in client.list_processes()))
    with pytest.raises(ProcessNotFoundError, match="could not resolve 'the-session' as PID or registered name"):
        client.lookup("the-session")


def test_a_second_spawn_of_a_name_waits_for_the_end_of_a_process_that_others_have_started(
    running: Deployment, client: Client
) -> None:
    stranger = Celery("stranger", broker=running.redis_url, backend=running.redis_url, set_as_current=False)
    Orchestration(stranger, config=str(running.config))
    with contextlib.closing(Client(stranger)) as other:
        first = start(client, name="shared")
        again = other.spawn(session, host, None, "ben", name="shared", messages=[("ping", [1])])
        assert again.pid == first.pid
        first.send("stop", "by the first")
        assert again.result(timeout=10) == "by the first"
        for number in range(20):  # the end may be heard of before the answer to the spawn
            handle = start(client, name=f"shared-{number}")
            again = other.spawn(session, host, name=f"shared-{number}", messages=[("stop", [number])])
            assert (again.pid, again.result(timeout=10)) == (handle.pid, number)
            once_more = client.get_process(handle.pid)
            assert handle.result(timeout=10) == number
            with pytest.raises(ProcessNotFoundError):
                once_more.result(timeout=10)
    stranger.close()


def test_what_is_sent_to_nobody_is_told(client: Client) -> None:
    gone = client.spawn(returns, host)
    gone.result(timeout=10)
    wait_until(lambda: all(found.pid != gone.pid for found in client.list_processes()))
    for act in (
        lambda: gone.send("x"), gone.cancel, gone.terminate, lambda: client.send(gone.pid, "x"),
        lambda: client.send("nobody", "x"), lambda: client.monitor(gone.pid), lambda: client.monitor("nobody"),
        lambda: client.subscribe(gone.pid), lambda: client.cancel("nobody"), lambda: client.terminate("nobody"),
        lambda: client.get_process(gone.pid).result(timeout=5),
    ):  # fmt: skip
        with pytest.raises(ProcessNotFoundError) as caught:
            act()
        assert caught.value.kind == "NotFound"
    with pytest.raises(WorkflowNotFoundError):
        client.send("{celery@default|no-such-workflow}", "x")


def test_cancel_is_an_event_with_its_reason_and_terminate_needs_no_consent(client: Client) -> None:
    asked = start(client)
    asked.cancel("time to go")
    assert asked.result(timeout=10) == {"kind": "pid.cancel", "from": "", "reason": "time to go"}
    ended = start(client)
    client.terminate(ended.pid)
    with pytest.raises(ProcessFailedError, match="process terminated"):
        ended.result(timeout=10)


def test_who_ends_a_process_can_wait_for_its_end_however_soon_that_comes(client: Client) -> None:
    def gone(pid: str) -> None:
        wait_until(lambda: all(found.pid != pid for found in client.list_processes()))

    found = client.get_process(start(client).pid)
    found.cancel("soon")
    gone(found.pid)
    assert found.result(timeout=10)["reason"] == "soon"
    found = client.get_process(start(client).pid)
    found.terminate()
    gone(found.pid)
    with pytest.raises(ProcessFailedError, match="process terminated"):
        found.result(timeout=10)


def test_monitor_waits_for_the_end_of_what_others_have_started(client: Client, watched: list[str]) -> None:
    handle = start(client, name="monitored")
    found: list[object] = []
    waiting = [
        threading.Thread(target=lambda pid=pid: found.append(client.monitor(pid, timeout=10)))
        for pid in (handle.pid, "monitored")
    ]
    for thread in waiting:
        thread.start()
    with pytest.raises(TimeoutError):
        client.monitor(handle.pid, timeout=0.05)
    wait_until(lambda: len(watched) == 3)
    client.get_process(handle.pid).send("stop", 5)
    for thread in waiting:
        thread.join()
    assert found == [5, 5]


def test_send_cancel_and_monitor_take_workflows_too(client: Client) -> None:
    with client.subscribe(timeout=10) as subscription:
        run = client.start_workflow(waits)
        subscription.send(run.pid, "question", 42)
        assert next(subscription).topic == "heard"
        assert client.monitor(run.pid, timeout=10) == "done"
        with pytest.raises(WorkflowClosedError):
            client.send(run.pid, "again")
    failing = client.start_workflow(waits, "fail")
    client.send(failing.pid, "go")
    with pytest.raises(WorkflowFailedError, match="no luck"):
        client.monitor(failing.pid, timeout=10)


def test_a_function_that_runs_is_sent_to(client: Client) -> None:
    with client.subscribe(timeout=10) as subscription:
        answer: list[object] = []
        thread = threading.Thread(target=lambda: answer.append(client.call(listens, subscription.pid, timeout=10)))
        thread.start()
        pid = next(subscription).sender
        client.send(pid, "go on", {"n": 1})
        thread.join()
        assert answer == [{"n": 1}]


def test_a_subscription_gets_what_a_process_sends_to_it_in_order(client: Client) -> None:
    with client.subscribe() as subscription:
        handle = subscription.spawn(counts, host, subscription.pid, 100)
        assert [message.value for message in subscription] == list(range(1, 101))
        assert handle.result(timeout=10) == 100
        with pytest.raises(SubscriptionClosedError):
            subscription.receive(timeout=10)
    with client.subscribe(topic=["even"]) as evens:
        evens.spawn(counts, host, evens.pid, 10)
        assert [(message.topic, message.value) for message in evens] == [("even", n) for n in (2, 4, 6, 8, 10)]


def test_a_subscription_that_follows_a_process_ends_with_it(client: Client) -> None:
    handle = start(client, name="followed")
    with client.subscribe(handle.pid) as by_pid, client.subscribe("followed") as by_name:
        by_name.send("followed", "ping", 1)
        handle.send("stop")
        assert list(by_pid) == []
        assert [message.topic for message in by_name] == ["ping"]
    failing = start(client)
    with client.subscribe(failing.pid) as subscription:
        subscription.send(failing.pid, "last words", 1)
        failing.send("fail", "oh no")
        assert next(subscription).topic == "last words"
        with pytest.raises(ProcessFailedError, match="oh no"):
            next(subscription)
    run = client.start_workflow(waits)
    with client.subscribe(run.pid) as subscription:
        subscription.send(run.pid, "go", 1)
        assert [message.topic for message in subscription] == ["heard"]


def test_a_subscription_waits_no_longer_than_it_says(client: Client) -> None:
    with client.subscribe(timeout=0.05) as subscription:
        with pytest.raises(TimeoutError, match=r"nothing came within 0\.05 s"):
            next(subscription)
        with pytest.raises(TimeoutError):
            subscription.receive(timeout=0)


def test_a_process_hears_when_the_subscription_it_watches_is_closed(client: Client) -> None:
    handle = start(client)
    with client.subscribe(timeout=10) as subscription:
        subscription.send(handle.pid, "monitor", subscription.pid)
        assert next(subscription).topic == "monitored"
        pid = subscription.pid
    assert handle.result(timeout=10) == {"kind": "pid.exit", "from": pid}
    with pytest.raises(ProcessNotFoundError):
        client.send(pid, "x")
    with pytest.raises(SubscriptionClosedError):
        subscription.send(handle.pid, "x")


def test_a_subscription_is_cancelled_and_terminated_like_any_process(client: Client) -> None:
    with client.subscribe() as subscription:
        client.send(subscription.pid, "last", 1)
        client.cancel(subscription.pid, "closing time")
        assert [message.topic for message in subscription] == ["last"]
        with pytest.raises(SubscriptionClosedError, match="closing time"):
            subscription.receive()
    with client.subscribe() as subscription:
        client.terminate(subscription.pid)
        with pytest.raises(ProcessError, match="process terminated"):
            next(subscription)


def test_context_actor_and_scope_reach_the_process(client: Client) -> None:
    handle = start(client, context={"tenant": "blue"}, actor=Actor("ann"), scope=None)
    with client.subscribe(timeout=10) as subscription:
        subscription.send(handle.pid, "context", 1)
        assert next(subscription).values == ("ann", "blue")
    handle.terminate()


def test_processes_are_listed_with_where_they_run(client: Client, running: Deployment) -> None:
    handle = start(client, name="listed")
    found = next(found for found in client.list_processes(host=host) if found.pid == handle.pid)
    assert (found.entry_id, found.host, found.names) == (session, host, ("listed",))
    assert found.os_pid == running.workers[0].pid
    assert abs(found.since_ms / 1000 - time.time()) < 60
    with client.subscribe() as subscription:
        mine = next(found for found in client.list_processes() if found.pid == subscription.pid)
        assert (mine.host, mine.entry_id, mine.os_pid) == ("client", "", os.getpid())
    assert client.list_processes(host="app:unserved") == []
    handle.terminate()


def test_what_nobody_waits_for_is_not_watched(client: Client, running: Deployment) -> None:
    """Handles that are thrown away leave nothing behind, neither here nor at the process."""
    handles = [start(client) for _ in range(3)]
    pids = [handle.pid for handle in handles]
    monitors = running.orchestration.runtime.node.monitors
    del handles
    gc.collect()
    wait_until(lambda: monitors._cell is None, deadline_s=20)
    for pid in pids:
        client.terminate(pid)


def test_closing_a_client_ends_its_subscriptions(running: Deployment) -> None:
    client = Client(running.app)
    subscription = client.subscribe()
    client.close()
    assert list(subscription) == []
    with client.subscribe() as again:  # it can be used again
        client.send(again.pid, "x")
        assert again.receive(timeout=10).topic == "x"
    client.close()


def test_coroutines_wait_without_a_thread_each(running: Deployment, watched: list[str]) -> None:
    async def talk(client: AsyncClient, number: int) -> object:
        async with client.subscribe(timeout=30) as subscription:
            handle = await subscription.spawn(session, host, subscription.pid, f"user {number}")
            hello = await anext(subscription)
            assert (hello.values, hello.sender) == ((f"user {number}", handle.pid), handle.pid)
            await subscription.send(handle.pid, "ping", number)
            assert (await subscription.receive()).values == (f"user {number}", number)
            ended = asyncio.create_task(handle.result(timeout=30))
            with pytest.raises(TimeoutError):
                await subscription.receive(timeout=0.1)
            await handle.send("stop", number)
            assert [message async for message in subscription] == []
            return await ended

    async def main() -> list[object]:
        client = AsyncClient(running.app)
        found = await asyncio.gather(*(talk(client, number) for number in range(20)))
        named = await client.spawn(session, host, None, "ann", name="named")
        assert await client.lookup("named") == named.pid
        assert named.pid in [process.pid for process in await client.list_processes(host=host)]
        waiting = asyncio.create_task(client.monitor("named", timeout=30))
        gone = asyncio.create_task(client.monitor(named.pid, timeout=30))
        await asyncio.to_thread(wait_until, lambda: watched.count(named.pid) == 2)
        gone.cancel()  # who gives up waiting leaves the others waiting
        with pytest.raises(asyncio.CancelledError):
            await gone
        await client.send("named", "stop", "done")
        assert await waiting == "done"
        with pytest.raises(ProcessNotFoundError):
            await client.send("named", "x")
        failing = await client.spawn(session, host)
        await client.get_process(failing.pid).send("fail", "oh no")
        with pytest.raises(ProcessFailedError, match="oh no"):
            await failing.result(timeout=30)
        ended = await client.spawn(session, host)
        await client.terminate(ended.pid)
        with pytest.raises(ProcessFailedError, match="terminated"):
            await ended.result(timeout=30)
        asked = await client.spawn(session, host)
        await client.cancel(asked.pid, "why not")
        assert (await asked.result(timeout=30))["reason"] == "why not"
        with pytest.raises(SubscriptionClosedError, match="async with"):
            _ = client.subscribe().pid
        await client.close()
        return found

    assert asyncio.run(main()) == list(range(20))


def test_no_thread_waits_for_a_coroutine(running: Deployment) -> None:
    async def main() -> int:
        client = AsyncClient(running.app)
        async with contextlib.AsyncExitStack() as stack:
            waiting = []
            for _ in range(30):
                subscription = await stack.enter_async_context(client.subscribe())
                handle = await client.spawn(session, host)
                await asyncio.to_thread(lambda: None)
                waiting += [asyncio.create_task(subscription.receive()), asyncio.create_task(handle.result(60))]
            before = threading.active_count()
            _, pending = await asyncio.wait(waiting, timeout=0.5)
            assert len(pending) == len(waiting)
            grown = threading.active_count() - before
            for task in waiting:
                task.cancel()
            for process in await client.list_processes(host=host):
                with contextlib.suppress(ProcessNotFoundError):  # what an earlier test has ended may be listed still
                    await client.terminate(process.pid)
            return grown

    assert asyncio.run(main()) < 10


def test_a_forked_process_has_an_address_of_its_own(client: Client, running: Deployment) -> None:
    """As under gunicorn, which forks after the application was made, and maybe used."""
    handle = start(client)
    with client.subscribe() as subscription:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with client.subscribe(timeout=20) as own:
                    own.send(handle.pid, "ping", "child")
                    assert own.pid != subscription.pid
                    assert next(own).values == ("ann", "child")
                    with pytest.raises(TimeoutError):
                        handle.result(timeout=0.05)  # watched from here on
                    handle.send("stop", "by the child")
                    assert handle.result(timeout=20) == "by the child"
                client.close()
                code = 0
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert handle.result(timeout=10) == "by the child"
        assert not subscription._line.mail.has_ended


def test_the_command_line_lists_processes_and_sends_to_them(client: Client, cli: ProjectCli) -> None:
    handle = start(client, name="on-the-line")
    rows = [json.loads(line) for line in cli("processes", "--host", host, "--json").stdout.splitlines()]
    row = next(row for row in rows if row["pid"] == handle.pid)
    assert (row["entry_id"], row["names"], row["host"]) == (session, ["on-the-line"], host)
    assert f"{handle.pid}  on-the-line  {session}" in cli("processes").stdout
    assert cli("processes", "--host", unserved, "--json").stdout == ""
    with client.subscribe(timeout=10) as subscription:
        assert cli("send", subscription.pid, "news", '{"a": 1}', "[2]").returncode == 0
        assert next(subscription).values == ({"a": 1}, [2])
    sent = cli("send", "on-the-line", "stop", "5", "--json").stdout
    assert json.loads(sent) == {"to": "on-the-line", "topic": "stop"}
    assert handle.result(timeout=10) == 5
    run = client.start_workflow(waits, "fail")
    cli("send", run.pid, "go")
    with pytest.raises(WorkflowFailedError):
        run.result(timeout=10)
    assert "could not resolve 'nobody'" in cli("send", "nobody", "x", code=3).stderr
    assert "a topic does not begin with '@'" in cli("send", handle.pid, "@x", code=2).stderr


WEB = """
    import sys
    from celery import Celery
    from orchestration import Client, Orchestration

    url, config, pid, how = sys.argv[1:]
    app = Celery("web", broker=url, backend=url)
    Orchestration(app, config=config)
    client = Client(app)
    subscription = client.subscribe(timeout=30)
    subscription.send(pid, "monitor", subscription.pid)
    assert next(subscription).topic == "monitored"
    handle = client.get_process(pid)
    try:
        handle.result(timeout=0.1)  # it goes while this is still waited for
    except TimeoutError:
        pass
    print("ready", flush=True)
    if how == "kill":
        subscription.receive()
"""


@pytest.mark.parametrize(("how", "soon_s"), [("exit", 5), ("kill", 10)])
def test_a_process_hears_of_the_end_of_a_web_process(
    client: Client, running: Deployment, how: str, soon_s: float
) -> None:
    """At once when it ends in good order, though nothing was closed; within ten seconds when it is killed."""
    handle = start(client)
    command = [sys.executable, "-c", textwrap.dedent(WEB), running.redis_url, str(running.config), handle.pid, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as web:
        assert web.stdout is not None
        assert web.stderr is not None
        assert web.stdout.readline() == b"ready\n"
        if how == "kill":
            web.send_signal(signal.SIGKILL)
        web.wait(20)
        began = time.monotonic()
        assert web.stderr.read() == b""
        found = handle.result(timeout=20)
    assert time.monotonic() - began < soon_s
    assert found["kind"] == "pid.exit"
    assert found.get("error") == ("the worker of this process is gone" if how == "kill" else None)


@pytest.fixture(params=["threads", "prefork"])
def doomed(
    request: pytest.FixtureRequest, redis_server: EmbeddedRedis, tmp_path: Path
) -> Iterator[Deployment]:
    """A deployment whose only worker is going to be killed."""
    with deployed(project, tmp_path, empty_database(redis_server)) as deployment:
        deployment.worker(pool=request.param, concurrency=1)
        deployment.wait_for_hosts(host)
        yield deployment


def test_the_death_of_its_worker_is_the_end_of_a_process_within_ten_seconds(doomed: Deployment) -> None:
    client = doomed.client
    with client.subscribe() as subscription:
        handle = subscription.spawn(session, host, subscription.pid, "ann", name="doomed", timeout=30)
        assert next(subscription).values == ("ann", handle.pid)
        doomed.workers[0].kill()
        began = time.monotonic()
        with pytest.raises(ProcessFailedError, match="the worker of this process is gone") as caught:
            handle.result(timeout=20)
        assert time.monotonic() - began < 10
        assert (caught.value.kind, caught.value.details) == ("Unavailable", {"reason": "worker_lost"})
        with pytest.raises(ProcessFailedError):
            next(subscription)
    with pytest.raises(ProcessNotFoundError):
        handle.send("x")
    with pytest.raises(ProcessNotFoundError):
        client.lookup("doomed")
