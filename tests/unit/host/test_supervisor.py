"""Services on one node: taken, started, restarted, stopped, given up. The processes are the test's own."""

from __future__ import annotations

import itertools
import logging
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.core import payload
from orchestration.core.identity import Identity
from orchestration.host.cell import Ending
from orchestration.host.spawning import SpawnRequest
from orchestration.host.supervisor import Supervisor
from orchestration.registry import load_registry
from orchestration.store.actors import Roll
from orchestration.store.keys import Keyspace
from orchestration.store.memory import MemoryConnection
from orchestration.store.services import ServiceRecord
from orchestration.store.store import Store
from tests.support.waiting import wait_until

HEAD = """\
namespace: app
entries:
  - {name: host, kind: process.host}
  - {name: body, kind: process.lua, source: return 1}
  - {name: all, kind: security.policy, groups: [staff], policy: {actions: '*', resources: '*', effect: allow}}
"""
FAST = "restart: {initial_delay: 20ms, jitter: 0}"


def service(name: str, lifecycle: str = "", more: str = "") -> str:
    lifecycle = ", ".join(part for part in ("auto_start: true", lifecycle) if part)
    text = f"- name: {name}\n  kind: process.service\n  process: body\n  host: host\n  lifecycle: {{{lifecycle}}}\n"
    return textwrap.indent(text + more, "  ")


class FakeNode:
    """A node whose processes do what the test says."""

    _numbers = itertools.count(1)

    def __init__(self, world: World, id_: str) -> None:
        self.id = id_
        self.runtime = SimpleNamespace(
            registry=world.registry, store=lambda _namespace: world.store, settings=SimpleNamespace(namespace="default")
        )
        self.membership = SimpleNamespace(
            hosts={"app:host"}, on_roll=[], on_lost=[], may_act=lambda: not self.stood_still
        )
        self.stood_still = False
        self.spawning = self
        self.world = world
        self.living: dict[str, Callable[[Ending], None]] = {}
        self.requests: list[SpawnRequest] = []
        self.cancelled: list[str] = []
        self.terminated: list[str] = []
        self.obeys = True
        self.refuses = ""
        self.is_slow: list[Callable[[], None]] | None = None
        self.refused: list[str] = []

    def spawn(self, request: SpawnRequest, answer: Callable[[bool, bytes], None], *, on_end: Any) -> None:
        self.requests.append(request)
        if self.refuses:
            answer(False, payload.encode_failure(self.refuses, kind="NotFound", retryable=False))
            return
        pid = f"{{{self.id}@app:host|{next(self._numbers)}}}"

        def come() -> None:
            self.living[pid] = on_end
            answer(True, payload.encode(pid))

        if self.is_slow is None:
            come()
        else:
            self.is_slow.append(come)

    def find(self, pid: str) -> str | None:
        return pid if pid in self.living else None

    def cancel(self, pid: str, reason: str, sender: str) -> None:
        assert (reason, sender) == ("service stopping", "")
        self.cancelled.append(pid)
        if self.obeys:
            self.end(pid)

    def terminate(self, pid: str) -> None:
        self.terminated.append(pid)
        self.end(pid, "process terminated")

    def end(self, pid: str = "", error: str = "", **facts: Any) -> None:
        told = self.living.pop(pid or next(iter(self.living)))
        facts = {"kind": "Internal", **facts}
        told(Ending(False, payload.encode_failure(error, **facts)) if error else Ending(True))

    def beat(self) -> None:
        nodes = self.world.store.connection.call("ZRANGE", self.world.nodes, 0, -1)
        for told in list(self.membership.on_roll):
            told(Roll(True, (), frozenset(node.decode() for node in nodes)))


class World:
    """Services, a store, and the nodes and supervisors that the test starts."""

    def __init__(self, folder: Path, *services: str) -> None:
        (folder / "app.yaml").write_text(HEAD + "".join(services), "utf-8")
        self.registry = load_registry(folder, env={})
        keyspace = Keyspace("orc", "default", 1)
        self.nodes = keyspace.actors.nodes
        self.store = Store(MemoryConnection(), keyspace)
        self.supervisors: list[Supervisor] = []

    def node(self, id_: str = "one", **facts: Any) -> FakeNode:
        node = FakeNode(self, id_)
        for name, value in facts.items():
            setattr(node, name, value)
        self.store.connection.call("ZADD", self.nodes, 1, id_)
        node.supervisor = Supervisor(node, node.refused.append)  # type: ignore[arg-type, attr-defined]
        node.supervisor.start()  # type: ignore[attr-defined]
        self.supervisors.append(node.supervisor)  # type: ignore[attr-defined]
        return node

    def die(self, node: FakeNode) -> None:
        self.store.connection.call("ZREM", self.nodes, node.id)

    def seen(self, name: str) -> ServiceRecord:
        id_ = f"app:{name}"
        return self.store.services.read([id_]).get(id_) or ServiceRecord(instance=id_, service=id_)

    def wait(self, name: str, state: str, **facts: Any) -> ServiceRecord:
        def there() -> ServiceRecord | None:
            found = self.seen(name)
            fits = all(getattr(found, fact) == value for fact, value in facts.items())
            return found if found.state == state and fits else None

        return wait_until(there, message=lambda: f"{name} {state} {facts}: {self.seen(name)}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(*services: str) -> World:
        made.append(World(tmp_path, *services))
        return made[-1]

    yield make
    for each in made:
        for supervisor in each.supervisors:
            supervisor.stop()


def test_an_auto_start_service_is_started_with_its_input_and_identity(world):
    security = "security: {actor: {id: me, meta: {team: x}}, groups: [staff]}"
    here = world(service("a", security, "  input: [1, {x: [2]}]\n"))
    node = here.node()
    record = here.wait("a", "running")
    (request,) = node.requests
    assert (request.entry_id, request.host) == ("app:body", "app:host")
    assert payload.decode(request.args) == [1, {"x": [2]}]
    assert request.identity == Identity({"id": "me", "meta": {"team": "x"}}, ("app:all",))
    assert request.context == {"service.id": "app:a", "service.fence": record.fence}
    assert (record.owner, record.runs, record.reason) == ("one", 1, "started")
    assert record.pid in node.living


def test_without_a_security_block_a_service_has_no_actor_and_no_scope(world):
    here = world(service("a"))
    node = here.node()
    here.wait("a", "running")
    assert node.requests[0].identity == Identity()


def test_a_service_that_is_not_started_by_itself_waits_for_an_operator(world):
    here = world(service("a", "auto_start: false").replace("auto_start: true, ", ""))
    node = here.node()
    node.beat()
    here.store.services.wish("app:a", "run", request="r")
    assert not node.requests
    node.beat()
    here.wait("a", "running")


def test_a_crash_is_followed_by_a_restart_under_a_new_pid(world, caplog):
    caplog.set_level(logging.INFO, "orchestration.host.ward")
    here = world(service("a", FAST))
    node = here.node()
    first = here.wait("a", "running").pid
    node.end(error="boom")
    second = here.wait("a", "running", runs=2)
    assert second.pid != first
    assert (second.error, second.failures) == ("boom", 1)
    told = [(record.state, record.reason) for record in caplog.records if hasattr(record, "service")]
    assert told == [
        ("starting", "starts"), ("running", "started"), ("failed", "boom"),
        ("starting", "starts again after failure 1: boom"), ("running", "started"),
    ]  # fmt: skip


def test_the_delay_is_seen_while_it_lasts(world):
    here = world(service("a", "restart: {initial_delay: 1h, max_delay: 1h, jitter: 0}"))
    node = here.node()
    here.wait("a", "running")
    node.end(error="boom")
    record = here.wait("a", "failed", reason="boom")
    assert record.due_ms == pytest.approx(record.since_ms + 3_600_000, abs=1_000)
    assert (record.is_held, record.pid) == (True, "")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "ended normally"),
        ({"error": "no money", "retryable": False}, "ended with an error that is final: no money"),
        ({"error": "canceled", "kind": "Canceled"}, "was cancelled"),
    ],
)
def test_an_end_that_is_final_is_left_alone_by_all(world, facts, reason):
    here = world(service("a", FAST))
    one, two = here.node("one"), here.node("two")
    record = here.wait("a", "running")
    (one if record.owner == "one" else two).end(**facts)
    assert here.wait("a", "exited", owner="").reason == reason
    one.beat()
    two.beat()
    assert here.store.services.take("three", "app:a", digest="").status == "gone"
    for supervisor in here.supervisors:
        supervisor.stop()
    assert len(one.requests + two.requests) == 1
    assert here.seen("a").state == "exited"


def test_max_attempts_reached_is_failed_for_all_until_an_operator_restarts_it(world):
    here = world(service("a", "restart: {initial_delay: 1ms, max_attempts: 3}"))
    one = here.node("one")
    for run in (1, 2, 3):
        here.wait("a", "running", runs=run)
        one.end(error="boom")
    assert here.wait("a", "failed", owner="").reason == "given up after 3 failed runs: boom"
    two = here.node("two")
    two.beat()
    here.store.services.wish("app:a", "restart", request="r")
    assert not two.requests
    two.beat()
    here.wait("a", "running", runs=4, failures=0)
    assert len(two.requests) == 1


def test_a_start_that_fails_is_tried_again(world):
    here = world(service("a", FAST))
    node = here.node(refuses="factory not found")
    record = here.wait("a", "failed")
    assert record.reason == "cannot be started: factory not found"
    node.refuses = ""
    here.wait("a", "running")


def test_a_process_that_comes_too_late_is_ended(world):
    here = world(service("a", f"start_timeout: 30ms, {FAST}"))
    node = here.node(is_slow=[])
    assert here.wait("a", "failed").reason == "start timeout after 0.03s"
    late, node.is_slow = node.is_slow, None
    here.wait("a", "running")
    for come in late:
        come()
    wait_until(lambda: len(node.terminated) == len(late))
    assert list(node.living) == [here.seen("a").pid]


def test_one_node_has_it_and_another_takes_it_over_when_that_one_dies(world):
    here = world(service("a"))
    one = here.node("one")
    first = here.wait("a", "running")
    two = here.node("two")
    two.beat()
    assert not two.requests
    here.die(one)
    two.beat()
    record = here.wait("a", "running", owner="two")
    assert record.fence == first.fence + 1
    assert (record.failures, record.runs) == (0, 2)


def test_who_was_taken_for_dead_ends_its_process_and_writes_nothing(world):
    here = world(service("a", FAST))
    one = here.node("one")
    here.wait("a", "running")
    here.die(one)
    two = here.node("two")
    here.wait("a", "running", owner="two")
    one.end(error="this worker was silent for too long")
    one.supervisor.stop()
    assert here.seen("a").owner == "two"
    assert len(one.requests) == 1
    assert len(two.living) == 1


def test_a_node_that_comes_back_under_another_name_begins_anew(world):
    here = world(service("a"))
    one = here.node("one")
    here.wait("a", "running")
    here.die(one)
    one.living.clear()
    one.id = "other"
    here.store.connection.call("ZADD", here.nodes, 1, "other")
    one.membership.on_lost[0]()
    assert here.wait("a", "running", owner="other").runs == 2


def test_the_stop_of_a_worker_hands_its_services_over_at_once(world):
    here = world(service("a"))
    one = here.node("one")
    here.wait("a", "running")
    two = here.node("two")
    one.supervisor.stop()
    assert len(one.cancelled) == 1
    record = here.seen("a")
    assert (record.state, record.owner, record.reason) == ("stopped", "", "its worker stops; another may take it up")
    two.beat()
    here.wait("a", "running", owner="two")


def test_a_delay_goes_on_under_the_next_worker(world):
    here = world(service("a", "restart: {initial_delay: 1h, max_delay: 1h, jitter: 0}"))
    one = here.node("one")
    here.wait("a", "running")
    one.end(error="boom")
    due = here.wait("a", "failed").due_ms
    one.supervisor.stop()
    two = here.node("two")
    record = here.wait("a", "failed", owner="two")
    assert record.due_ms == pytest.approx(due, abs=1_000)
    assert (record.reason, record.failures) == ("boom", 1)
    assert not two.requests


def test_a_process_that_does_not_stop_in_time_is_terminated(world):
    here = world(service("a", "stop_timeout: 30ms"))
    one = here.node("one", obeys=False)
    here.wait("a", "running")
    one.supervisor.stop()
    assert len(one.terminated) == 1
    record = here.seen("a")
    assert (record.state, record.reason, record.owner) == ("failed", "stop timeout after 0.03s", "")
    here.node("two")
    here.wait("a", "running", owner="two")


def test_services_start_after_what_they_require_and_stop_before_it(world):
    here = world(service("a", "requires: [b]"), service("b", "requires: [c]"), service("c"))
    started: list[str] = []
    node = here.node(is_slow=started)
    wait_until(lambda: len(node.requests) == 1)
    for name, waiting in (("c", "b"), ("b", "a"), ("a", "")):
        if waiting:
            told = f"waits for app:{name} (starting"
            wait_until(lambda: here.seen(waiting).reason.startswith(told))  # noqa: B023
        wait_until(lambda: started)
        node.is_slow.pop()()
        here.wait(name, "running")
    order = [here.seen(name).pid for name in ("a", "b", "c")]
    node.supervisor.stop()
    assert node.cancelled == order


def test_a_dependency_that_never_comes_up_is_named_in_the_state_of_who_waits(world):
    here = world(service("a", "requires: [b], start_timeout: 30ms"), service("b", "restart: {max_attempts: 1}"))
    node = here.node()
    here.wait("b", "running")
    here.wait("a", "running")
    here.store.services.wish("app:a", "stop", request="1")
    node.beat()
    here.wait("a", "stopped", owner="")
    node.end(error="no disk")
    here.wait("b", "failed", owner="")
    here.store.services.wish("app:a", "run", request="2")
    node.beat()
    told = "waits for app:b (failed: given up after 1 failed runs: no disk)"
    assert here.wait("a", "failed").reason == f"start timeout after 0.03s: still {told}"
    here.store.services.wish("app:b", "restart", request="3")
    node.beat()
    here.wait("a", "running")


def test_a_restart_of_a_dependency_does_not_restart_who_requires_it(world):
    here = world(service("a", "requires: [b]"), service("b", FAST))
    node = here.node()
    pid = here.wait("a", "running").pid
    node.end(here.seen("b").pid, "boom")
    here.wait("b", "running", runs=2)
    assert here.seen("a").pid == pid


def test_a_dependency_may_run_on_another_node(world):
    here = world(service("a", "requires: [b]"), service("b"))
    one = here.node("one")
    here.wait("a", "running", owner="one")
    here.store.services.wish("app:a", "stop", request="1")
    one.beat()
    here.wait("a", "stopped", owner="")
    two = here.node("two")
    here.store.services.wish("app:a", "run", request="2")
    two.beat()
    here.wait("a", "running", owner="two")
    assert here.seen("b").owner == "one"


def test_an_operator_stops_starts_and_restarts(world):
    here = world(service("a"))
    node = here.node()
    here.wait("a", "running")
    for number, (want, state, runs) in enumerate(
        [("restart", "running", 2), ("run", "running", 2), ("stop", "stopped", 2), ("run", "running", 3)], 1
    ):
        assert here.store.services.wish("app:a", want, request=str(number)) == number
        node.beat()
        wait_until(lambda: here.seen("a").seen == number or want == "stop")  # noqa: B023
        here.wait("a", state, runs=runs)
    assert here.seen("a").failures == 0


def test_a_stop_by_an_operator_survives_the_workers(world):
    here = world(service("a"))
    one = here.node("one")
    here.wait("a", "running")
    here.store.services.wish("app:a", "stop", request="r")
    one.beat()
    assert here.wait("a", "stopped", owner="").reason == "stopped by an operator"
    one.supervisor.stop()
    two = here.node("two")
    two.beat()
    two.supervisor.stop()
    assert not two.requests
    assert here.seen("a").state == "stopped"


def test_with_scope_worker_each_node_has_one_and_those_of_dead_nodes_are_forgotten(world):
    here = world(service("a", FAST, "  scope: worker\n"))
    one, two = here.node("one"), here.node("two")
    here.wait("a|one", "running")
    here.wait("a|two", "running")
    two.beat()
    here.die(one)
    two.beat()
    wait_until(lambda: here.store.services.instances() == ["app:a|two"])
    assert len(two.requests) == 1


def test_the_store_away_for_a_moment_loses_no_change(world):
    here = world(service("a", FAST))
    node = here.node()
    here.wait("a", "running")
    note, calls = here.store.services.note, []

    def away(*args: Any, **fields: Any) -> bool:
        calls.append(fields)
        if len(calls) < 2:
            from orchestration.errors import StoreUnavailableError

            raise StoreUnavailableError("Redis is away")
        return note(*args, **fields)

    here.store.services.note = away
    node.end(error="boom")
    here.wait("a", "running", runs=2, failures=1)


def test_a_required_service_that_does_not_start_in_time_fails_the_boot_once(world):
    here = world(service("a", f"start_timeout: 500ms, {FAST}"))
    node = here.node(refuses="factory not found")
    wait_until(lambda: node.refused)
    assert here.seen("a").runs > 1, "it has been tried again until then"
    cure = "mend that, or give it 'startup: optional'"
    assert node.refused == [f"service app:a is required, and cannot be started: factory not found; {cure}"]
    node.refuses = ""
    here.wait("a", "running")
    assert len(node.refused) == 1


def test_a_start_that_is_given_up_fails_the_boot_at_once_and_the_next_boot_tries_again(world):
    here = world(service("a", "start_timeout: 1h, restart: {initial_delay: 1ms, max_attempts: 2}"))
    one = here.node("one", refuses="factory not found")
    wait_until(lambda: one.refused)
    assert "given up after 2 failed runs: cannot be started: factory not found" in one.refused[0]
    here.wait("a", "failed", owner="")
    one.supervisor.stop()
    two = here.node("two")
    here.wait("a", "running", owner="two")
    assert not two.refused


def test_a_start_that_hangs_fails_the_boot(world):
    here = world(service("a", "start_timeout: 30ms, restart: {initial_delay: 1h, max_delay: 1h}"))
    node = here.node(is_slow=[])
    wait_until(lambda: node.refused)
    assert "start timeout after 0.03s" in node.refused[0]


def test_a_worker_that_stood_still_does_not_take_that_for_a_failed_boot(world):
    here = world(service("a", f"start_timeout: 10ms, {FAST}"))
    node = here.node(refuses="factory not found", stood_still=True)
    wait_until(lambda: here.seen("a").runs >= 4)
    assert not node.refused
    node.stood_still = False
    node.beat()
    wait_until(lambda: node.refused)


def test_an_optional_service_may_fail_unless_a_required_one_needs_it(world):
    here = world(
        service("a", f"startup: optional, start_timeout: 10ms, {FAST}"),
        service("b", "startup: optional, requires: [a]"),
    )
    node = here.node(refuses="factory not found")
    wait_until(lambda: here.seen("a").runs >= 4)
    assert not node.refused


def test_what_a_required_service_needs_is_required_too(world):
    here = world(service("a", f"startup: optional, start_timeout: 10ms, {FAST}"), service("b", "requires: [a]"))
    node = here.node(refuses="factory not found")
    wait_until(lambda: node.refused)
    assert node.refused[0].startswith("service app:a is required")


def test_a_service_that_fails_after_its_start_fails_no_boot(world):
    here = world(service("a", "start_timeout: 10ms, restart: {initial_delay: 1ms, max_attempts: 2}"))
    node = here.node()
    for run in (1, 2):
        here.wait("a", "running", runs=run)
        node.end(error="boom")
    here.wait("a", "failed", owner="")
    assert not node.refused


def test_what_is_taken_up_later_belongs_to_no_boot(world):
    here = world(service("a", f"start_timeout: 10ms, {FAST}"))
    one = here.node("one")
    here.wait("a", "running")
    two = here.node("two", refuses="factory not found")
    two.beat()
    wait_until(lambda: two.supervisor._boot is not None)
    here.die(one)
    two.beat()
    wait_until(lambda: here.seen("a").owner == "two" and here.seen("a").runs >= 4)
    assert not two.refused
