"""Mail as Python code reads it: messages, events, and a mailbox to wait at, from threads and from coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import application_error
from orchestration.errors import ProcessError, ProcessFailedError, SubscriptionClosedError

__all__ = ["CANCEL", "EXIT", "LINK_DOWN", "Event", "Mailbox", "Message", "is_event", "is_message", "read_mail"]

CANCEL: Final = "pid.cancel"
EXIT: Final = "pid.exit"
LINK_DOWN: Final = "pid.link.down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody sent.

    Attributes:
        topic: Its name.
        sender: Address of who sent it; empty when nobody is to be answered.
        values: What was sent.
    """

    topic: str
    sender: str
    values: tuple[Any, ...]

    @property
    def value(self) -> Any:
        """None without values, the value if there is one, else a list of them; as ``process.listen`` gives it."""
        if len(self.values) == 1:
            return self.values[0]
        return list(self.values) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What has happened to a process or to one that it watches.

    Attributes:
        kind: :data:`CANCEL`: somebody asks it to end. :data:`EXIT`: a process that it monitors has ended.
            :data:`LINK_DOWN`: one that it is linked to has failed.
        sender: Address of who asks, or of what has ended.
        at: Unix seconds.
        value: What the process returned.
        error: What it failed with; None after a normal end.
        reason: Of a cancel.
    """

    kind: str
    sender: str
    at: float
    value: Any = None
    error: ProcessFailedError | None = None
    reason: str = ""

    def outcome(self) -> Any:
        """What the process that has ended returned.

        Raises:
            ProcessFailedError: It ended with an error.
        """
        if self.error is not None:
            raise ProcessFailedError(*self.error.args)  # anew: many may wait for one end
        return self.value


def is_message(item: Message | Event) -> bool:
    """Whether it is a message."""
    return isinstance(item, Message)


def is_event(item: Message | Event) -> bool:
    """Whether it is an event."""
    return isinstance(item, Event)


def read_mail(code: int, rest: list[Any]) -> Message | Event | None:
    """A message or event from an input; None when the input is neither.

    Args:
        code: Of the input.
        rest: What follows it.
    """
    if code == Code.SIGNAL:
        topic, args, *sender = rest
        return Message(topic=topic, sender=sender[0] if sender else "", values=tuple(payload.decode(args)))
    if code == Code.CANCEL_REQUESTED:
        reason, sender = rest[:2]
        return Event(kind=CANCEL, sender=sender, at=time.time(), reason=reason)
    if code == Code.WATCHED_ENDED:
        pid, ok, value, how = rest[:4]
        kind = LINK_DOWN if how == "down" else EXIT
        if ok:
            return Event(kind=kind, sender=pid, at=time.time(), value=payload.decode(value))
        error = application_error(payload.decode_failure(value), ProcessFailedError)
        assert isinstance(error, ProcessFailedError)
        return Event(kind=kind, sender=pid, at=time.time(), error=error)
    return None


class Mailbox:
    """Mail in the order in which it came; several may wait at it.

    Args:
        most: Unread messages above which it closes with an error; 0: no bound.
    """

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._items: deque[Message | Event] = deque()
        self._changed = threading.Condition()
        self._sleepers: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._end: ProcessError | None = None

    def put(self, item: Message | Event) -> None:
        """Add mail; what comes after the end is dropped."""
        with self._changed:
            if self._end is not None:
                return
            self._items.append(item)
            if self._most and len(self._items) > self._most:
                text = f"{len(self._items):,} messages wait to be read: read them faster, or subscribe to fewer topics"
                self._end = ProcessError(text, "RateLimited", False)
            self._wake()

    def end(self, problem: ProcessError | None = None) -> None:
        """Nothing more comes. What is there is read first; then readers get the problem, or hear of the end."""
        with self._changed:
            if self._end is None:
                self._end = problem or SubscriptionClosedError("nothing more comes", "InvalidState", False)
                self._wake()

    def __bool__(self) -> bool:
        return bool(self._items)

    def pop(self) -> Message | Event | None:
        """Take what came first, without waiting; None: there is nothing."""
        with self._changed:
            return self._items.popleft() if self._items else None

    @property
    def has_ended(self) -> bool:
        """Nothing more comes."""
        return self._end is not None

    def get(self, wanted: Callable[[Message | Event], bool], timeout_s: float | None) -> Message | Event:
        """Take the first of the mail that is wanted; the rest keeps its place.

        Raises:
            TimeoutError: Nothing like that came in time.
            SubscriptionClosedError: Nothing more comes.
            ProcessError: Nothing more comes, for this reason.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while (item := self._find(wanted)) is None:
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise _late(timeout_s)
                self._changed.wait(left_s)
            return item

    async def get_async(self, wanted: Callable[[Message | Event], bool], timeout_s: float | None) -> Message | Event:
        """The same in a coroutine; no thread waits."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while True:
            with self._changed:
                item = self._find(wanted)
                if item is not None:
                    return item
                woken = loop.create_future()
                sleeper = (loop, woken)
                self._sleepers.append(sleeper)
            try:
                async with asyncio.timeout_at(deadline):
                    await woken
            except TimeoutError:
                raise _late(timeout_s) from None
            finally:
                if not woken.done() or woken.cancelled():
                    with self._changed, contextlib.suppress(ValueError):
                        self._sleepers.remove(sleeper)

    def _find(self, wanted: Callable[[Message | Event], bool]) -> Message | Event | None:
        for index, item in enumerate(self._items):
            if wanted(item):
                del self._items[index]
                return item
        if self._end is not None:
            raise type(self._end)(*self._end.args)
        return None

    def _wake(self) -> None:
        self._changed.notify_all()
        sleepers, self._sleepers = self._sleepers, []
        for loop, woken in sleepers:
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(_set, woken)


def _set(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _late(timeout_s: float | None) -> TimeoutError:
    return TimeoutError(f"nothing came within {timeout_s or 0:g} s")
