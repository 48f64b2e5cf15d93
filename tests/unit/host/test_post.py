"""The line of a node to Redis: many letters in one script, and each sender hears of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from orchestration.host.post import Post
from orchestration.store.actors import Actors, Order
from orchestration.store.keys import Keyspace
from orchestration.store.memory import MemoryConnection

PID = "{bbbbbbbbbbbb@app:host|1}"


class Held(Actors):
    """Waits with each round trip until the test lets it go, and notes its scripts."""

    def __init__(self) -> None:
        super().__init__(MemoryConnection(), Keyspace("orc", "default", 1).actors)
        self.go = threading.Semaphore(0)
        self.trips: list[list[str]] = []

    def run(self, orders: Sequence[Order]) -> list[list[Any] | Exception]:
        self.go.acquire()
        self.trips.append([order.script.name for order in orders])
        return super().run(orders)


@pytest.fixture
def actors() -> Iterator[Held]:
    held = Held()
    held.join("aaaaaaaaaaaa", {})
    held.join("bbbbbbbbbbbb", {})
    yield held
    for _ in range(10):
        held.go.release()


def test_letters_to_one_node_go_with_one_script_and_each_has_its_own_answer(actors: Held) -> None:
    post = Post(actors, "aaaaaaaaaaaa", lambda *_: None)
    heard: list[tuple[str, str]] = []

    def tell(unique: str) -> None:
        def done(status: str, _rest: list[Any]) -> None:
            heard.append((unique, status))

        post.tell("aaaaaaaaaaaa", "bbbbbbbbbbbb", unique, "item", unique, b"x", done=done)

    post.order(actors.register("bbbbbbbbbbbb", "1", PID, {}))
    tell("1")  # waits in the first round trip, or in the second
    for unique in ("1", "2", "1", ""):
        tell(unique)
    post.order(actors.end("bbbbbbbbbbbb", "1", PID, []))
    tell("1")
    for _ in range(5):
        actors.go.release()
    assert post.flush(5.0)
    assert heard == [("1", "ok"), ("1", "ok"), ("2", "not_found"), ("1", "ok"), ("", "ok"), ("1", "not_found")]
    assert len(actors.take_mail("bbbbbbbbbbbb", [])) == 4
    assert [name for trip in actors.trips for name in trip].count("post_messages") <= 3


def test_whoever_was_taken_for_dead_has_all_letters_refused(actors: Held) -> None:
    post = Post(actors, "aaaaaaaaaaaa", lambda *_: None)
    heard: list[str] = []
    actors.bury("aaaaaaaaaaaa")
    for _ in range(3):
        post.tell("aaaaaaaaaaaa", "bbbbbbbbbbbb", "", "item", done=lambda status, _: heard.append(status))
    for _ in range(3):
        actors.go.release()
    assert post.flush(5.0)
    assert heard == ["gone"] * 3
    assert actors.take_mail("bbbbbbbbbbbb", []) == []
