"""A node: one OS process that takes part in the world of processes, with all that lives in it.

Every process that runs Lua processes or functions, or waits for messages, has one; it is made at first use and joins
the deployment when one of its cells becomes known to others.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from kombu import Producer

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.errors import ApplicationError
from orchestration.host.bonds import Bonds
from orchestration.host.calls import Calls
from orchestration.host.celery_calls import CeleryCalls
from orchestration.host.cell import Cell, Ending
from orchestration.host.membership import Membership
from orchestration.host.monitors import Monitors
from orchestration.host.names import Names
from orchestration.host.performer import Performer
from orchestration.host.pools import Pools
from orchestration.host.post import Post
from orchestration.host.python_cell import LoopThread
from orchestration.host.routes import Routes
from orchestration.host.runqueue import RunQueue
from orchestration.host.spawning import Spawning
from orchestration.host.timers import Timers
from orchestration.modules.caller import Caller
from orchestration.store.inputs import encode_input
from orchestration.tasks.runtime import Runtime

__all__ = ["Ended", "Node"]

logger = logging.getLogger(__name__)

_REMEMBERED: Final = 2_000
_REMEMBERED_BYTES: Final = 16 * 1024
_FORGOTTEN: Final = Ending(False, payload.encode_failure("process has ended", kind="NotFound", retryable=False))
_LOST: Final = payload.encode_failure(
    "this worker was silent for too long and has been taken for dead", kind="Unavailable", retryable=True,
    details={"reason": "worker_lost"},
)  # fmt: skip
_CLOSED: Final = payload.encode_failure("this worker has been closed", kind="Unavailable", retryable=True)
_TERMINATED: Final = payload.encode_failure("process terminated", kind="Internal")


class Ended(NamedTuple):
    """A cell that is no more.

    Attributes:
        pid: Its address.
        ending: How it ended.
    """

    pid: str
    ending: Ending


class Node:
    """One OS process in the world of processes.

    Args:
        runtime: Its working parts.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.id = os.urandom(6).hex()
        self.actors = runtime.store(runtime.settings.namespace).actors
        self.cells: dict[str, Cell] = {}
        self._by_address: dict[bytes, Cell] = {}
        self._endings: OrderedDict[str, Ended] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._acting = threading.local()
        self.timers = Timers()
        self.runqueue = RunQueue(max(2, os.cpu_count() or 2), is_held=lambda: not self.membership.may_act())
        self.work = ThreadPoolExecutor(512, thread_name_prefix="orchestration-work")
        self.post = Post(self.actors, self.id, self._take, self.runtime.telemetry)
        self.membership = Membership(self)
        self.names = Names(self)
        self.bonds = Bonds(self)
        self.routes = Routes(self)
        self.spawning = Spawning(self)
        self.pools = Pools()
        self.celery = CeleryCalls(runtime.app, self.submit, self._give_out, runtime.settings.start_to_close_ms / 1000)
        self.calls = Calls(self)
        self.performer = Performer(self)
        self.loop = LoopThread()
        self.monitors = Monitors(self)

    @property
    def fence(self) -> str:
        """Under which name scripts see whether this thread may still act; empty before the node has joined."""
        id_ = self._own_id
        return id_ if id_ != self.id or self.membership.is_joined else ""

    @property
    def _own_id(self) -> str:
        return getattr(self._acting, "id", None) or self.id

    def act_as(self, id_: str | None) -> str | None:
        """Let this thread act under that id of the node: when the node has another by now, nothing has an effect.

        Returns:
            What to call this with afterwards.
        """
        before: str | None = getattr(self._acting, "id", None)
        self._acting.id = id_
        return before

    @property
    def address(self) -> str:
        """Of the node itself, where a watcher is wanted and no cell is meant."""
        return f"{{{self.id}@|node}}"

    @property
    def is_lived_in(self) -> bool:
        """There are cells here, or others owe it an answer, which would not find it under another id."""
        return bool(self.cells) or self.routes.is_waiting

    # Cells ----------------------------------------------------------------------------------------------------

    def next_unique(self) -> str:
        """Number of the next cell, as it stands in addresses."""
        return f"0x{next(self._numbers):05x}"

    def caller(self, entry_id: str, context: Any = None, identity: Identity | None = None) -> Caller:
        """What modules see of a new cell; :meth:`add` completes it."""
        return Caller(
            runtime=self.runtime, entry_id=entry_id, pid="", context=dict(context or {}),
            identity=identity or Identity(),
        )  # fmt: skip

    def add(self, cell: Cell) -> None:
        """Let a cell be found by its address on this node."""
        cell.caller.answer = cell.push
        cell.caller.check = self.check
        with self._lock:
            self.cells[cell.unique] = cell
            self._by_address[cell.pid.encode()] = cell
            is_lost = cell.home != self.id
        self._count_cells()
        if is_lost:  # between its making and this, the node was taken for dead
            cell.kill(Ending(False, _LOST))

    def crowded(self) -> ApplicationError | None:
        """Why nothing more can be started here; None: something can."""
        most = self.runtime.settings.processes_max
        if len(self.cells) < most:
            return None
        text = f"this worker runs {most:,} processes and calls, the most that orchestration_processes_max allows"
        return ApplicationError(f"{text}: try it later", kind="RateLimited", retryable=True)

    def expose(self, cell: Cell) -> None:
        """Let a cell be found from everywhere: it is about to tell its address."""
        if cell.is_public or cell.ended is not None or cell.home != self.id:
            return
        self.membership.join()
        cell.is_public = True
        cell.caller.node = self.id
        self.post.order(self.actors.register(self.id, cell.unique, cell.pid, self.describe(cell)))

    def describe(self, cell: Cell) -> dict[str, Any]:
        """What the deployment knows of a cell."""
        return {"entry": cell.entry_id, "place": cell.place, "since_ms": time.time_ns() // 1_000_000}

    def find(self, pid: str) -> Cell | None:
        """The living cell with an address on this node."""
        return self._by_address.get(pid.encode())

    def ended(self, unique: str) -> Ended:
        """How a cell of this node ended; with a failure that says so when that is too long ago."""
        return self._endings.get(unique) or Ended(f"{{{self.id}@|{unique}}}", _FORGOTTEN)

    def hand_over(self, sender: Cell, dest: bytes, item: bytes) -> bool:
        """Put an input into the mailbox of a cell of this node, by address or name; False: there is none."""
        cell = self._by_address.get(dest) or self.names.local(dest)
        if cell is None or cell.ended is not None or cell.is_closing or sender.home != self.id:
            return False
        if not self.performer.may_send(sender, cell.pid):
            return False
        if not sender.is_public:
            self.expose(sender)
        cell.push(item)
        return True

    def end(self, cell: Cell, ending: Ending) -> None:
        """A cell has ended: nobody finds it any more, its names are free, and who watches it is told."""
        with self._lock:
            if cell.ended is not None:
                return
            cell.ended = ending
            refused, cell.refused = cell.refused, None
            self.cells.pop(cell.unique, None)
            self._by_address.pop(cell.pid.encode(), None)
            if cell.is_public and len(ending.value) <= _REMEMBERED_BYTES:
                self._endings[cell.unique] = Ended(cell.pid, ending)
                if len(self._endings) > _REMEMBERED:
                    self._endings.popitem(last=False)
        self._count_cells()
        if refused is not None:  # it never came to run: who started it hears that, and nobody else anything
            cell.watchers.clear()
            cell.links.clear()
            refused(ending)
        self.names.release(cell)
        if cell.is_public:
            self.post.order(self.actors.end(self.id, cell.unique, cell.pid, sorted(cell.names)))
        self.bonds.tell(cell, ending)
        for told in cell.take_told():
            try:
                told(ending)
            except Exception:
                logger.exception("the end of %s could not be told", cell.pid)
        try:
            cell.caller.close()
        except Exception:
            logger.exception("a module of %s could not be closed", cell.pid)
        cell.close()
        self.membership.look()

    def admit(self, cell: Cell) -> bool:
        """The code of a cell begins: its end is no refusal any more. False: it has ended before."""
        with self._lock:
            if cell.ended is not None:
                return False
            cell.refused = None
            return True

    def _count_cells(self) -> None:
        if self.runtime.telemetry is not None:
            self.runtime.telemetry.gauge("orchestration_processes", len(self.cells))

    # What can be done to a cell of this node ------------------------------------------------------------------

    def cancel(self, cell: Cell, reason: str, sender: str) -> None:
        """Ask a cell to end."""
        cell.push(encode_input(Code.CANCEL_REQUESTED, reason, sender))

    def terminate(self, cell: Cell) -> None:
        """End a cell without running its code again."""
        cell.kill(Ending(False, _TERMINATED))

    # The right to act -----------------------------------------------------------------------------------------

    def wait_for_turn(self) -> None:
        """Before each step: wait while it is open whether this node still counts as living."""
        while not self.membership.may_act():
            self.membership.wait()

    def check(self) -> None:
        """Raise when this node may have been taken for dead: what it does now could have an effect too late.

        Raises:
            ApplicationError: It may; of kind ``Unavailable``.
        """
        if self._own_id != self.id or not self.membership.may_act():
            raise _silenced()

    def _give_out(self, send: Callable[[Producer], object]) -> None:
        """Give a broker message out: by the script that sees whether this node still counts, where the broker allows.

        Raises:
            ApplicationError: It does not count; of kind ``Unavailable``.
        """
        messages = self.runtime.messages
        pushes = messages.pushes(send)
        self.check()
        if not pushes.commands:
            with messages.producer() as producer:
                send(producer)
        elif not self.runtime.store(self.runtime.settings.namespace).effects.give_out(self.fence, pushes):
            raise _silenced()

    def perish(self) -> None:
        """This node was taken for dead and has another id: all that ran before is gone, and others know it already."""
        with self._lock:
            cells = [cell for cell in self.cells.values() if cell.home != self.id]
        self._give_up(cells, _LOST)

    def _give_up(self, cells: list[Cell], failure: bytes) -> None:
        """End cells, and all waiting for other nodes, without a word to these."""
        for cell in cells:
            cell.watchers.clear()
            cell.links.clear()
            cell.watched.clear()
            cell.is_public = False
        for cell in cells:
            cell.kill(Ending(False, failure))
        self.routes.give_up(failure)

    def rename(self) -> None:
        """Take another id: the old one is buried."""
        with self._lock:
            self.post.close()
            self.id = os.urandom(6).hex()
            self.post = Post(self.actors, self.id, self._take, self.runtime.telemetry)

    def close(self) -> None:
        """Leave the deployment and stop all threads; cells that still run are gone without a word to others."""
        self.monitors.close()
        self.membership.close()
        with self._lock:
            cells = list(self.cells.values())
        self._give_up(cells, _CLOSED)
        self.runqueue.close()
        for cell in cells:  # no thread ends them any more; who waits for them here must not wait for ever
            for told in cell.take_told():
                told(Ending(False, _CLOSED))
        self.loop.close()
        self.timers.close()
        self.celery.close()
        self.post.close()
        self.work.shutdown(wait=False, cancel_futures=True)

    def submit(self, work: Callable[[], None]) -> None:
        """Do something that may wait, in a thread of its own."""
        id_ = self._own_id

        def run() -> None:
            self.act_as(id_)
            try:
                work()
            except Exception:
                logger.exception("work for a process failed")
            finally:
                self.act_as(None)
                self.actors.let_go()

        self.work.submit(run)

    # Mail -----------------------------------------------------------------------------------------------------

    def _take(self, what: str, rest: list[Any]) -> None:
        self.routes.take(what, rest)


def _silenced() -> ApplicationError:
    text = "this worker has been silent for too long: what its processes do has no effect any more"
    return ApplicationError(text, kind="Unavailable", retryable=True)
