"""Outbox entries that the sweep has performed beside it."""

from __future__ import annotations

import threading
from typing import Any

from orchestration.errors import StoreUnavailableError
from orchestration.tasks import aside as module
from orchestration.tasks.aside import Aside
from tests.support import wait_until

STORE: Any = None


class Outbox:
    """Notes what it is given; what is about a run named ``hangs`` waits until it is told to go on."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.go_on = threading.Event()

    def perform(self, store: Any, entries: Any) -> None:
        del store
        for name, _ in entries:
            self.done.append(name)
            if "hangs" in name:
                self.go_on.wait(20)
            if "fails" in name:
                raise ValueError("of the application")
            if "exits" in name:
                raise SystemExit(3)
            if "away" in name:
                raise StoreUnavailableError("gone")


def test_an_end_that_hangs_keeps_no_other_from_being_told_and_is_told_once() -> None:
    outbox = Outbox()
    aside = Aside(outbox)
    aside.perform(STORE, [(name, b"") for name in ("c/hangs", "a/quick/1/1", "x/hangs/1", "c/fails", "c/away")])
    assert "a/quick/1/1" in outbox.done, "at once"
    wait_until(lambda: len(outbox.done) == 5)
    aside.perform(STORE, [("c/hangs", b""), ("c/other", b"")])  # the next sweep finds it again
    wait_until(lambda: "c/other" in outbox.done)
    assert outbox.done.count("c/hangs") == 1
    outbox.go_on.set()
    wait_until(lambda: not aside._ends._taken)
    aside.perform(STORE, [("c/hangs", b""), ("c/fails", b"")])  # nobody has forgotten them
    wait_until(lambda: outbox.done.count("c/hangs") == outbox.done.count("c/fails") == 2)


def test_an_errback_that_exits_ends_nothing_but_itself() -> None:
    outbox = Outbox()
    aside = Aside(outbox)
    aside.perform(STORE, [(f"c/exits-{number}", b"") for number in range(8)])
    wait_until(lambda: len(outbox.done) == 8 and not aside._ends._taken)
    aside.perform(STORE, [("c/other", b"")])
    wait_until(lambda: "c/other" in outbox.done)


def test_what_finds_no_room_is_left_to_a_later_sweep(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 6)
    outbox = Outbox()
    aside = Aside(outbox)
    entries = [(f"c/hangs-{number}", b"") for number in range(10)]
    aside.perform(STORE, entries)
    wait_until(lambda: len(outbox.done) == 4, message="as many as there are threads")
    outbox.go_on.set()
    wait_until(lambda: len(outbox.done) == 6 and not aside._ends._taken)
    aside.perform(STORE, entries[6:])
    wait_until(lambda: set(outbox.done) == {name for name, _ in entries})


def test_one_thing_is_looked_after_at_a_time_and_none_twice() -> None:
    aside, go_on, looked = Aside(Outbox()), threading.Event(), list[str]()

    def look(name: str) -> None:
        looked.append(name)
        go_on.wait(20)

    for name in ("first", "first", "second"):
        aside.look(name, lambda name=name: look(name))
    wait_until(lambda: looked)
    assert looked == ["first"], "a result backend that hangs keeps this thread, and no other"
    go_on.set()
    wait_until(lambda: not aside._looks._taken)
    assert looked == ["first", "second"]
