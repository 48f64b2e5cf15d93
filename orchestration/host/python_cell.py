"""Cells that run Python: async code on one event loop of the node, classes with ordinary methods in its run queue."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

from orchestration.core import payload
from orchestration.core.failures import failure_of
from orchestration.errors import ApplicationError
from orchestration.host.cell import Ending
from orchestration.host.mailbox import CANCEL, LINK_DOWN, Event, Mailbox, Message
from orchestration.host.mailbox_cell import MailboxCell
from orchestration.host.python_process import AsyncProcess, Process, UpgradeRequest
from orchestration.modules.caller import Caller
from orchestration.registry.kinds.processes import ProcessPython
from orchestration.tasks.entries import resolve_callable

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["LoopThread", "PythonCell"]

logger = logging.getLogger(__name__)

_HANDLERS: Final = ("on_start", "on_message", "on_event", "on_end")
_MOST_MAIL: Final = 64
_LINKED: Final = payload.encode_failure("linked process failed", kind="Internal")


class LoopThread:
    """One event loop in a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def call(self, act: Callable[[], object]) -> None:
        """Do something in the loop's thread, soon."""
        with self._lock:
            if self._closed:
                return
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._run, args=(self._loop,), name="orchestration-async", daemon=True).start()
            self._loop.call_soon_threadsafe(act)

    def task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine; in the loop's thread."""
        assert self._loop is not None
        return self._loop.create_task(work)

    def close(self) -> None:
        """Stop the loop; what runs in it is gone."""
        with self._lock:
            self._closed = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._closed:
            try:
                loop.run_forever()
            except BaseException:  # a task of one process must not end the others
                logger.exception("a task in the event loop of Python processes asked Python to end")


class _Driver(Protocol):
    def start(self) -> None:
        """Begin; from any thread."""

    def wake(self) -> None:
        """Something has come; from any thread."""

    def cancel(self) -> None:
        """Somebody asks it to end, and its code does not read events."""

    def abandon(self) -> None:
        """The cell has ended: let go of the code."""


class PythonCell(MailboxCell):
    """A process whose code is a ``process.python`` entry.

    Args:
        node: Where it lives.
        entry: What it runs.
        place: Its host.
        caller: As of any cell.
    """

    __slots__ = ("_driver", "_entry", "cancelled", "mail", "reads_events", "stopped", "trap_links")

    def __init__(self, node: Node, entry: ProcessPython, place: str, caller: Caller) -> None:
        super().__init__(node, self._deliver, entry_id=entry.id, place=place, caller=caller)
        self._entry = entry
        self._driver: _Driver | None = None
        self.mail = Mailbox()
        self.reads_events = False
        self.trap_links = False
        self.cancelled: Ending | None = None
        """How it ends when its code lets the cancellation through."""
        self.stopped: Ending | None = None
        """How it ends when the present handler returns."""

    def run(self, args: bytes, loaded: Callable[[], None] | None = None) -> None:
        """Import the code and begin."""
        self.node.submit(lambda: self._load(args, loaded))

    def upgrade(self, wanted: UpgradeRequest) -> None:
        """Go on with other code under the same address; what has not been read is read by it."""
        entry = self.node.runtime.registry.find(wanted.entry_id or self.entry_id)
        if not isinstance(entry, ProcessPython):
            what = f"is a {entry.kind}, no process.python" if entry is not None else "is no entry"
            text = f"upgrade: create failed: {wanted.entry_id} {what}"
            self.node.end(self, Ending(False, payload.encode_failure(text, kind="NotFound", retryable=False)))
            return
        self.caller.close(is_over=False)
        self._entry, self._driver = entry, None
        self.entry_id = self.caller.entry_id = entry.id
        self.reads_events = self.trap_links = False
        self.stopped = None
        self.node.submit(lambda: self._load(wanted.args_packed, None, "upgrade: create failed: "))

    def _load(self, args: bytes, loaded: Callable[[], None] | None, failed: str = "") -> None:
        try:
            with self.node.runtime.around_code("process"):
                driver = _driver_of(self, resolve_callable(self._entry), payload.decode(args))
        except Exception as error:  # noqa: BLE001 - whoever asked for it is told
            text = f"{failed}{type(error).__name__}: {error}"
            self.node.end(self, Ending(False, payload.encode_failure(text, kind="Invalid", retryable=False)))
            return
        if not self.node.admit(self):
            return
        if loaded is not None:
            loaded()
        self._driver = driver
        driver.start()

    def _deliver(self, mail: Message | Event) -> None:
        if isinstance(mail, Event) and mail.kind == CANCEL and not self.reads_events:
            text = f"process canceled: {mail.reason}" if mail.reason else "process canceled"
            self.cancelled = Ending(False, payload.encode_failure(text, kind="Canceled", retryable=False))
            if self._driver is not None:
                self._driver.cancel()
        elif isinstance(mail, Event) and mail.kind == LINK_DOWN and not self.trap_links and mail.error is not None:
            self.kill(Ending(False, _LINKED))
        else:
            self.mail.put(mail)
            if self._driver is not None:
                self._driver.wake()

    def stop(self, value: Any) -> None:
        """End with a value when the present handler returns."""
        self.stopped = self.ending_of(value)

    def ending_of(self, value: Any) -> Ending:
        """The normal end with a value; an abnormal one when that cannot be carried."""
        try:
            return Ending(True, payload.encode(value, limit=self.node.runtime.settings.value_limit_bytes))
        except Exception as error:  # noqa: BLE001 - whatever it is, this process ends of it
            return Ending(False, payload.encode(failure_of(error)))

    def close(self) -> None:
        """Let go of everything."""
        super().close()
        self.mail.end()
        if self._driver is not None:
            self._driver.abandon()


def _driver_of(cell: PythonCell, code: Any, args: list[Any]) -> _Driver:
    """Who runs some code.

    Raises:
        ApplicationError: Nobody can.
    """
    if inspect.isclass(code):
        handlers = [getattr(code, name, None) for name in _HANDLERS]
        if handlers[1] is None:
            raise ApplicationError(f"{code.__qualname__} has no method on_message(message)", kind="Invalid")
        _check_arguments(code, args)
        if any(inspect.iscoroutinefunction(handler) for handler in handlers):
            return _AsyncDriver(cell, lambda process: _serve(cell, process, code, args))
        return _ClassDriver(cell, code, args)
    if inspect.isasyncgenfunction(code):
        _check_arguments(code, args)
        return _AsyncDriver(cell, lambda process: _feed(process, code(process, *args)))
    if inspect.iscoroutinefunction(code):
        _check_arguments(code, args)
        return _AsyncDriver(cell, lambda process: code(process, *args))
    text = f"{code!r:.200} is no class, async function or async generator: only those can be processes"
    raise ApplicationError(text, kind="Invalid")


def _check_arguments(code: Any, args: list[Any]) -> None:
    with contextlib.suppress(ValueError):  # a class that does not say what it takes
        inspect.signature(code).bind(None, *args)


class _AsyncDriver:
    """Runs a coroutine as a task of the node's loop."""

    def __init__(self, cell: PythonCell, begin: Callable[[AsyncProcess], Awaitable[Any]]) -> None:
        self._cell = cell
        self._begin = begin
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._cell.node.loop.call(self._start)

    def wake(self) -> None:
        """The mailbox wakes who waits at it."""

    def cancel(self) -> None:
        self._cell.node.loop.call(self._cancel)

    abandon = cancel

    def _start(self) -> None:
        self._task = self._cell.node.loop.task(self._run())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        cell = self._cell
        process = AsyncProcess(cell)
        try:
            await process._turn()
            if cell.ended is not None:
                return
            if cell.cancelled is not None:  # before it began
                ending = cell.cancelled
            else:
                with cell.node.runtime.around_code("async process"):
                    ending = cell.ending_of(await self._begin(process))
        except UpgradeRequest as wanted:
            cell.upgrade(wanted)
            return
        except asyncio.CancelledError as error:
            ending = cell.cancelled or Ending(False, payload.encode(failure_of(error)))
        except BaseException as error:  # noqa: BLE001 - whatever it is, this process ends of it and no other
            ending = Ending(False, payload.encode(failure_of(error)))
        cell.node.end(cell, ending)


async def _feed(process: AsyncProcess, code: Any) -> None:
    """Run an async generator: each ``yield`` waits for a message.

    Raises:
        TypeError: It yields something.
    """
    try:
        message: Message | None = None
        while True:
            try:
                given = await code.asend(message)
            except StopAsyncIteration:
                return
            if given is not None:
                raise TypeError(f"`yield` waits for a message and takes nothing, not {given!r:.100}; send() sends")
            message = await process.receive()
    finally:
        await code.aclose()


async def _serve(cell: PythonCell, process: AsyncProcess, cls: Any, args: list[Any]) -> Any:
    """Run a class that has async handlers."""
    code = cls(process, *args)
    cell.reads_events = hasattr(code, "on_event")
    error: BaseException | None = None
    is_replaced = False
    try:
        if hasattr(code, "on_start"):
            await _maybe(code.on_start())
        while cell.stopped is None:
            item = await (process.next() if cell.reads_events else process.receive())
            await _maybe(code.on_message(item) if isinstance(item, Message) else code.on_event(item))
    except UpgradeRequest:
        is_replaced = True
        raise
    except BaseException as problem:
        error = problem
        raise
    finally:
        if hasattr(code, "on_end") and cell.ended is None and not is_replaced:
            await _maybe(code.on_end(error))
    stopped = cell.stopped
    return payload.decode(stopped.value) if stopped.ok else _raise(stopped)


async def _maybe(answer: Any) -> None:
    if inspect.isawaitable(answer):
        await answer


def _raise(ending: Ending) -> None:
    failure = payload.decode_failure(ending.value)
    raise ApplicationError(failure["message"], failure["kind"], failure.get("retryable"))


class _ClassDriver:
    """Runs a class with ordinary methods in the run queue; one handler at a time."""

    def __init__(self, cell: PythonCell, cls: Any, args: list[Any]) -> None:
        self._cell = cell
        self._cls = cls
        self._args = args
        self._code: Any = None
        self._is_new = True
        self._is_replaced = False
        self.is_scheduled = False
        self.queued_at = 0.0
        cell.reads_events = hasattr(cls, "on_event")

    def start(self) -> None:
        self._cell.node.runqueue.schedule(self)

    wake = start
    cancel = start

    def abandon(self) -> None:
        self._code = None

    def has_work(self) -> bool:
        """Whether there is something to do."""
        cell = self._cell
        if self._is_replaced:
            return False
        return cell.ended is None and (self._is_new or cell.cancelled is not None or bool(cell.mail))

    def run_step(self) -> None:
        """Call some handlers."""
        cell = self._cell
        cell.node.wait_for_turn()
        if self._is_replaced:
            return
        with cell.node.runtime.around_code("process"):
            try:
                ending = self._step()
            except UpgradeRequest as wanted:
                self._is_replaced = True
                self._code = None
                cell.upgrade(wanted)
                return
            except BaseException as error:  # noqa: BLE001 - whatever it is, this process ends of it and no other
                ending = self._last(Ending(False, payload.encode(failure_of(error))), error)
        if ending is not None:
            cell.node.end(cell, ending)

    def _step(self) -> Ending | None:
        cell = self._cell
        if self._is_new and cell.ended is None:
            self._is_new = False
            self._code = self._cls(Process(cell), *self._args)
            if hasattr(self._code, "on_start"):
                self._code.on_start()
        code = self._code
        for _ in range(_MOST_MAIL):
            if cell.ended is not None:
                return None
            if cell.stopped is not None:
                return self._last(cell.stopped, None)
            if cell.cancelled is not None:
                return self._last(cell.cancelled, asyncio.CancelledError())
            item = cell.mail.pop()
            if item is None:
                return None
            if isinstance(item, Message):
                code.on_message(item)
            elif cell.reads_events:
                code.on_event(item)
        return cell.stopped and self._last(cell.stopped, None)

    def _last(self, ending: Ending, error: BaseException | None) -> Ending:
        code = self._code
        if not hasattr(code, "on_end"):
            return ending
        try:
            code.on_end(error)
        except Exception as problem:  # noqa: BLE001 - it is the last word of this process
            return Ending(False, payload.encode(failure_of(problem)))
        return ending
