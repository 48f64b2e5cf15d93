"""Addresses of Python code: what processes, functions and workflows send to them is read here."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from orchestration.client.arguments import check_name, check_topic, wait_seconds
from orchestration.client.processes import Processes, ProcessHandle, Target, is_workflow, started
from orchestration.core import payload
from orchestration.core.checks import check_text
from orchestration.core.events import Code
from orchestration.core.failures import failure_of
from orchestration.core.identity import Actor
from orchestration.errors import ProcessError, ProcessFailedError, SubscriptionClosedError
from orchestration.host.cell import Ending
from orchestration.host.mailbox import CANCEL, EXIT, Event, Mailbox, Message, is_message
from orchestration.host.mailbox_cell import new_future
from orchestration.host.monitors import Exit
from orchestration.host.spawning import SpawnRequest

__all__ = ["Line", "Subscription", "check_topics"]

_MOST_UNREAD: Final = 100_000
_LINKED = "linked process failed"


def check_topics(topic: str | Sequence[str] | None) -> frozenset[str] | None:
    """Topics that are asked for; None: all.

    Raises:
        TypeError: It is no text and no list of texts.
        ValueError: One cannot be a topic.
    """
    if topic is None:
        return None
    if isinstance(topic, str):
        return frozenset([check_topic(topic)])
    return frozenset(check_topic(check_name("a topic", one)) for one in topic)


class Line:
    """What a subscription and its async twin share: an address, its mail, and whom it follows.

    Args:
        processes: Of the client.
        topics: Topics that are kept; None: all.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """

    def __init__(self, processes: Processes, topics: frozenset[str] | None) -> None:
        self._processes = processes
        self._topics = topics
        self._lock = threading.Lock()
        self._followed: dict[Any, Exit | None] = {}
        self._has_ended_one = False
        self.node = processes.node
        self.mail = Mailbox(_MOST_UNREAD)
        self.cell = self.node.monitors.open(self._take, self._over)
        processes.lines.add(self)

    def send(self, dest: str, topic: str, values: Sequence[Any]) -> Future[Any]:
        """Send a message from this address."""
        check_text("an address", dest, least=1)
        if self.cell.ended is not None:
            raise SubscriptionClosedError("this subscription is closed", "InvalidState", False)
        return self.cell.command(Code.SEND_SIGNAL, dest, check_topic(topic), self._processes.encode(values))

    def follow(self, pid: str) -> Future[Any]:
        """End when a process or workflow ends."""
        with self._lock:
            self._followed[pid] = None
        return self.cell.command(Code.WATCH, pid, "monitor")

    def spawn(self, request: SpawnRequest) -> Future[Exit]:
        """Start a process and follow it."""
        followed = new_future()
        place = object()  # until the address is known
        with self._lock:
            self._followed[place] = None

        def started(answer: Future[Exit]) -> None:
            problem = answer.exception()
            if problem is not None:
                self._not_spawned(place)
                followed.set_exception(problem)
                return
            found = answer.result()
            with self._lock:
                self._followed[found.pid] = found
                del self._followed[place]
            found.future.add_done_callback(lambda end: self._spawned_ended(found.pid, end))  # maybe at once
            followed.set_result(found)

        try:
            self._processes.spawn(request).add_done_callback(started)
        except BaseException:
            self._not_spawned(place)
            raise
        return followed

    def close(self, error: BaseException | None = None) -> None:
        """Take the address away; with an error, whoever is linked to it hears of that."""
        ending = Ending(True) if error is None else Ending(False, payload.encode(failure_of(error)))
        self.mail.end()
        self.node.end(self.cell, ending)

    def _take(self, item: Message | Event) -> None:
        if isinstance(item, Message):
            if self._topics is None or item.topic in self._topics:
                self.mail.put(item)
        elif item.kind == CANCEL:
            text = f"{item.sender or 'somebody'} asks it to end" + (f": {item.reason}" if item.reason else "")
            self.mail.end(SubscriptionClosedError(text, "Canceled", False))
        elif item.kind == EXIT:
            self._ended(item.sender, item)
        elif item.error is None:  # a workflow that it is linked to has ended normally
            return
        else:
            self.mail.end(_failed(item.error))
            self.node.end(self.cell, Ending(False, payload.encode_failure(_LINKED, kind="Internal")))

    def _not_spawned(self, place: object) -> None:
        """What was to be followed never began; the others may have ended while it was expected."""
        with self._lock:
            del self._followed[place]
            if self._has_ended_one and not self._followed:
                self.mail.end()

    def _spawned_ended(self, pid: str, end: Future[Event]) -> None:
        problem = end.exception()
        if problem is None:
            self._ended(pid, end.result())
        elif isinstance(problem, ProcessError):
            self.mail.end(problem)
        else:  # Redis was away when it had to be watched anew
            self.mail.end(ProcessError(str(problem), "Unavailable", True))

    def _ended(self, pid: str, event: Event) -> None:
        with self._lock:  # one that fails is not overtaken by the end of the last one
            if pid not in self._followed:
                return
            del self._followed[pid]
            self._has_ended_one = True
            if event.error is not None:
                self.mail.end(_failed(event.error))
            elif not self._followed:
                self.mail.end()

    def _over(self, ending: Ending) -> None:
        if ending.ok:
            self.mail.end()
            return
        failure = payload.decode_failure(ending.value)
        self.mail.end(ProcessError(failure["message"], failure["kind"], failure.get("retryable")))


def _failed(error: ProcessFailedError) -> ProcessFailedError:
    return ProcessFailedError(*error.args)


class Subscription:
    """An address of this Python code, and an iterator over what is sent to it.

    The iteration ends when the processes that it follows have ended, when somebody asks it to end, and when it is
    closed; it raises a :class:`~orchestration.errors.ProcessFailedError` when one that it follows fails. What was sent
    before is read first. Others may monitor the address and link to it: they hear when it is closed, and when this OS
    process dies.

    Made by :meth:`Client.subscribe`; a context manager, which closes it. Leaving the block with an exception is an
    abnormal end: processes that are linked to the address fail with it.

    Args:
        processes: Of the client.
        pid: Process or workflow that it follows; None: none.
        topics: Topics that are kept; None: all.
        timeout_s: Longest wait of the iterator for each message; None: for ever.
    """

    def __init__(
        self, processes: Processes, pid: str | None, topics: frozenset[str] | None, timeout_s: float | None
    ) -> None:  # fmt: skip
        self._processes = processes
        self._timeout_s = timeout_s
        self._line = line = open_line(processes, pid, topics)
        weakref.finalize(self, line.node.monitors.later, line.close).atexit = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close(error)

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        try:
            return self.receive(self._timeout_s)
        except SubscriptionClosedError:
            raise StopIteration from None

    @property
    def pid(self) -> str:
        """Address that others send to."""
        return self._line.cell.pid

    def receive(self, timeout: float | timedelta | None = None) -> Message:
        """Wait for the next message.

        Args:
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Returns:
            The message.

        Raises:
            TimeoutError: None came in time.
            SubscriptionClosedError: Nothing more comes.
            ProcessFailedError: A process that it follows has failed.
            ProcessError: More than 100,000 messages waited to be read, or this OS process was silent for so long that
                it has been taken for dead: what was sent to it meanwhile is lost.
        """
        item = self._line.mail.get(is_message, wait_seconds(timeout))
        assert isinstance(item, Message)
        return item

    def send(self, pid: str, topic: str, *payloads: Any) -> None:
        """Send a message that is answered to this address.

        Args:
            pid: Address, or registered name, of a process, function or workflow.
            topic: Name of the message.
            payloads: Its values.

        Raises:
            ProcessNotFoundError: Nobody has this address or name, or not any more.
            SubscriptionClosedError: This one is closed.
        """
        self._line.send(pid, topic, payloads).result()

    def spawn(
        self, process_id: str, host_id: str, *args: Any, name: str | None = None,
        context: Mapping[str, Any] | None = None, messages: Sequence[tuple[str, Sequence[Any]]] = (),
        actor: Actor | None = None, scope: Sequence[str] | None = None, timeout: float | timedelta | None = None,
    ) -> ProcessHandle:  # fmt: skip
        """Start a process and follow it: the iteration ends when it ends. Give it :attr:`pid`, to be answered.

        Args:
            process_id: As for :meth:`Client.spawn`, which says what is raised.
            host_id: As there.
            args: As there.
            name: As there.
            context: As there.
            messages: As there.
            actor: As there.
            scope: As there.
            timeout: As there.

        Returns:
            Its handle.
        """
        seconds = wait_seconds(timeout)
        request = self._processes.request(
            process_id, host_id, args, name=name, context=context, messages=messages, actor=actor, scope=scope
        )
        found = started(self._line.spawn(request), request, seconds)
        return ProcessHandle(Target(self._processes, found.pid, found))

    def close(self) -> None:
        """Take the address away: what is sent to it from now on is refused. Safe to repeat."""
        self._line.close()


def open_line(processes: Processes, pid: str | None, topics: frozenset[str] | None) -> Line:
    """Make an address, and follow a process.

    Raises:
        ProcessNotFoundError: There is no such process.
        StoreUnavailableError: Redis does not answer.
    """
    if pid is not None:
        pid = pid if is_workflow(pid) else processes.lookup(pid)
    line = Line(processes, topics)
    if pid is not None:
        try:
            line.follow(pid).result()
        except BaseException:
            line.close()
            raise
    return line
