"""Supervised services on real workers: one instance, restarted, taken over, stopped, and none left of the dead."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from orchestration import Orchestration
from orchestration.client import Client, ServiceDescription
from orchestration.core import payload
from orchestration.embedded import EmbeddedRedis
from orchestration.errors import EntryNotFoundError
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until
from tests.support.warm_cli import project_cli
from tests.support.workers import ROOT, WorkerProcess

project = Project(tasks=["tests.acceptance.service_tasks"])
host = project.entry("host", "process.host")
project.celery_task("note", "services.note")
project.entry("note_elsewhere", "function.celery", task="services.note", queue="notes")


def process(name: str, body: str) -> str:
    source = f"""
        local process, channel, time, funcs = require("process"), require("channel"), require("time"), require("funcs")
        local function main(...)
          local events = process.events()
          {body}
        end
        return main
    """
    return project.lua(f"{name}_body", "process.lua", source, method="main", modules=["time", "funcs", "store"])


def service(name: str, of: str, *, auto: bool = False, more: dict[str, Any] | None = None, **lifecycle: Any) -> str:
    lifecycle = {"auto_start": auto, "restart": {"initial_delay": "100ms", "jitter": 0}, **lifecycle}
    return project.entry(name, "process.service", "", process=of, host=host, lifecycle=lifecycle, **(more or {}))


patient = process("patient", "return events:receive()")
project.entry("kv", "store.memory")
loop = process("loop", """
    local kept = require("store").get("app:kv")
    while true do
      process.registry.register("the loop")
      process.send("the listener", "tick", process.pid())
      kept:set("last", process.pid())
      funcs.call("app:note_elsewhere", process.pid() .. " call")
      process.spawn("app:mark_body", "app:host", process.pid() .. " spawn")
      local ready = channel.select({ events:case_receive(), time.after("100ms"):case_receive() })
      if ready.channel == events then return end
    end
""")  # fmt: skip
process("mark", "funcs.call('app:note_elsewhere', ...)")
listener = service("listener", process("listener", """
    process.registry.register("the listener")
    local ticks = process.listen("tick")
    while true do
      local ready = channel.select({ events:case_receive(), ticks:case_receive() })
      if ready.channel == events then return end
      funcs.call("app:note_elsewhere", ready.value .. " send")
    end
"""))
loops = service("loops", loop)

plain = service("plain", patient, auto=True)
alone = service("alone", patient, auto=True)
asleep = service("asleep", patient)
crash = service("crash", process("crash", "funcs.call('app:note', 'crash') error('no disk')"))
thrice = service("thrice", process("thrice", "funcs.call('app:note', 'thrice') error('no luck')"),
                 restart={"initial_delay": "50ms", "max_attempts": 3})  # fmt: skip
final = service("final", process("final", "return nil, 'no money'"))
done = service("done", process("done", "return 'all done'"))
deaf = service("deaf", process("deaf", "while true do time.sleep('1h') end"), stop_timeout="300ms")
base = service("base", patient)
middle = service("middle", patient, requires=["base"])
top = service("top", patient, depends_on=["middle"])
service("never", project.lua("never_body", "process.lua", "error('no network')", method="main"))
waits = service("waits", patient, requires=["never"], start_timeout="1s")
everywhere = service("everywhere", patient, more={"scope": "worker"})


def seen(client: Client, id_: str) -> ServiceDescription:
    return next(found for found in client.list_services() if found.id == id_)


def wait_for(
    client: Client, id_: str, state: str, *, deadline_s: float = 30.0,
    fits: Callable[[ServiceDescription], bool] | None = None,
) -> ServiceDescription:  # fmt: skip
    def there() -> ServiceDescription | None:
        found = seen(client, id_)
        return found if found.state == state and (fits is None or fits(found)) else None

    return wait_until(there, deadline_s=deadline_s, every_s=0.05, message=lambda: f"{state}: {seen(client, id_)}")


def notes(deployment: Deployment) -> list[str]:
    with redis.Redis.from_url(deployment.redis_url) as connection:
        return [line.decode() for line in connection.lrange("written", 0, -1)]


def test_a_service_is_started_with_the_worker_and_listed(client: Client) -> None:
    found = wait_for(client, plain, "running")
    assert (found.reason, found.runs, found.restarts, found.wish) == ("started", 1, 0, "")
    assert found.pid.startswith(f"{{{found.node}@{host}|")
    assert found.worker
    assert seen(client, asleep).reason == "it is not started by itself"


def test_a_crash_is_followed_by_restarts_with_a_growing_delay(client: Client, running: Deployment) -> None:
    client.start_service(crash)
    found = wait_for(client, crash, "failed", fits=lambda found: found.failures >= 3)
    assert "no disk" in found.error
    assert 300 <= found.next_start_ms - found.since_ms <= 100 * 2 ** (found.failures - 1) + 100
    wait_for(client, crash, "failed", fits=lambda later: later.runs > found.runs)
    assert Counter(notes(running))["crash"] >= 4
    client.stop_service(crash, wait=True, timeout=30)
    assert seen(client, crash).state in ("stopped", "failed")


def test_max_attempts_counts_runs_and_ends_as_failed_until_an_operator_restarts_it(
    client: Client, running: Deployment
) -> None:  # fmt: skip
    def given_up() -> ServiceDescription:
        return wait_for(client, thrice, "failed", fits=lambda found: not found.node and not found.next_start_ms)

    client.start_service(thrice)
    found = given_up()
    assert found.reason.startswith("given up after 3 failed runs: ")
    assert "no luck" in found.reason
    assert Counter(notes(running))["thrice"] == 3
    client.restart_service(thrice)
    wait_until(lambda: Counter(notes(running))["thrice"] == 6, deadline_s=30)
    given_up()
    assert Counter(notes(running))["thrice"] == 6


@pytest.mark.parametrize(
    ("id_", "reason"), [(final, "ended with an error that is final: no money"), (done, "ended normally")]
)
def test_an_end_that_is_final_is_exited(client: Client, id_: str, reason: str) -> None:
    client.start_service(id_)
    found = wait_for(client, id_, "exited")
    assert (found.reason, found.runs, found.node) == (reason, 1, "")


def test_what_does_not_stop_in_time_is_terminated_and_has_failed(client: Client) -> None:
    client.start_service(deaf, wait=True, timeout=30)
    client.stop_service(deaf, wait=True, timeout=30)
    found = seen(client, deaf)
    assert (found.state, found.reason) == ("failed", "stop timeout after 0.3s")


def test_services_start_after_all_that_they_require(client: Client, running: Deployment) -> None:
    client.start_service(top, wait=True, timeout=30)
    said = re.findall(r"service app:(base|middle|top) is (\w+): (.*)", running.workers[0].log())
    assert [name for name, state, _ in said if state == "running"] == ["base", "middle", "top"]
    assert any(reason.startswith("waits for app:base (") for name, _, reason in said if name == "middle")
    client.restart_service(base, wait=True, timeout=30)
    assert [seen(client, id_).runs for id_ in (base, middle, top)] == [2, 1, 1]


def test_a_dependency_that_never_comes_up_is_named_after_the_start_timeout(client: Client) -> None:
    client.start_service(waits)
    found = wait_for(client, waits, "failed")
    assert found.reason.startswith("start timeout after 1s: still waits for app:never (failed: cannot be started: ")
    assert "no network" in found.reason
    assert found.runs == 0
    client.stop_service(waits, wait=True, timeout=30)


def test_an_unknown_service_is_refused_with_a_hint(client: Client) -> None:
    with pytest.raises(EntryNotFoundError, match="app:alone"):
        client.stop_service("app:alon")
    with pytest.raises(EntryNotFoundError, match=r"it is a process\.lua, not a process\.service"):
        client.stop_service(patient)


def test_operators_list_stop_and_start_services_from_the_command_line(
    client: Client, running: Deployment
) -> None:  # fmt: skip
    with project_cli(running) as cli:
        cli("services", "stop", alone, "--timeout", "30s")
        assert seen(client, alone).state == "stopped"
        states = {line["id"]: line for line in map(json.loads, cli("services", "--json").stdout.splitlines())}
        assert (states[alone]["state"], states[alone]["reason"]) == ("stopped", "stopped by an operator")
        assert "stopped by an operator" in cli("services").stdout
        assert "looks after it" in cli("services", "forget", plain, code=6).stderr
        cli("services", "forget", alone)
        assert seen(client, alone).reason != "stopped by an operator"
        cli("services", "start", alone, "--timeout", "30s")
        assert seen(client, alone).state == "running"
        assert "app:never" in cli("services", "start", waits, "--timeout", "1s", code=5).stderr
        cli("services", "stop", waits)
        assert "app:nothing" in cli("services", "restart", "app:nothing", code=3).stderr


@pytest.fixture
def deployment(redis_server: EmbeddedRedis, tmp_path: Path) -> Iterator[Deployment]:
    """The same definitions and no worker yet."""
    with deployed(project, tmp_path, empty_database(redis_server)) as made:
        yield made


def test_one_instance_moves_to_another_worker_when_its_own_is_killed_or_stopped(deployment: Deployment) -> None:
    client = deployment.client
    assert seen(client, alone).reason == f"no worker serves its host {host}"
    workers = [deployment.worker(wait=False), deployment.worker(wait=False)]
    for worker in workers:
        worker.wait_until_ready()
    first = wait_for(client, alone, "running")
    client.start_service(everywhere)
    wait_until(
        lambda: [found.state for found in client.list_services() if found.id == everywhere] == ["running"] * 2,
        deadline_s=30,
    )
    owner = next(worker for worker in workers if str(worker.pid) == first.worker.rpartition("/")[2])
    other = next(worker for worker in workers if worker is not owner)
    killed = time.monotonic()
    owner.kill()
    second = wait_for(client, alone, "running", fits=lambda found: found.node != first.node, deadline_s=10)
    assert time.monotonic() - killed < 10
    assert second.worker.endswith(f"/{other.pid}")
    assert (second.failures, second.pid != first.pid) == (0, True)
    wait_until(lambda: len([found for found in client.list_services() if found.id == everywhere]) == 1, deadline_s=30)

    third = deployment.worker()
    stopped = time.monotonic()
    other.stop()
    found = wait_for(client, alone, "running", fits=lambda found: found.node != second.node)
    assert found.worker.endswith(f"/{third.pid}")
    assert "service app:alone is stopped: its worker stops; another may take it up" in other.log()
    assert time.monotonic() - stopped < 20

    client.stop_service(alone, wait=True, timeout=30)
    third.stop()
    deployment.worker()
    wait_for(client, everywhere, "running")
    assert (seen(client, alone).state, seen(client, alone).runs) == ("stopped", found.runs)


def test_an_instance_whose_worker_was_paused_has_no_effect_once_the_next_has_started(
    redis_server: EmbeddedRedis, tmp_path: Path
) -> None:  # fmt: skip
    with deployed(project, tmp_path, empty_database(redis_server)) as deployment:
        client = deployment.client
        workers = [deployment.worker(wait=False), deployment.worker(wait=False)]
        # What the paused worker has in its hands already is no effect of the instance after its end.
        notary = deployment.worker(wait=False, queues=["notes"], options=["--hosts", "none"])
        for worker in (*workers, notary):
            worker.wait_until_ready()
        kinds = ("call", "send", "spawn")
        client.start_service(loops, wait=True, timeout=30)
        first = seen(client, loops)
        client.start_service(listener, wait=True, timeout=30)
        wait_until(lambda: {f"{first.pid} {kind}" for kind in kinds} <= set(notes(deployment)), deadline_s=30)
        owner = next(worker for worker in workers if str(worker.pid) == first.worker.rpartition("/")[2])
        owner.pause()
        second = wait_for(client, loops, "running", fits=lambda found: found.node != first.node)
        wait_until(lambda: {f"{second.pid} {kind}" for kind in kinds} <= set(notes(deployment)), deadline_s=30)
        before = Counter(notes(deployment))
        owner.resume()
        owner.wait_for_log("has been taken for dead", deadline_s=30)
        count = before[f"{second.pid} call"]
        wait_until(
            lambda: Counter(notes(deployment))[f"{second.pid} call"] >= count + 20,
            deadline_s=60, message=lambda: f"{second}, now {seen(client, loops)}; {Counter(notes(deployment))}",
        )  # fmt: skip
        after = Counter(notes(deployment))
        assert {what: after[what] - before[what] for what in (f"{first.pid} {kind}" for kind in kinds)} == {
            f"{first.pid} {kind}": 0 for kind in kinds
        }
        store = deployment.orchestration.runtime.store("default")
        assert store.actors.lookup("the loop") == second.pid
        item = store.items.read("app:kv", b"last")
        assert item is not None
        assert payload.decode(item.value) == second.pid
        assert {line.partition(" ")[0] for line in after if "@" in line} == {first.pid, second.pid}


unbootable = Project(tasks=["tests.acceptance.service_tasks"])
unbootable.entry("host", "process.host")
unbootable.lua("body", "process.lua", "error('no network')", method="main")
unbootable.entry("needed", "process.service", "", process="body", host="host", lifecycle={
    "auto_start": True, "start_timeout": "10s", "restart": {"initial_delay": "50ms", "max_attempts": 2},
})  # fmt: skip


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_whose_required_service_can_not_be_started_says_why_and_exits_with_1(
    redis_server: EmbeddedRedis, tmp_path: Path, pool: str
) -> None:  # fmt: skip
    with deployed(unbootable, tmp_path, empty_database(redis_server)) as deployment:
        worker = deployment.worker(pool=pool, concurrency=1, wait=False)
        assert worker.wait_until_gone(deadline_s=60) == 1
        (line,) = [line for line in worker.log().splitlines() if "CRITICAL" in line]
        why = "service app:needed is required, and given up after 2 failed runs: cannot be started: "
        assert f"this worker cannot boot: {why}" in line
        assert "no network" in line
        assert line.endswith("mend that, or give it 'startup: optional'")


def test_the_example_of_a_service_crashes_and_comes_back(
    redis_url: str, worker: Callable[..., WorkerProcess]
) -> None:  # fmt: skip
    feed = "app.services:price_feed"
    worker(pool="threads")
    with Celery("feed-client", broker=redis_url, backend=redis_url, set_as_current=False) as app:
        Orchestration(app, config=str(ROOT / "config"))
        client = Client(app)
        assert seen(client, feed).reason == "it is not started by itself"
        client.start_service(feed, wait=True, timeout=30)
        found = wait_for(client, feed, "running", fits=lambda found: found.restarts >= 1)
        assert "the connection is lost" in found.error
        client.stop_service(feed, wait=True, timeout=30)
        assert seen(client, feed).reason == "stopped by an operator"
