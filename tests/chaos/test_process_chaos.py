"""Workers are killed and paused at random under groups of supervised processes: in the end all is as it should be.

Each group is a service: a process that starts its members on two hosts, under names, watches them, is linked to them,
and starts them again when they end. ``ORCHESTRATION_TEST_SEED`` repeats a run's choices (not its timing).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until

GROUPS, MEMBERS = 20, 14
DEAD_MS = 2500
TIMES = {"node_dead_after_ms": DEAD_MS, "heartbeat_ms": 500}

# Workers and the hosts that each serves. Wherever a service runs, half of its members live on another worker.
WORKERS = [
    {"pool": "threads", "options": ["--hosts", "app:main-0,app:main-2,app:left"]},
    {"pool": "threads", "options": ["--hosts", "app:main-0,app:main-1,app:left"]},
    {"pool": "prefork", "options": ["--hosts", "app:main-1,app:main-2,app:right"]},
]

project = Project(
    settings=TIMES, concurrency=2, env={f"ORCHESTRATION_{name.upper()}": str(value) for name, value in TIMES.items()}
)
for host in ("main-0", "main-1", "main-2", "left", "right"):
    project.entry(host, "process.host", lifecycle={"start_timeout": "5s", "stop_timeout": "2s"})

project.lua(
    "member",
    "process.lua",
    """
    local function main(group, place)
        local inbox, events = process.inbox(), process.events()
        while true do
            local picked = channel.select { inbox:case_receive(), events:case_receive() }
            if picked.channel == events then return end
            process.send(picked.value:from(), "pong", place)
        end
    end
    return main
    """,
)
project.lua(
    "group",
    "process.lua",
    """
    local time = require("time")
    local function main(number, size)
        process.set_options { trap_links = true }
        local events, audits = process.events(), process.listen("audit", { message = true })
        while not process.registry.register("group-" .. number) do time.sleep("200ms") end
        local members, early = {}, {} -- address -> place; ends that came before the answer to the spawn

        local function start(place)
            while true do
                local name = "member-" .. number .. "-" .. place
                local host = place % 2 == 0 and "app:left" or "app:right"
                local pid, err = process.with_context({}):with_name(name):spawn_linked_monitored("app:member", host, number, place)
                if pid and not early[pid] then
                    members[pid] = place
                    return
                end
                if pid then early[pid] = nil end
                time.sleep("200ms")
            end
        end

        for place = 1, size do coroutine.spawn(function() start(place) end) end
        while true do
            local picked = channel.select { events:case_receive(), audits:case_receive() }
            local value = picked.value
            if picked.channel == audits then
                process.send(value:from(), "audited", process.pid(), members)
            elseif value.kind == "pid.cancel" then
                return
            elseif value.kind == "pid.exit" then
                local place = members[value.from]
                members[value.from] = nil
                if place then coroutine.spawn(function() start(place) end) else early[value.from] = true end
            end
        end
    end
    return main
    """,  # noqa: E501 - Lua reads better on one line
    modules=["time"],
)
audit = project.function(
    "audit",
    """
    local time = require("time")
    -- audit(number) -> { group, members = address -> place, answers = number of members that answer }, or a text
    local function main(number)
        local answers, pongs = process.listen("audited"), process.listen("pong")
        local ok, err = process.send("group-" .. number, "audit")
        if err then return err:message() end
        local patience = time.after("10s")
        local picked = channel.select { answers:case_receive(), patience:case_receive() }
        if picked.channel == patience then return "the group does not answer" end
        local found = { group = picked.value[1], members = picked.value[2], answers = 0 }
        local count = 0
        for pid in pairs(found.members) do
            if process.send(pid, "ping") then count = count + 1 end
        end
        while found.answers < count do
            if channel.select { pongs:case_receive(), patience:case_receive() }.channel == patience then break end
            found.answers = found.answers + 1
        end
        return found
    end
    return main
    """,
)
services = [
    project.entry(
        f"service-{number}", "process.service", process="app:group", host=f"app:main-{number % 3}",
        input=[number, MEMBERS],
        lifecycle={"auto_start": True, "restart": {"initial_delay": "100ms", "max_delay": "2s", "jitter": 0.5}},
    )
    for number in range(GROUPS)
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_supervised_groups_outlive_kills_and_pauses(redis_url: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("ORCHESTRATION_TEST_SEED") or random.randrange(10**6))
    print(f"ORCHESTRATION_TEST_SEED={seed}")
    with deployed(project, tmp_path, redis_url) as deployment:
        storm = _Storm(deployment, random.Random(seed))
        end = time.monotonic() + float(os.environ.get("ORCHESTRATION_TEST_STORM_S", "60"))
        while time.monotonic() < end:
            storm.strike()
        storm.clear()
        _wait_until_well(deployment)
        print(f"{storm.faults} faults, well within {time.monotonic() - end:.0f} s")
        for kill in (storm.kill, storm.kill_host):  # a quiet deployment, in which nothing else tells of the dead
            kill(0)
            _wait_until_well(deployment)
        for worker in deployment.workers:
            assert "Traceback" not in worker.log() or worker not in storm.workers, worker.log()


def _wait_until_well(deployment: Deployment) -> None:
    problems: list[str] = []

    def is_well() -> bool:
        problems[:] = _problems(deployment)
        return not problems

    wait_until(is_well, deadline_s=60, every_s=1.0, message=lambda: "\n".join(["all is well:", *problems]))


class _Storm:
    """What happens to the workers of a deployment."""

    def __init__(self, deployment: Deployment, chance: random.Random) -> None:
        self._deployment = deployment
        self._chance = chance
        self.workers = [deployment.worker(wait=False, **options) for options in WORKERS]  # type: ignore[arg-type]
        self._paused: dict[int, tuple[float, list[int]]] = {}
        self.faults: Counter[str] = Counter()
        for worker in self.workers:
            worker.wait_until_ready(deadline_s=60)

    def strike(self) -> None:
        """One more thing happens, and a moment goes by."""
        number = self._chance.randrange(len(self.workers))
        self._chance.choice([self.kill, self.kill_host, self._pause, self._pause])(number)
        until = time.monotonic() + self._chance.uniform(0.5, 3.0)
        while time.monotonic() < until:
            for place, (wakes, _) in list(self._paused.items()):
                if time.monotonic() >= wakes:
                    self._resume(place)
            time.sleep(0.05)

    def clear(self) -> None:
        """Nothing more happens, and everybody is back."""
        for number in list(self._paused):
            self._resume(number)
        for worker in self.workers:
            worker.wait_until_ready(deadline_s=60)

    def kill(self, number: int) -> None:
        """A worker with all its processes; another is started in its place."""
        self._paused.pop(number, None)
        self.workers[number].kill()
        self.workers[number] = self._deployment.worker(wait=False, **WORKERS[number])  # type: ignore[arg-type]
        self.faults["kill"] += 1

    def kill_host(self, _number: int) -> None:
        """The process beside the prefork worker that serves its hosts; the worker starts it again."""
        for pid in self.workers[-1].children():
            with contextlib.suppress(psutil.Error):
                if "orchestration.host" in psutil.Process(pid).cmdline():
                    _signal(pid, signal.SIGKILL)
                    self.faults["kill host"] += 1

    def _pause(self, number: int) -> None:
        """For less time than a node may be silent, or for more."""
        if number in self._paused:
            return
        worker = self.workers[number]
        pids = [worker.pid, *worker.children()]
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        self._paused[number] = (time.monotonic() + self._chance.uniform(0.3, 2.5) * DEAD_MS / 1000, pids)
        self.faults["pause"] += 1

    def _resume(self, number: int) -> None:
        for pid in self._paused.pop(number)[1]:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _problems(deployment: Deployment) -> list[str]:
    """What is not as it should be."""
    store = deployment.orchestration.runtime.store("default")
    actors = store.actors
    nodes = set(actors.node_ids())
    living = {
        f"{{{node}@{info['place']}|{unique}}}": info for node in nodes for unique, info in actors.living(node).items()
    }
    entries = {pid: info["entry"] for pid, info in living.items()}
    return [*_services(deployment, entries), *_groups(deployment, entries), *_names(actors, entries),
            *_keys(deployment, nodes)]  # fmt: skip


def _services(deployment: Deployment, entries: dict[str, str]) -> list[str]:
    """Every service runs, and once."""
    found = []
    described = deployment.client.list_services()
    for service in described:
        if service.state != "running" or entries.get(service.pid or "") != "app:group":
            found.append(f"{service.id} is {service.state} as {service.pid}: {service.reason}")
    groups = sorted(pid for pid, entry in entries.items() if entry == "app:group")
    if groups != sorted(service.pid or "" for service in described):
        found.append(f"{len(groups)} groups for {len(described)} services")
    return found


def _groups(deployment: Deployment, entries: dict[str, str]) -> list[str]:
    """Every group has its members and no others, and knows of no dead one: no monitor is without its EXIT."""
    found = []

    def look(number: int) -> Any:
        return deployment.client.call(audit, number, timeout=30)

    with ThreadPoolExecutor(4) as threads:
        audits = list(threads.map(look, range(GROUPS)))
    known: list[str] = []
    for number, seen in enumerate(audits):
        if not isinstance(seen, dict):
            found.append(f"group {number}: {seen}")
            continue
        members = dict(seen["members"] or {})
        known += members
        if sorted(members.values()) != list(range(1, MEMBERS + 1)) or seen["answers"] != MEMBERS:
            found.append(f"group {number} has {len(members)} members, {seen['answers']} answer")
        found += [f"group {number} waits for the end of {pid}, which is gone" for pid in members if pid not in entries]
    strays = {pid for pid, entry in entries.items() if entry == "app:member"} - set(known)
    found += [f"{pid} belongs to no group" for pid in sorted(strays)]
    return found


def _names(actors: Any, entries: dict[str, str]) -> list[str]:
    """Every name leads to a living process, and all are taken."""
    names = actors.names()
    wanted = {f"group-{number}" for number in range(GROUPS)}
    wanted |= {f"member-{number}-{place}" for number in range(GROUPS) for place in range(1, MEMBERS + 1)}
    found = [f"the name {name} leads to {pid}, which is gone" for name, pid in names.items() if pid not in entries]
    return found + [f"nobody is called {name}" for name in sorted(wanted - set(names))]


def _keys(deployment: Deployment, nodes: set[str]) -> list[str]:
    """No key is of a node that is no more."""
    call: Callable[..., Any] = deployment.orchestration.runtime.connection.call
    found = []
    for key in (key.decode() for key in call("KEYS", "orc:{default.p}:*")):
        of_node = re.fullmatch(r"orc:\{default\.p\}:(?:node|living|named|mail):([0-9a-f]{12})", key)
        if of_node is not None and of_node[1] not in nodes:
            found.append(f"left behind: {key}")
        if key.startswith("orc:{default.p}:host:"):
            found += [f"in {key}: {node}" for node in map(bytes.decode, call("SMEMBERS", key)) if node not in nodes]
    return found
