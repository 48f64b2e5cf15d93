"""Ways to a process or workflow, wherever it is, and what comes in from other nodes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.pid import parse_pid
from orchestration.errors import ApplicationError
from orchestration.host import wire, workflows
from orchestration.host.cell import Cell, Ending
from orchestration.host.names import problem_of
from orchestration.host.timers import Timer
from orchestration.store.inputs import encode_input

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Routes"]

Answer = Callable[[ApplicationError | None], None]
Reply = Callable[[bool, bytes], None]


class Routes:
    """What one node asks of others, and answers them.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._requests: dict[str, tuple[str, Reply, Timer]] = {}
        self._calls: dict[str, tuple[str, Callable[[Ending], None]]] = {}

    # Out ------------------------------------------------------------------------------------------------------

    def send(self, dest: str, item: bytes, answer: Answer) -> None:
        """Put an input into the mailbox behind an address or name.

        Args:
            dest: Address of a process or workflow, or a name.
            item: Encoded input.
            answer: Told None when it was accepted, else why not.
        """

        def near(cell: Cell) -> None:
            if cell.is_closing:
                answer(ApplicationError("process closed", kind="InvalidState", retryable=False))
            else:
                cell.push(item)
                answer(None)

        self._route(
            dest, answer, near=near, far=("item", item),
            workflow=lambda pid: workflows.deliver(self._node.runtime, pid, item),
        )  # fmt: skip

    def cancel(self, dest: str, reason: str, sender: str, answer: Answer) -> None:
        """Ask what is behind an address or name to end."""
        self.send(dest, encode_input(Code.CANCEL_REQUESTED, reason, sender), answer)

    def terminate(self, dest: str, sender: str, answer: Answer) -> None:
        """End what is behind an address or name."""

        def near(cell: Cell) -> None:
            self._node.terminate(cell)
            answer(None)

        self._route(
            dest, answer, near=near, far=("kill",),
            workflow=lambda pid: workflows.terminate(self._node.runtime, pid, sender),
        )  # fmt: skip

    def watch(self, cell: Cell, dest: str, how: str, answer: Answer) -> None:
        """Begin or stop watching or being linked.

        Args:
            cell: Who watches.
            dest: Address of a process or workflow.
            how: monitor, unmonitor, link or unlink.
            answer: As in :meth:`send`.
        """
        bonds = self._node.bonds

        def near(other: Cell) -> None:
            if how == "monitor":
                cell.watched.add(other.pid)
                bonds.watch(other, cell.pid, "exit")
            elif how == "unmonitor":
                bonds.unwatch(other, cell.pid, "exit")
                cell.watched.discard(other.pid)
            elif how == "link":
                bonds.join(cell, other)
            else:
                bonds.forget(other, cell.pid)
                bonds.forget(cell, other.pid)
            answer(None)

        def noted(problem: ApplicationError | None) -> None:
            if problem is not None:
                if how == "monitor":
                    cell.watched.discard(dest)
                elif how == "link":
                    cell.links.discard(dest)
                if how.startswith("un"):
                    problem = None
            answer(problem)

        address = wire.address_of(dest)
        if address is not None:  # noted first: the answer and the end may come in any order
            if how == "monitor":
                bonds.note_watched(cell, dest)
            elif how == "link" and dest != cell.pid:
                bonds.link(cell, dest)
            elif how == "unmonitor":
                cell.watched.discard(dest)
            else:
                bonds.forget(cell, dest)
        missing = f"pid not registered: {dest}" if how in ("monitor", "link") else None
        self._route(
            dest, noted, near=near, far=(how, cell.pid), missing=missing,
            workflow=lambda pid: workflows.watch(self._node, cell, pid, how),
        )  # fmt: skip

    def await_end(self, pid: str, told: Callable[[Ending], None], answer: Answer) -> None:
        """Be told of the end of a process that runs already.

        Args:
            pid: Its address.
            told: Told how it ended, wherever it runs.
            answer: Told None when it is watched, else why not.
        """
        node = self._node
        address = wire.address_of(pid)
        how = self.expect_end(address.node if address else "", told)

        def watched(problem: ApplicationError | None) -> None:
            if problem is not None:
                self.forget_end(how)
            answer(problem)

        def near(cell: Cell) -> None:
            node.bonds.watch(cell, node.address, how)
            answer(None)

        self._route(
            pid, watched, near=near, far=("watch", node.address, how),
            workflow=lambda dest: ApplicationError(f"process not found: {dest}", kind="NotFound", retryable=False),
        )  # fmt: skip

    def request(self, to: str, what: str, reply: Reply, *rest: Any, timeout_s: float) -> None:
        """Ask another node for something.

        Args:
            to: Its id.
            what: Kind of request.
            reply: Told True and a value, or False and an encoded failure; once.
            rest: Content.
            timeout_s: After which the answer is a failure of kind ``Timeout``.
        """
        number = f"r{next(self._numbers)}"
        node = self._node

        def late() -> None:
            failure = payload.encode_failure(f"no answer from the worker {to}", kind="Timeout", retryable=True)
            self._reply(number, False, failure)

        def sent(status: str, found: list[Any]) -> None:
            problem = problem_of(status, found, f"worker {to}")
            if problem is not None:
                failure = payload.encode_failure(problem.message, kind="Unavailable", retryable=True)
                self._reply(number, False, failure)

        with self._lock:
            self._requests[number] = (to, reply, node.timers.after(timeout_s, late))
        node.post.tell(node.fence, to, "", what, node.id, number, *rest, done=sent)

    def expect_end(self, to: str, told: Callable[[Ending], None]) -> str:
        """Be told of the end of a process that is about to be started on another node; the way it is told."""
        how = f"call/{next(self._numbers)}"
        with self._lock:
            self._calls[how] = (to, told)
        return how

    def forget_end(self, how: str) -> None:
        """The process was not started."""
        with self._lock:
            self._calls.pop(how, None)

    def answer_end(self, to: str, how: str, pid: str, ending: Ending) -> None:
        """A process that another node waits for has ended."""
        node = self._node
        if to == node.id:
            self._called(how, ending)
        else:
            node.post.tell(node.fence, to, "", "called", how, ending.ok, ending.value)

    @property
    def is_waiting(self) -> bool:
        """Others owe this node an answer."""
        return bool(self._requests or self._calls)

    def give_up(self, failure: bytes) -> None:
        """Nothing that was asked of others is answered any more."""
        with self._lock:
            requests, calls = list(self._requests), list(self._calls)
        for number in requests:
            self._reply(number, False, failure)
        for how in calls:
            self._called(how, Ending(False, failure))

    @property
    def far(self) -> frozenset[str]:
        """Nodes that owe an answer."""
        with self._lock:
            return frozenset([found[0] for found in self._requests.values()] + [to for to, _ in self._calls.values()])

    def _route(
        self, dest: str, answer: Answer, *, near: Callable[[Cell], None], far: tuple[Any, ...],
        workflow: Callable[[str], ApplicationError | None], missing: str | None = None, by_name: bool = False,
    ) -> None:  # fmt: skip
        node = self._node
        address = wire.address_of(dest)
        if address is not None and address.node == node.id:
            cell = node.cells.get(address.unique)
        else:
            cell = None if by_name else node.names.local(dest.encode())
        if cell is not None and cell.ended is None:
            near(cell)
            return
        if address is not None:
            if address.node == node.id:
                answer(_not_found(missing or f"process not found: {dest}"))
                return

            def done(status: str, rest: list[Any]) -> None:
                problem = problem_of(status, rest, dest)
                answer(_not_found(missing) if missing and status == "not_found" else problem)

            node.post.tell(
                node.fence, address.node, address.unique, far[0], address.unique, *far[1:], done=done
            )
            return
        if parse_pid(dest) is not None:
            node.submit(lambda: answer(_safely(node.check, lambda: workflow(dest))))
            return
        if by_name:
            answer(_not_found(f"could not resolve '{dest}' as PID or registered name"))
            return

        def resolve() -> None:
            try:
                found = node.names.lookup(dest)
            except Exception as error:  # noqa: BLE001 - Redis is away; who asked is told
                answer(ApplicationError(str(error), kind="Unavailable", retryable=True))
                return
            if found is None:
                answer(_not_found(f"could not resolve '{dest}' as PID or registered name"))
            else:
                self._route(found, answer, near=near, far=far, workflow=workflow, missing=missing, by_name=True)

        node.submit(resolve)

    # In -------------------------------------------------------------------------------------------------------

    def take(self, what: str, rest: list[Any]) -> None:
        """A message has come for this node."""
        handler = getattr(self, f"_on_{what}", None)
        if handler is None:
            raise ValueError(f"this release knows no message {what!r}")
        handler(*rest)

    def _on_gone(self, gone: str) -> None:
        """A node has gone: what was asked of it is not answered, and its processes have ended."""
        self._node.bonds.lose(gone)
        with self._lock:
            requests = [number for number, (to, _, _) in self._requests.items() if to == gone]
            calls = [how for how, (to, _) in self._calls.items() if to == gone]
        failure = payload.encode_failure(
            "the worker of this process is gone", kind="Unavailable", retryable=True, details={"reason": "worker_lost"}
        )
        for number in requests:
            self._reply(number, False, failure)
        for how in calls:
            self._called(how, Ending(False, failure))

    def _on_item(self, unique: str, item: bytes) -> None:
        cell = self._node.cells.get(unique)
        if cell is not None:
            cell.push(item)

    def _on_kill(self, unique: str) -> None:
        cell = self._node.cells.get(unique)
        if cell is not None:
            self._node.terminate(cell)

    def _on_monitor(self, unique: str, watcher: str) -> None:
        self._bind(unique, watcher, "exit")

    def _on_link(self, unique: str, other: str) -> None:
        self._bind(unique, other, "down")

    def _on_watch(self, unique: str, watcher: str, how: str) -> None:
        self._bind(unique, watcher, how)

    def _bind(self, unique: str, watcher: str, how: str) -> None:
        node = self._node
        cell = node.cells.get(unique)
        if cell is not None and how == "down":
            node.bonds.link(cell, watcher)
        elif cell is not None:
            node.bonds.watch(cell, watcher, how)
        else:  # it ended while this was under way
            found = node.ended(unique)
            if how != "down" or not found.ending.ok:
                node.bonds.tell_one(found.pid, watcher, how, found.ending)

    def _on_unmonitor(self, unique: str, watcher: str) -> None:
        self._on_unwatch(unique, watcher, "exit")

    def _on_unwatch(self, unique: str, watcher: str, how: str) -> None:
        cell = self._node.cells.get(unique)
        if cell is not None:
            self._node.bonds.unwatch(cell, watcher, how)

    def _on_unlink(self, unique: str, other: str) -> None:
        cell = self._node.cells.get(unique)
        if cell is not None:
            self._node.bonds.forget(cell, other)

    def _on_end(self, unique: str, pid: str, how: str, ok: bool, value: bytes) -> None:
        self._node.bonds.hear(unique, pid, how, Ending(ok, value))

    def _on_workflow_end(self, unique: str, pid: str, how: str, ok: bool, value: bytes) -> None:
        cell = self._node.cells.get(unique)
        if cell is not None:
            workflows.hear(cell, pid, how, Ending(ok, value))

    def _on_cancel(self, unique: str, reason: str, sender: str) -> None:
        cell = self._node.cells.get(unique)
        if cell is not None:
            self._node.cancel(cell, reason, sender)

    def _on_named(self, unique: str, name: str) -> None:
        cell = self._node.cells.get(unique)
        if cell is not None:
            self._node.names.add(cell, name)
        else:
            self._node.names.free(self._node.ended(unique).pid, name)

    def _on_unnamed(self, unique: str, name: str) -> None:
        cell = self._node.cells.get(unique)
        if cell is not None:
            self._node.names.drop(cell, name)

    def _on_spawn(self, sender: str, number: str, fields: dict[str, Any]) -> None:
        node = self._node

        def answer(ok: bool, value: bytes) -> None:
            node.post.tell(node.fence, sender, "", "reply", number, ok, value)

        node.spawning.spawn_for_other(fields, answer)

    def _on_reply(self, number: str, ok: bool, value: bytes) -> None:
        self._reply(number, ok, value)

    def _on_called(self, how: str, ok: bool, value: bytes) -> None:
        self._called(how, Ending(ok, value))

    def _reply(self, number: str, ok: bool, value: bytes) -> None:
        with self._lock:
            found = self._requests.pop(number, None)
        if found is not None:
            found[2].cancel()
            found[1](ok, value)

    def _called(self, how: str, ending: Ending) -> None:
        with self._lock:
            found = self._calls.pop(how, None)
        if found is not None:
            found[1](ending)


def _not_found(text: str | None) -> ApplicationError:
    return ApplicationError(text or "process not found", kind="NotFound", retryable=False)


def _safely(
    check: Callable[[], None], act: Callable[[], ApplicationError | None]
) -> ApplicationError | None:  # fmt: skip
    try:
        check()  # here, not when it was asked for: this thread may have stood still in between
        return act()
    except ApplicationError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the store is away; who asked is told
        return ApplicationError(str(error), kind="Unavailable", retryable=True)
