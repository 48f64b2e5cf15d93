"""What happens on a node at the same moment as an end: who waits for it hears of it, once. The node is in memory."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.errors import ApplicationError, StoreUnavailableError
from orchestration.host.calls import _Call
from orchestration.host.cell import Cell, Ending
from orchestration.host.mailbox_cell import MailboxCell
from orchestration.host.monitors import Exit
from orchestration.host.node import Node
from orchestration.host.python_cell import PythonCell
from orchestration.host.spawning import SpawnRequest
from orchestration.host.timers import Timer
from orchestration.registry import load_registry
from orchestration.settings import Settings
from orchestration.store.actors import Roll
from orchestration.store.keys import Keyspace
from orchestration.store.memory import MemoryConnection
from orchestration.store.store import Store

HOST = "app:host"
FILE = f"""\
namespace: app
entries:
  - {{name: host, kind: process.host}}
  - {{name: body, kind: process.python, callable: "{__name__}:body"}}
"""


class body:
    """A process that waits."""

    def __init__(self, process: Any) -> None:
        """Nothing to begin with."""

    def on_message(self, message: Any) -> None:
        """Nobody sends one."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Serves the host; its heart beats when the test says so, and what may wait runs at once."""
    (tmp_path / "app.yaml").write_text(FILE, "utf-8")
    store = Store(MemoryConnection(), Keyspace("orc", "default", 1))
    runtime: Any = SimpleNamespace(
        registry=load_registry(tmp_path, env={}), store=lambda _namespace: store, owner="me", telemetry=None, app=None,
        settings=Settings(heartbeat_ms=60_000, dead_after_ms=600_000, node_dead_after_ms=600_000),
        around_code=lambda _where: nullcontext(),
    )  # fmt: skip
    node = Node(runtime)
    node.submit = lambda work: work()  # type: ignore[method-assign]
    node.membership.serve(HOST)
    yield node
    node.close()


def beat(node: Node) -> None:
    for told in list(node.membership.on_roll):
        told(Roll(True, (), frozenset({node.id})))


def spawn(node: Node, name: str = "") -> Cell:
    answers: list[bytes] = []
    request = SpawnRequest(entry_id="app:body", host=HOST, name=name)
    node.spawning.spawn(request, lambda ok, value: answers.append(value) if ok else None)
    assert node.post.flush(10)
    found = node.find(payload.decode(answers[0]))
    assert found is not None
    return found


def mailboxes(node: Node) -> list[Cell]:
    """Addresses of Python code that waits."""
    return [cell for cell in node.cells.values() if type(cell) is MailboxCell]


def at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, act: Callable[..., object]) -> None:
    """Do something, once, just before a method does its work."""
    real, left = getattr(place, name), [act]

    def method(*args: Any, **more: Any) -> Any:
        if left:
            left.pop()(*args)
        return real(*args, **more)

    monkeypatch.setattr(place, name, method)


# Starts -------------------------------------------------------------------------------------------------------


def test_an_end_between_the_load_of_the_code_and_the_answer_is_told(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    at(monkeypatch, Cell, "when_ended", lambda cell, _told: node.terminate(cell))
    request = SpawnRequest(entry_id="app:body", host=HOST)
    node.spawning.spawn(request, lambda ok, _value: heard.append(ok), on_end=lambda ending: heard.append(ending.ok))
    assert node.post.flush(10)
    assert heard == [True, False], "started, then ended"
    assert not node.cells


def test_who_ends_before_its_code_is_loaded_has_one_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    at(monkeypatch, node, "admit", node.terminate)
    request = SpawnRequest(entry_id="app:body", host=HOST)
    node.spawning.spawn(request, lambda ok, _value: heard.append(ok), on_end=heard.append)
    assert node.post.flush(10)
    assert heard == [False]


def test_whoever_asks_to_be_told_after_the_end_is_told_at_once_and_once(node: Node) -> None:
    cell, heard = spawn(node), []
    forgotten = cell.when_ended(lambda _ending: heard.append("forgotten"))
    cell.when_ended(lambda _ending: heard.append("before"))
    cell.forget_told(forgotten)
    node.terminate(cell)
    cell.when_ended(lambda _ending: heard.append("after"))
    assert heard == ["before", "after"]
    assert cell.take_told() == []


# Ends that are waited for -------------------------------------------------------------------------------------


def test_one_who_watches_while_the_heartbeat_forgets_the_last_one_hears_of_the_end(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = spawn(node)
    monitors, kept = node.monitors, []
    other = monitors.watch(spawn(node).pid)  # keeps the address
    monitors.watch(cell.pid)
    gc.collect()

    def watch() -> None:
        if monitors._lock.acquire(blocking=False):  # else it would wait until the heartbeat has done its work
            monitors._lock.release()
            kept.append(monitors.watch(cell.pid))

    def other_thread(_cell: Cell, code: int, pid: str, how: str) -> None:
        assert (code, pid, how) == (Code.WATCH, cell.pid, "unmonitor")
        thread = threading.Thread(target=watch)
        thread.start()
        thread.join(10)

    at(monkeypatch, MailboxCell, "command", other_thread)
    beat(node)
    if not kept:
        monkeypatch.undo()
        kept.append(monitors.watch(cell.pid))
    node.terminate(cell)
    assert kept[0].future.done(), "it waits for ever"
    assert not other.future.done()


def test_the_heartbeat_forgets_no_process_that_a_start_has_just_found_by_its_name(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = spawn(node, "n")
    node.monitors.watch(cell.pid)
    gc.collect()
    real = node.routes.watch

    def watch(*args: Any) -> None:
        *given, answer = args
        real(*given, lambda problem: (beat(node), answer(problem)))

    monkeypatch.setattr(node.routes, "watch", watch)
    started = node.monitors.spawn(SpawnRequest(entry_id="app:body", host=HOST, name="n"))
    assert node.post.flush(10)
    found = started.result(0)
    assert found.pid == cell.pid
    monkeypatch.undo()
    beat(node)  # what was put off
    node.terminate(cell)
    assert found.future.done(), "it waits for ever"


def test_ends_are_watched_anew_however_long_redis_takes_to_come_back(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = spawn(node)
    found = node.monitors.watch(cell.pid)
    due: list[Callable[[], None]] = []
    monkeypatch.setattr(node.timers, "after", lambda _delay_s, call: due.append(call))

    def away(*_: Any) -> Any:
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(node, "expose", away)
        with suppress(StoreUnavailableError):
            node.end(mailboxes(node)[0], Ending(False))
        assert len(due) == 1, "nobody tries it again"
        due.pop()()
        assert len(due) == 1
    assert not found.future.done()
    due.pop()()
    node.terminate(cell)
    assert found.future.done(), "it waits for ever"
    assert not due


def test_the_end_of_an_address_that_nobody_needs_leaves_its_successor_alone(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, kept = spawn(node), list[Exit]()
    node.monitors.watch(cell.pid)
    gc.collect()
    at(monkeypatch, node, "end", lambda *_: kept.append(node.monitors.watch(cell.pid)))
    beat(node)
    assert len(mailboxes(node)) == 1
    node.terminate(cell)
    assert kept.pop().future.done()
    beat(node)
    assert mailboxes(node) == [], "an address that nobody lets go of keeps the node alive"


# Calls --------------------------------------------------------------------------------------------------------


def test_a_call_whose_time_is_over_at_once_is_answered(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def after(_delay_s: float, call: Callable[[], None]) -> Timer:
        with suppress(AttributeError):  # as the thread of the timers does: logged, and nothing more
            call()
        return Timer(node.timers, call)

    cell = node.monitors.open(lambda _mail: None, lambda _ending: None)
    monkeypatch.setattr(node.timers, "after", after)
    target = "app:nowhere"
    answer = cell.command(Code.SCHEDULE_ACTIVITY, target, payload.EMPTY_ARRAY, {"options": {"timeout": 1}})
    assert answer.done(), "it waits for ever"
    error = answer.exception()
    assert isinstance(error, ApplicationError)
    assert error.kind == "Timeout"


def test_a_call_whose_time_is_over_while_it_fails_has_one_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = PythonCell(node, node.runtime.registry.get("app:body"), HOST, node.caller("app:body"))  # type: ignore[arg-type]
    pushed: list[bytes] = []
    monkeypatch.setattr(PythonCell, "push", lambda _cell, item: pushed.append(item))
    call = _Call(node, cell, 1, "app:x", payload.EMPTY_ARRAY, options={}, context={}, identity=Identity())
    call._policy = SimpleNamespace(delay_ms=lambda *_, **__: call._time_out())  # type: ignore[assignment]
    call.settle(Ending(False, payload.encode_failure("no", kind="Internal")))
    assert len(pushed) == 1


def test_a_call_of_one_who_has_ended_is_not_begun(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = spawn(node)
    node.terminate(cell)
    monkeypatch.setattr(node.calls, "perform", lambda *_: pytest.fail("nobody waits for it"))
    node.calls.call(cell, 1, "app:x", payload.EMPTY_ARRAY, {})
