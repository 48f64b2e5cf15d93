"""Names of processes: runtime-wide, kept in Redis; those of this node's cells are known here too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestration.errors import ApplicationError
from orchestration.host import wire
from orchestration.host.cell import Cell
from orchestration.store.base import text

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Names"]

Answer = Callable[[ApplicationError | None, Any], None]


class Names:
    """The names that this node has to do with.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._local: dict[bytes, Cell] = {}
        self._lock = threading.Lock()

    def local(self, name: bytes) -> Cell | None:
        """The cell of this node with a name."""
        return self._local.get(name)

    def add(self, cell: Cell, name: str) -> None:
        """A cell of this node has been given a name."""
        with self._lock:
            if cell.ended is None:
                cell.names.add(name)
                self._local[name.encode()] = cell
                return
        self.free(cell.pid, name)

    def free(self, pid: str, name: str) -> None:
        """A process ended while it was given a name, which nobody else would take away again."""
        address = wire.address_of(pid)
        if address is not None:
            self._node.post.order(self._node.actors.end(address.node, address.unique, pid, [name]))

    def drop(self, cell: Cell, name: str) -> None:
        """A cell of this node has lost a name."""
        with self._lock:
            cell.names.discard(name)
            if self._local.get(name.encode()) is cell:
                del self._local[name.encode()]

    def release(self, cell: Cell) -> None:
        """A cell has ended."""
        with self._lock:
            for name in cell.names:
                if self._local.get(name.encode()) is cell:
                    del self._local[name.encode()]

    def register(self, name: str, pid: str, answer: Answer) -> None:
        """Give a living process a name, and answer."""
        node = self._node
        address = wire.address_of(pid)
        if address is None:
            answer(ApplicationError(f"process not found: {pid}", kind="NotFound", retryable=False), None)
            return

        def done(status: str, rest: list[Any]) -> None:
            if status == "ok":
                cell = node.find(pid)
                if cell is not None:
                    self.add(cell, name)
                elif address.node == node.id:
                    self.free(pid, name)
                else:
                    node.post.tell(
                        node.fence, address.node, address.unique, "named", address.unique, name,
                        done=lambda status, _rest: self.free(pid, name) if status == "not_found" else None,
                    )  # fmt: skip
            answer(problem_of(status, rest, pid, name), True)

        order = node.actors.claim_name(node.fence, address.node, address.unique, pid, name)
        node.post.order(order, done)

    def unregister(self, name: str, answer: Answer) -> None:
        """Take a name away, and answer whether it was there."""
        node = self._node
        with self._lock:
            cell = self._local.pop(name.encode(), None)
            if cell is not None:
                cell.names.discard(name)

        def done(status: str, rest: list[Any]) -> None:
            owner = wire.address_of(text(rest[0])) if status == "ok" else None
            if owner is not None and owner.node != node.id:
                node.post.tell(node.fence, owner.node, "", "unnamed", owner.unique, name)
            if status in ("ok", "not_found"):
                answer(None, status == "ok")
            else:
                if cell is not None:
                    self.add(cell, name)  # it still has it
                answer(problem_of(status, rest, "", name), None)

        node.post.order(node.actors.drop_name(node.fence, name), done)

    def lookup(self, name: str) -> str | None:
        """Address of the process with a name; asks Redis, unless it is one of this node."""
        node = self._node
        cell = self._local.get(name.encode())
        if cell is not None:
            return cell.pid
        found = node.actors.lookup(name)
        address = wire.address_of(found) if found else None
        if address is not None and address.node == node.id and address.unique not in node.cells:
            return None  # it has ended, and its name is about to be free
        return found


def problem_of(status: str, rest: list[Any], pid: str, name: str = "") -> ApplicationError | None:
    """What an order's status means to who asked for it; None: all is well."""
    if status == "ok":
        return None
    if status == "taken":
        details = {"name": name}
        return ApplicationError("name already registered", kind="AlreadyExists", retryable=False, details=details)
    if status == "not_found":
        return ApplicationError(f"process not found: {pid}", kind="NotFound", retryable=False)
    if status == "full":
        return ApplicationError(f"the mailbox of {pid} is full", kind="RateLimited", retryable=True)
    if status == "gone":
        return ApplicationError("this worker has been taken for dead", kind="Unavailable", retryable=True)
    return ApplicationError(str(rest[0]) if rest else status, kind="Unavailable", retryable=True)
