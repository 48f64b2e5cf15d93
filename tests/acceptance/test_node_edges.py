# ruff: noqa: E501 - Lua sources read better on one line
"""Nodes at their edges: what happens at the same moment, what is left behind, who waits in vain. Several nodes in one OS process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.errors import ApplicationError, StoreUnavailableError
from orchestration.host import wire
from orchestration.host.burial import Burial
from orchestration.host.cell import Ending
from orchestration.host.lua_cell import LuaCell
from orchestration.host.mail import send_mail
from orchestration.host.node import Node
from orchestration.host.serving import Serving
from orchestration.host.spawning import SpawnRequest
from orchestration.store.inputs import encode_input
from orchestration.tasks.functions import run_function
from orchestration.tasks.process_calls import run_process
from tests.support.actors import HOST, scenes
from tests.support.projects import deployed
from tests.support.waiting import wait_until

project, act = scenes()
act.process("waits", "process.inbox():receive() return 'done'")
act.process("naps", "time.sleep((...)) return 'slept'", meta={"default_host": HOST})
act.process("obeys", "process.events():receive()", meta={"default_host": HOST})
act.function("calls", "return funcs.call('app:single', '1ms')")
act.function("single", "time.sleep((...)) return 1", pool={"size": 1, "workers": 1, "max_size": 1})

Nodes = Callable[..., Node]


@pytest.fixture
def nodes(redis_url: str, tmp_path: Path) -> Iterator[Nodes]:
    """Makes nodes; with ``serves`` one serves the host."""
    made: list[Any] = []

    def make(*, serves: bool = False, **settings: Any) -> Node:
        scope = deployed(project, tmp_path / f"n{len(made)}", redis_url, **settings)
        deployment = scope.__enter__()
        made.append(scope)
        node = deployment.orchestration.runtime.node
        if serves:
            Serving(node, [HOST]).start()
        return node

    yield make
    for scope in reversed(made):
        scope.__exit__(None, None, None)


def spawned(node: Node, entry: str, *args: Any, **fields: Any) -> str:
    """Start a process; its address."""
    done: list[Any] = []
    came = threading.Event()

    def answer(ok: bool, value: bytes) -> None:
        done[:] = [ok, value]
        came.set()

    node.spawning.spawn(SpawnRequest(entry_id=entry, host=HOST, args=payload.encode(list(args)), **fields), answer)
    assert came.wait(10), "the start was never answered"
    assert done[0], payload.decode_failure(done[1])
    return str(payload.decode(done[1]))


def has_begun(near: Node, far: Node) -> bool:
    """Whether a process has been started there for one who waits here."""
    return bool(far.cells and near.routes._calls and not near.routes._requests)


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run something in a thread; its result or error."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, found


def test_whoever_waits_for_the_end_of_a_process_keeps_its_node_known(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that nothing lives in is forgotten after a while; a thread that waits for another's process lives in it."""
    monkeypatch.setattr("orchestration.host.membership._IDLE_S", 0.2)
    nodes(serves=True)
    node = nodes(heartbeat_ms=50)
    thread, found = in_thread(lambda: run_process(node.runtime, node.runtime.registry.get("app:naps"), ["1500ms"]))
    thread.join(10)
    assert found == ["slept"]


def test_whoever_waits_for_the_end_of_a_process_hears_that_its_own_node_is_buried(nodes: Nodes) -> None:
    far = nodes(serves=True)
    node = nodes(heartbeat_ms=50)
    thread, found = in_thread(lambda: run_process(node.runtime, node.runtime.registry.get("app:naps"), ["1h"]))
    wait_until(lambda: has_begun(node, far))
    node.actors.bury(node.id)
    thread.join(10)
    assert found, "it waits for ever"
    assert isinstance(found[0], ApplicationError)


def test_closing_a_node_ends_what_waits_in_it(nodes: Nodes) -> None:
    far = nodes(serves=True)
    node = nodes()
    waits = [
        in_thread(lambda: run_process(node.runtime, node.runtime.registry.get("app:naps"), ["1h"])),
        in_thread(lambda: run_function(node.runtime, "app:single", ["1h"])),
        in_thread(lambda: run_function(node.runtime, "app:single", ["1h"])),
    ]
    wait_until(lambda: len(node.cells) == 2 and has_begun(node, far))
    node.close()
    for thread, found in waits:
        thread.join(5)
        assert found, "it waits for ever"
        assert isinstance(found[0], ApplicationError)


def test_a_function_whose_thread_is_interrupted_leaves_nothing_behind(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a soft time limit of Celery does, while the function runs or waits for its place in the pool."""
    node = nodes()

    class Interrupt(BaseException):
        pass

    def interrupted(*_: Any, **__: Any) -> None:
        raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr("orchestration.host.lua_cell.PinnedCell._step", interrupted)
        with pytest.raises(Interrupt):
            run_function(node.runtime, "app:single", ["1ms"])
    assert not node.cells
    with monkeypatch.context() as patch:
        patch.setattr("orchestration.tasks.functions._wait_for_place", interrupted)
        with pytest.raises(Interrupt):
            run_function(node.runtime, "app:single", ["1ms"])
    thread, found = in_thread(lambda: run_function(node.runtime, "app:single", ["1ms"]))
    thread.join(10)
    assert found == [1]


def test_a_name_is_free_when_its_process_ended_while_it_was_given(nodes: Nodes) -> None:
    node = nodes(serves=True)
    pid = spawned(node, "app:waits")
    cell = node.find(pid)
    assert cell is not None
    answered = threading.Event()

    def done(_problem: Any, _value: Any) -> None:
        answered.set()

    # At the moment at which Redis has given the name, and before the node knows of it.
    real = node.names.add

    def add(cell: Any, name: str) -> Any:
        node.end(cell, Ending(True))
        return real(cell, name)

    node.names.add = add  # type: ignore[method-assign]
    node.names.register("mine", pid, done)
    assert answered.wait(5)
    assert node.post.flush(5)
    assert node.actors.lookup("mine") is None


def test_a_start_whose_process_was_ended_before_it_was_known_is_answered(nodes: Nodes) -> None:
    node = nodes(serves=True)
    answers: list[bool] = []
    real = node.names.add

    def add(cell: Any, name: str) -> Any:
        node.end(cell, Ending(False, payload.encode_failure("ended", kind="Internal")))
        return real(cell, name)

    node.names.add = add  # type: ignore[method-assign]
    node.spawning.spawn(
        SpawnRequest(entry_id="app:waits", host=HOST, name="n"), lambda ok, _value: answers.append(ok)
    )
    wait_until(lambda: answers == [False])
    assert node.post.flush(5)
    assert node.actors.lookup("n") is None


FAILED = Ending(False, payload.encode_failure("no", kind="Internal"))


def parent_on(node: Node) -> LuaCell:
    """A cell that has begun nothing, known to all."""
    cell = LuaCell(node, "app:waits", HOST, node.caller("app:waits"))
    node.add(cell)
    node.expose(cell)
    assert node.post.flush(5)
    return cell


def test_who_is_linked_by_its_start_hears_that_its_parent_failed_meanwhile(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    node = nodes(serves=True)
    parent = parent_on(node)
    real = node.actors.register

    def register(*args: Any, **more: Any) -> Any:
        node.end(parent, FAILED)
        return real(*args, **more)

    monkeypatch.setattr(node.actors, "register", register)
    began = threading.Event()
    node.spawning.spawn(
        SpawnRequest(entry_id="app:waits", host=HOST, parent=parent.pid, links=True), lambda *_: began.set()
    )
    assert began.wait(5)
    wait_until(lambda: not node.cells)


def test_who_is_linked_by_its_start_elsewhere_hears_that_its_parent_failed_meanwhile(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    far, near = nodes(serves=True), nodes()
    parent = parent_on(near)
    real, held = near.routes._reply, []
    monkeypatch.setattr(near.routes, "_reply", lambda *args: held.append(args))
    near.spawning.spawn(
        SpawnRequest(entry_id="app:waits", host=HOST, parent=parent.pid, links=True), lambda *_: None
    )
    wait_until(lambda: held)  # the child has been started, and its parent does not know yet
    near.end(parent, FAILED)
    assert far.cells
    real(*held[0])
    wait_until(lambda: not far.cells)


def test_many_calls_that_nobody_waits_for_any_more_leave_their_pool_at_once(nodes: Nodes) -> None:
    node = nodes()
    entry = node.runtime.registry.get("app:single")
    started: list[bool] = []

    def start(has_place: bool) -> None:
        started.append(has_place)
        node.pools.leave(entry)  # type: ignore[arg-type]

    node.pools.enter(entry, frozenset(), lambda _has_place: None)  # type: ignore[arg-type]
    for _ in range(5_000):
        node.pools.enter(entry, frozenset(), start)  # type: ignore[arg-type]
    node.pools.leave(entry)  # type: ignore[arg-type]
    assert len(started) == 5_000
    node.pools.enter(entry, frozenset(), start)  # type: ignore[arg-type]
    assert len(started) == 5_001


def test_the_longest_timer_stops_no_other(nodes: Nodes) -> None:
    node = nodes()
    node.timers.after(float(2**63), lambda: None)
    came = threading.Event()
    time.sleep(0.05)
    node.timers.after(0.01, came.set)
    assert came.wait(2)


@pytest.mark.parametrize("how", ["monitor", "call"])
def test_how_a_process_ended_is_told_once_though_its_node_has_gone_meanwhile(nodes: Nodes, how: str) -> None:
    """Word of the end and the end of the node come at one time, as to a worker that stood still."""
    far, near = nodes(serves=True), nodes(heartbeat_ms=50)
    pause = threading.Event()
    if how == "monitor":
        pid = spawned(far, "app:waits")
        watched = near.monitors.watch(pid)
    else:
        thread, found = in_thread(lambda: run_process(near.runtime, near.runtime.registry.get("app:naps"), ["500ms"]))
        wait_until(lambda: has_begun(near, far))
    assert near.post.flush(5)
    real = near.routes.take
    near.routes.take = lambda *args: (pause.wait(10), real(*args))[1]  # type: ignore[method-assign]
    if how == "monitor":
        far.routes.send(pid, encode_input(Code.SIGNAL, "t", payload.EMPTY_ARRAY, ""), lambda _problem: None)
    wait_until(lambda: not far.cells)
    far.close()
    told = near.membership.on_roll
    rolls: list[Any] = []
    told.append(rolls.append)
    wait_until(lambda: len(rolls) > 2)
    pause.set()
    if how == "monitor":
        assert watched.future.result(10).value == "done"
    else:
        thread.join(10)
        assert found == ["slept"]


def test_a_node_that_finds_itself_lived_in_at_the_last_moment_goes_on_saying_that_it_lives(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    node = nodes(heartbeat_ms=50)
    parent_on(node)
    looks: list[bool] = []
    monkeypatch.setattr(node.membership, "_is_idle", lambda: looks.append(True) or len(looks) == 1)
    wait_until(lambda: len(looks) > 3)


def test_a_jump_of_the_clock_of_redis_buries_nobody(nodes: Nodes) -> None:
    """All others look silent then, until they have said once more that they live."""
    node, other = nodes(), nodes()
    for one in (node, other):
        parent_on(one)
    burial = Burial(node.actors, node.runtime.registry, silent_ms=1)
    known = [node.id, other.id]
    time.sleep(0.01)
    burial.look(known, silent=known, has_listened=True)
    burial.look(known, silent=[other.id], has_listened=False)
    burial.look(known, silent=[other.id], has_listened=True)
    assert sorted(node.actors.node_ids()) == sorted(known)
    burial.look(known, silent=[other.id], has_listened=True)
    assert node.actors.node_ids() == [node.id]


def test_who_still_waits_when_the_hosts_of_its_worker_stop_hears_of_what_it_waits_for(nodes: Nodes) -> None:
    far = nodes(serves=True)
    near = nodes(heartbeat_ms=50)
    serving = Serving(near, [])
    near.membership.join(stays=True)
    thread, found = in_thread(lambda: run_process(near.runtime, near.runtime.registry.get("app:naps"), ["500ms"]))
    wait_until(lambda: has_begun(near, far))
    serving.stop()
    thread.join(10)
    assert found == ["slept"]


def test_two_ends_of_workflows_are_told_apart_by_their_beginnings(nodes: Nodes) -> None:
    """Mail that was read is thrown away once, also when Redis' answer to that is lost: by the beginning of the first."""
    node = nodes()
    cell = parent_on(node)
    node.post.close()
    address = wire.address_of(cell.pid)
    assert address is not None
    sender = nodes()
    for number in range(2):
        send_mail(sender.runtime, address, f"end/@{node.id}/{address.unique}/monitor/{{app:c@app:w|{number}}}", "item", b"")
    read = node.actors.take_mail(node.id, [])
    first = read[:1]
    node.actors.take_mail(node.id, first)
    assert node.actors.take_mail(node.id, first) == read[1:], "the second was never read"


def test_serving_is_taken_up_again_however_long_redis_is_away(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    node = nodes(serves=True, heartbeat_ms=50)
    real, fails = node.actors.join, iter(range(3))

    def join(*args: Any) -> None:
        if next(fails, None) is not None:
            raise StoreUnavailableError("away")
        real(*args)

    monkeypatch.setattr(node.actors, "join", join)
    node.actors.bury(node.id)
    wait_until(lambda: node.actors.serving(HOST) == [node.id])


def test_a_worker_runs_no_more_processes_and_calls_than_it_may_and_goes_on(nodes: Nodes) -> None:
    node = nodes(serves=True, processes_max=10)
    pids = [spawned(node, "app:waits") for _ in range(10)]
    refused: list[Any] = []
    request = SpawnRequest(entry_id="app:waits", host=HOST)
    node.spawning.spawn(request, lambda ok, value: refused.append(payload.decode_failure(value)))
    assert refused[0]["kind"] == "RateLimited"
    assert "orchestration_processes_max" in refused[0]["message"]
    with pytest.raises(ApplicationError, match="orchestration_processes_max"):
        run_function(node.runtime, "app:calls", [])
    for pid in pids[:3]:
        node.terminate(node.cells[pid.rpartition("|")[2][:-1]])
    wait_until(lambda: len(node.cells) == 7)
    spawned(node, "app:waits")
    assert run_function(node.runtime, "app:calls", []) == 1


def test_a_process_that_takes_names_and_gives_them_back_leaves_nothing_in_redis(nodes: Nodes) -> None:
    node = nodes()
    cell = parent_on(node)
    keys = node.runtime.store(node.runtime.settings.namespace).keyspace.actors
    for name in ("one", "two"):
        came = [threading.Event(), threading.Event()]
        node.names.register(name, cell.pid, lambda *_, came=came: came[0].set())  # type: ignore[misc]
        assert came[0].wait(5)
        node.names.unregister(name, lambda *_, came=came: came[1].set())  # type: ignore[misc]
        assert came[1].wait(5)
    assert node.runtime.connection.call("SCARD", keys.named(node.id)) == 0


@pytest.mark.parametrize("when", ["runs", "starts"])
def test_a_process_whose_caller_is_interrupted_is_asked_to_end(nodes: Nodes, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """As a soft time limit of Celery does."""
    node, far = nodes(), nodes(serves=True)

    class Interrupt(BaseException):
        pass

    def interrupted() -> bool:
        if when == "runs":
            wait_until(lambda: has_begun(node, far))
        raise Interrupt

    entry = node.runtime.registry.get("app:obeys")
    seen: list[Any] = []
    real = far.add
    monkeypatch.setattr(far, "add", lambda cell: (seen.append(cell), real(cell)))
    monkeypatch.setattr("orchestration.tasks.process_calls.in_activity", interrupted)
    with pytest.raises(Interrupt):
        run_process(node.runtime, entry, [], context={}, identity=Identity())  # type: ignore[arg-type]
    wait_until(lambda: seen and not node.routes.is_waiting and not far.cells)
