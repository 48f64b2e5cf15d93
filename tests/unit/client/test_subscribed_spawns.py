"""A subscription whose processes end, or fail to start, while another start is answered: the iteration ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.client.subscriptions import Line
from orchestration.errors import ProcessFailedError, ProcessStartError, StoreUnavailableError, SubscriptionClosedError
from orchestration.host.mailbox import EXIT, Event, is_message
from orchestration.host.mailbox_cell import new_future
from orchestration.host.monitors import Exit

REQUEST: Any = None
FAILED = ProcessFailedError("no", "Internal", False)


def end_of(pid: str, error: ProcessFailedError | None = None) -> Event:
    return Event(kind=EXIT, sender=pid, at=0.0, error=error)


def exited(pid: str, error: ProcessFailedError | None = None) -> Exit:
    found = Exit(pid)
    found.future.set_result(end_of(pid, error))
    return found


class Scene:
    """A line whose starts the test answers; it follows what the test says."""

    def __init__(self, *followed: str) -> None:
        self.answers: list[Future[Exit]] = []
        self.away: Exception | None = None
        self.monitors = self.node = self  # what a line has to do with a node
        self.lines: set[Line] = set()
        self.command = lambda *_: new_future()
        self.line = Line(self, None)  # type: ignore[arg-type]
        for pid in followed:
            self.line.follow(pid)

    def open(self, take: Callable[[Any], None], _over: Any) -> Any:
        self.take = take
        return SimpleNamespace(command=self.command)

    def spawn(self, _request: Any) -> Future[Exit]:
        if self.away is not None:
            raise self.away
        self.answers.append(new_future())
        return self.answers[-1]

    def read(self) -> None:
        assert self.line.mail.has_ended, "the iterator would wait for ever"
        self.line.mail.get(is_message, 0)


def test_a_process_that_has_ended_before_its_start_is_answered_ends_the_iteration() -> None:
    scene = Scene()
    started = scene.line.spawn(REQUEST)
    scene.answers[0].set_result(exited("{a@h|1}"))
    assert started.result(0).pid == "{a@h|1}"
    with pytest.raises(SubscriptionClosedError):
        scene.read()


def test_a_process_that_has_failed_before_its_start_is_answered_fails_the_iteration() -> None:
    scene = Scene()
    scene.line.spawn(REQUEST)
    scene.answers[0].set_result(exited("{a@h|1}", FAILED))
    with pytest.raises(ProcessFailedError):
        scene.read()


def test_the_last_process_ends_while_a_start_is_awaited_that_fails() -> None:
    scene = Scene("{a@h|1}")
    started = scene.line.spawn(REQUEST)
    scene.take(end_of("{a@h|1}"))
    assert not scene.line.mail.has_ended, "one may still come"
    scene.answers[0].set_exception(ProcessStartError("no host", "NotFound", False))
    assert isinstance(started.exception(0), ProcessStartError)
    with pytest.raises(SubscriptionClosedError):
        scene.read()


def test_a_start_that_cannot_be_asked_for_is_not_awaited() -> None:
    scene = Scene("{a@h|1}")
    scene.away = StoreUnavailableError("away")
    with pytest.raises(StoreUnavailableError):
        scene.line.spawn(REQUEST)
    scene.take(end_of("{a@h|1}"))
    with pytest.raises(SubscriptionClosedError):
        scene.read()


def test_a_start_that_fails_before_anything_has_ended_ends_nothing() -> None:
    scene = Scene()
    scene.line.spawn(REQUEST)
    scene.answers[0].set_exception(ProcessStartError("no host", "NotFound", False))
    assert not scene.line.mail.has_ended


def test_one_that_is_followed_twice_is_heard_once_and_the_others_are_waited_for() -> None:
    scene = Scene("{a@h|1}", "{b@h|2}")
    scene.line.spawn(REQUEST)
    found = Exit("{a@h|1}")  # a name that it has already
    scene.answers[0].set_result(found)
    found.future.set_result(end_of("{a@h|1}"))
    scene.take(end_of("{a@h|1}"))
    assert not scene.line.mail.has_ended
    scene.take(end_of("{b@h|2}"))
    with pytest.raises(SubscriptionClosedError):
        scene.read()


def test_a_spawned_process_whose_end_cannot_be_known_any_more_fails_the_iteration() -> None:
    scene = Scene()
    scene.line.spawn(REQUEST)
    found = Exit("{a@h|1}")
    scene.answers[0].set_result(found)
    found.future.set_exception(StoreUnavailableError("away"))
    with pytest.raises(Exception, match="away"):
        scene.read()
