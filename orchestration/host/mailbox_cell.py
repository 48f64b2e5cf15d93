"""Cells of Python code: mail goes to a function, and commands are given from any thread and answered by futures."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import application_error
from orchestration.errors import (
    ApplicationError,
    ProcessError,
    ProcessNotFoundError,
    ProcessStartError,
    StoreUnavailableError,
)
from orchestration.host.cell import Cell, Ending
from orchestration.host.mailbox import Event, Message, read_mail
from orchestration.modules.caller import Caller
from orchestration.store.inputs import decode_input

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["MailboxCell", "new_future", "problem_error"]

logger = logging.getLogger(__name__)

_ANSWERS: Final = frozenset(
    {
        Code.OPERATION_DONE, Code.CHILD_STARTED, Code.CHILD_START_FAILED, Code.CHILD_ENDED, Code.ACTIVITY_COMPLETED,
        Code.ACTIVITY_FAILED,
    }
)  # fmt: skip
_PLACE: Final = "client"


class MailboxCell(Cell):
    """An address of Python code.

    Args:
        node: Where it lives.
        take: Takes its mail, in whatever thread that comes; it must not wait.
        over: Told of the end of the cell.
        entry_id: Entry whose code it runs; empty: none.
        place: As of any cell.
        caller: As of any cell; None: nobody's.
    """

    __slots__ = ("_answers", "_lock", "_numbers", "_over", "_take", "is_trusted")

    def __init__(
        self, node: Node, take: Callable[[Message | Event], None], *, over: Callable[[Ending], None] | None = None,
        entry_id: str = "", place: str = _PLACE, caller: Caller | None = None,
    ) -> None:  # fmt: skip
        super().__init__(node, entry_id, place, caller or node.caller(entry_id))
        self._take = take
        self._over = over
        self._numbers = itertools.count(1)
        self._answers: dict[int, tuple[Future[Any], bool]] = {}
        self._lock = threading.Lock()
        self.is_trusted = caller is None
        """Its commands are the application's own: no policy is asked."""

    def command(self, code: int, *rest: Any, waits: bool = False) -> Future[Any]:
        """Give a command, as Lua code would.

        Args:
            code: Of the command.
            rest: Its fields after the number.
            waits: Of a spawn: the answer is how the process ends, not its address.

        Returns:
            The answer, or a ProcessError.
        """
        future: Future[Any] = new_future()
        seq = next(self._numbers)
        with self._lock:
            self._answers[seq] = (future, waits)
        if self.ended is not None:
            self._answer_all()
            return future
        try:
            performer = self.node.performer
            (performer.act if self.is_trusted else performer.perform)(self, code, [seq, *rest])
        except BaseException as error:
            with self._lock:
                self._answers.pop(seq, None)
            if not isinstance(error, Exception):
                raise
            future.set_exception(error)
        return future

    def push(self, item: bytes) -> None:
        """Answer a command, or hand mail over."""
        if self.ended is not None or not item:
            return
        code, rest = decode_input(item)
        if code in _ANSWERS:
            self._answer(code, *rest[:4])
            return
        mail = read_mail(code, rest)
        if mail is None:
            logger.error("%s cannot read an input of kind %d", self.pid, code)
        else:
            self._take(mail)

    def kill(self, ending: Ending) -> None:
        """End it at once."""
        self.node.end(self, ending)

    def close(self) -> None:
        """Answer what waits for an answer, and say that it is over."""
        self._answer_all()
        if self._over is not None and self.ended is not None:
            self._over(self.ended)

    def _answer(self, code: int, seq: int, *rest: Any) -> None:
        with self._lock:
            future, waits = self._answers.get(seq, (None, False))
            if future is None or (waits and code == Code.CHILD_STARTED):
                return
            del self._answers[seq]
        if code in (Code.OPERATION_DONE, Code.CHILD_ENDED):
            ok, value = rest[-2:]
        else:
            ok, value = code in (Code.CHILD_STARTED, Code.ACTIVITY_COMPLETED), rest[0]
        if code == Code.CHILD_STARTED:
            future.set_result(value)
        elif ok:
            future.set_result(payload.decode(value))
        elif code == Code.ACTIVITY_FAILED:
            future.set_exception(application_error(payload.decode_failure(value), ApplicationError))
        else:
            cls = ProcessStartError if code == Code.CHILD_START_FAILED else None
            future.set_exception(problem_error(application_error(payload.decode_failure(value), ApplicationError), cls))

    def _answer_all(self) -> None:
        with self._lock:
            answers, self._answers = self._answers, {}
        for future, _ in answers.values():
            future.set_exception(ProcessError(f"{self.pid} has ended", "InvalidState", False))


def new_future() -> Future[Any]:
    """A future that nobody can cancel: others may wait for it too."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def problem_error(problem: ApplicationError, cls: type[ProcessError] | None = None) -> Exception:
    """What Python code is told of something that could not be done with a process.

    Args:
        problem: Why not.
        cls: Class of the error; None: by its kind.
    """
    details = dict(problem.details or {})
    kind = str(details.pop("kind", problem.kind)) if cls is None else problem.kind  # Lua is told "Internal" of some
    if cls is None and kind == "Unavailable":
        return StoreUnavailableError(problem.message)
    if cls is None:
        cls = ProcessNotFoundError if kind == "NotFound" else ProcessError
    return cls(problem.message, kind, problem.retryable, details)
