"""Ends of processes that Python code of this node waits for, whoever waits: one address hears of them all."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import application_error
from orchestration.errors import ApplicationError, ProcessNotFoundError, ProcessStartError, StoreError
from orchestration.host import wire
from orchestration.host.cell import Ending
from orchestration.host.mailbox import EXIT, Event, Message
from orchestration.host.mailbox_cell import MailboxCell, new_future, problem_error
from orchestration.host.names import problem_of
from orchestration.host.spawning import SpawnRequest
from orchestration.store.actors import Roll

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Exit", "Monitors"]

logger = logging.getLogger(__name__)

_LEAVING_S: Final = 2.0
_AGAIN_S: Final = 1.0


class Exit:
    """The end of one process, to be waited for.

    Attributes:
        pid: Its address.
        future: The :class:`Event` of its end, or why that cannot be known.
    """

    __slots__ = ("__weakref__", "future", "pid")

    def __init__(self, pid: str) -> None:
        self.pid = pid
        self.future: Future[Event] = new_future()


class Monitors:
    """Everything that Python code of a node waits for, and the addresses of that code.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.RLock()
        self._exits: weakref.WeakValueDictionary[str, Exit] = weakref.WeakValueDictionary()
        self._cell: MailboxCell | None = None
        self._starting = 0
        self._early: dict[str, Event] = {}
        self._is_known = False
        self._later: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    # Addresses of Python code ---------------------------------------------------------------------------------

    def open(self, take: Callable[[Message | Event], None], over: Callable[[Ending], None]) -> MailboxCell:
        """Make an address; others can send to it when this returns.

        Args:
            take: Takes what is sent to it.
            over: Told when it is no more.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        cell = self._make(take, over)
        registered: Future[tuple[str, list[Any]]] = new_future()
        node = self._node
        order = node.actors.register(node.id, cell.unique, cell.pid, node.describe(cell))
        node.post.order(order, lambda status, rest: registered.set_result((status, rest)))
        problem = problem_of(*registered.result(), cell.pid)
        if problem is not None:
            node.end(cell, Ending(True))
            raise problem_error(problem)
        return cell

    def _make(self, take: Callable[[Message | Event], None], over: Callable[[Ending], None]) -> MailboxCell:
        """Make an address, which is on its way to others when this returns."""
        node = self._node
        with self._lock:
            if not self._is_known:
                self._is_known = True
                node.membership.on_roll.append(self._tidy)
                node.membership.on_lost.append(self._watch_again)
                atexit.register(_say_goodbye, weakref.ref(node), os.getpid())
        cell = MailboxCell(node, take, over=over)
        node.add(cell)
        try:
            node.expose(cell)
        except BaseException:
            node.end(cell, Ending(True))
            raise
        return cell

    def later(self, act: Callable[[], None]) -> None:
        """Do something at the next heartbeat; may be called while memory is being freed."""
        self._later.put(act)

    # Ends -----------------------------------------------------------------------------------------------------

    def watch(self, pid: str) -> Exit:
        """The end of a process, wherever it runs.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        with self._lock:
            known = self._exits.get(pid)
            if known is not None and not known.future.done():
                return known
            cell = self._open()
            found = self._keep(pid)
        self._begin(cell, found)
        return found

    def spawn(self, request: SpawnRequest) -> Future[Exit]:
        """Start a process; its end is watched before its code runs.

        Args:
            request: What is wanted; whose child it is is filled in.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        with self._lock:
            cell = self._open()
            self._starting += 1
        started: Future[Exit] = new_future()

        def answer(ok: bool, value: bytes) -> None:
            with self._lock:
                self._starting -= 1
                early = self._early
                if not self._starting:
                    self._early = {}
                if ok:
                    pid = str(payload.decode(value))
                    found = self._exits.get(pid) or self._keep(pid)
                    event = early.pop(pid, None)
            if not ok:
                failure = application_error(payload.decode_failure(value), ApplicationError)
                text = f"{request.entry_id} on {request.host}: {failure.message}"
                details = dict(failure.details or {})
                started.set_exception(ProcessStartError(text, failure.kind, failure.retryable, details))
                return
            if event is not None:
                _succeed(found, event)
            started.set_result(found)

        try:
            self._node.spawning.spawn(replace(request, parent=cell.pid, monitors=True), answer)
        except BaseException:
            with self._lock:
                self._starting -= 1
            raise
        return started

    def close(self) -> None:
        """Nobody waits any more: whoever does hears that the end is not known."""
        with self._lock:
            exits = list(self._exits.values())
            self._exits.clear()
            cell, self._cell = self._cell, None
        for found in exits:
            _fail(found, ProcessNotFoundError(f"{found.pid} is not watched any more", "InvalidState", False))
        if cell is not None:
            self._node.end(cell, Ending(True))

    def _open(self) -> MailboxCell:
        if self._cell is None or self._cell.ended is not None:
            self._cell = self._make(self._take, self._over)
        return self._cell

    def _keep(self, pid: str) -> Exit:
        found = Exit(pid)
        self._exits[pid] = found
        weakref.finalize(found, self._later.put, lambda: self._forget(pid)).atexit = False
        return found

    def _begin(self, cell: MailboxCell, found: Exit) -> None:
        held = weakref.ref(found)  # what nobody waits for any more is let go of

        def answered(answer: Future[Any]) -> None:
            problem, there = answer.exception(), held()
            if problem is not None and there is not None:
                _fail(there, problem)

        cell.command(Code.WATCH, found.pid, "monitor").add_done_callback(answered)

    def _take(self, mail: Message | Event) -> None:
        if isinstance(mail, Event) and mail.kind == EXIT:
            with self._lock:
                found = self._exits.get(mail.sender)
                if found is None and self._starting:
                    # A spawn that came second to a name may have ended the process before word of it is here.
                    self._early[mail.sender] = mail
            if found is not None:
                _succeed(found, mail)

    def _over(self, ending: Ending) -> None:
        del ending
        with self._lock:
            cell = self._cell
            if cell is None or cell.ended is None:  # an earlier one has ended, and this one is in use
                return
            self._cell = None
            is_waited_for = self._is_waited_for()
        if is_waited_for and cell.is_public:  # else the node was taken for dead: it says when
            self._node.submit(self._watch_again)

    def _watch_again(self) -> None:
        """The address that heard of ends is gone: take another."""
        with self._lock:
            exits = [found for found in self._exits.values() if not found.future.done()]
            if not exits:
                return
            try:
                cell = self._open()
            except StoreError as error:
                logger.warning("ends of processes cannot be watched yet: %s", error)
                self._node.timers.after(_AGAIN_S, lambda: self._node.submit(self._watch_again))
                return
        for found in exits:
            self._begin(cell, found)

    def _is_waited_for(self) -> bool:
        return any(not found.future.done() for found in self._exits.values())

    def _forget(self, pid: str) -> None:
        """Nobody waits for the end of a process any more."""
        with self._lock:  # until it is said: whoever watches it anew says so after that
            cell = self._cell
            if cell is None or cell.ended is not None or pid in self._exits:
                return
            if self._starting:  # one that comes second to a name may be finding this very process
                self._later.put(lambda: self._forget(pid))
            elif wire.address_of(pid) is not None:  # a workflow is told nothing of it
                cell.command(Code.WATCH, pid, "unmonitor")

    def _tidy(self, roll: Roll | None = None) -> None:
        """Let go of what nobody has any more, and of the address when nothing is waited for."""
        del roll
        for _ in range(self._later.qsize()):  # what these put off waits for the next heartbeat
            try:
                self._later.get_nowait()()
            except queue.Empty:
                break
            except Exception:
                logger.exception("something that is not needed any more could not be let go of")
        with self._lock:
            cell = self._cell
            if cell is None or self._starting or self._is_waited_for():
                return
            self._cell = None
        self._node.end(cell, Ending(True))


def _succeed(found: Exit, event: Event) -> None:
    with contextlib.suppress(InvalidStateError):
        found.future.set_result(event)


def _fail(found: Exit, problem: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):  # it has ended meanwhile
        found.future.set_exception(problem)


def _say_goodbye(node_ref: weakref.ref[Node], os_pid: int) -> None:
    """Python ends: whoever watches its addresses hears of it now, not when it has been silent for long."""
    node = node_ref()
    if node is None or os.getpid() != os_pid or not node.membership.is_joined:
        return
    node.monitors.close()  # first: a thread that watches anew would not start any more
    for cell in list(node.cells.values()):
        if isinstance(cell, MailboxCell) and not cell.entry_id:
            node.end(cell, Ending(True))
    if node.post.flush(_LEAVING_S):
        node.membership.retire()
