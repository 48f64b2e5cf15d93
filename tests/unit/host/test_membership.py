"""A node among the others: what becomes of a heartbeat when the world changes while it is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.errors import StoreUnavailableError
from orchestration.host import membership as module
from orchestration.host.membership import Membership
from orchestration.store.actors import Actors, Roll
from orchestration.store.keys import Keyspace
from orchestration.store.memory import MemoryConnection

OTHER = "bbbbbbbbbbbb"
SILENT_MS = 5_000
Beat = Callable[[], Roll]


class Scripted(Actors):
    """Each heartbeat does what the test says next; then they fail."""

    def __init__(self) -> None:
        super().__init__(MemoryConnection(), Keyspace("orc", "default", 1).actors)
        self.beats: list[Callable[[Beat], Roll]] = []
        self.threads: list[threading.Thread] = []
        self.log: list[str] = []
        self.all_done = threading.Event()

    def join(self, node: str, info: Any) -> None:
        super().join(node, info)
        self.log.append("join")

    def bury(self, node: str, *, silent_ms: int = 0) -> str:
        said = super().bury(node, silent_ms=silent_ms)
        self.log.append("bury")
        return said

    def beat(self, node: str, *, silent_ms: int) -> Roll:
        self.threads.append(threading.current_thread())
        if not self.beats:
            self.all_done.set()
            raise StoreUnavailableError("Redis is away")
        return self.beats.pop(0)(lambda: Actors.beat(self, node, silent_ms=silent_ms))


class FakeNode:
    """A node that runs nothing, and does while it perishes, or flushes its orders, what the test says."""

    def __init__(self, actors: Scripted) -> None:
        self.actors = actors
        self.runtime = SimpleNamespace(
            settings=SimpleNamespace(heartbeat_ms=10, node_dead_after_ms=SILENT_MS),
            registry=SimpleNamespace(of=lambda _kind: []), owner="me",
        )  # fmt: skip
        self.id = "aaaaaaaaaaaa"
        self.fence = ""
        self.cells: dict[str, Any] = {}
        self.is_lived_in = False
        self.bonds, self.routes = SimpleNamespace(far=frozenset[str]()), SimpleNamespace(far=frozenset[str]())
        self.told: list[tuple[str, str]] = []
        self.post = SimpleNamespace(
            read=lambda: None, flush=lambda _timeout_s: self.while_flushing(),
            tell=lambda _fence, _to, _unique, what, gone: self.told.append((what, gone)),
        )  # fmt: skip
        self.while_perishing: Callable[[], object] = lambda: None
        self.while_flushing: Callable[[], object] = lambda: None
        self.lost = 0
        self.membership = Membership(self)  # type: ignore[arg-type]

    def rename(self) -> None:
        self.id += "+"

    def perish(self) -> None:
        self.lost += 1
        self.while_perishing()


@pytest.fixture
def actors() -> Scripted:
    return Scripted()


@pytest.fixture
def node(actors: Scripted) -> Iterator[FakeNode]:
    made = FakeNode(actors)
    yield made
    made.membership.close()
    for thread in actors.threads:
        thread.join(10)


def test_a_node_that_came_after_the_heartbeat_has_not_gone(node: FakeNode, actors: Scripted) -> None:
    """The roll of this beat does not know it yet, and a process has been started there already."""

    def it_comes(beat: Beat) -> Roll:
        roll = beat()
        actors.join(OTHER, {})
        node.routes.far = node.bonds.far = frozenset({OTHER})
        return roll

    looks: list[list[tuple[str, str]]] = []
    actors.beats = [it_comes, lambda beat: beat()]
    node.membership.on_roll.append(lambda _roll: looks.append(list(node.told)))
    node.membership.join(stays=True)
    assert actors.all_done.wait(10)
    assert looks == [[], []]


def test_a_node_that_was_bound_before_the_heartbeat_and_is_not_on_the_roll_has_gone(
    node: FakeNode, actors: Scripted
) -> None:
    node.bonds.far = frozenset({OTHER})
    actors.beats = [lambda beat: beat()]
    node.membership.join(stays=True)
    assert actors.all_done.wait(10)
    assert node.told == [("gone", OTHER)]


def test_who_joins_anew_while_it_is_given_up_stops_again_when_redis_goes_away(
    node: FakeNode, actors: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would act for ever: no heartbeat comes that sets it a limit, and others bury it."""
    ahead_s = 0.0
    monkeypatch.setattr(
        module, "time",
        SimpleNamespace(monotonic=lambda: time.monotonic() + ahead_s, time_ns=time.time_ns, sleep=time.sleep),
    )  # fmt: skip

    def it_is_buried(beat: Beat) -> Roll:
        actors.bury(node.id)
        return beat()

    actors.beats = [it_is_buried]
    node.while_perishing = node.membership.join  # another thread makes an address public
    over = threading.Event()
    node.membership.on_lost.append(over.set)
    node.membership.join()
    assert over.wait(10)
    assert (node.lost, node.membership.is_joined) == (1, True)
    assert node.membership.may_act()
    ahead_s = SILENT_MS / 1000
    assert not node.membership.may_act()


def test_who_was_given_up_and_has_not_joined_anew_may_act(node: FakeNode, actors: Scripted) -> None:
    def it_is_buried(beat: Beat) -> Roll:
        actors.bury(node.id)
        return beat()

    actors.beats = [it_is_buried]
    over = threading.Event()
    node.membership.on_lost.append(over.set)
    node.membership.join()
    assert over.wait(10)
    assert not node.membership.is_joined
    assert node.membership.may_act()


def test_a_heartbeat_from_before_the_node_left_and_joined_again_says_nothing(node: FakeNode, actors: Scripted) -> None:
    def it_leaves_and_joins(beat: Beat) -> Roll:
        node.membership.release()
        roll = beat()
        assert not roll.present
        node.membership.join()
        return roll

    actors.beats = [it_leaves_and_joins]
    node.membership.join(stays=True)
    assert actors.all_done.wait(10)  # by the thread of the second joining
    actors.threads[0].join(10)
    assert not actors.threads[0].is_alive()
    assert (node.lost, node.id, node.membership.is_joined) == (0, "aaaaaaaaaaaa", True)


def test_who_joins_while_a_worker_lets_go_is_not_buried_with_what_was_there(node: FakeNode, actors: Scripted) -> None:
    joined = threading.Event()

    def join() -> None:
        node.membership.join()
        joined.set()

    def flush() -> None:
        threading.Thread(target=join, daemon=True).start()
        joined.wait(0.2)  # it comes that far only if nothing keeps it from joining in the middle

    node.membership.join(stays=True)
    node.while_flushing = flush
    node.membership.release()
    node.while_flushing = lambda: None
    assert joined.wait(10)
    assert actors.log == ["join", "bury", "join"]
    assert actors.node_ids() == [node.id]
