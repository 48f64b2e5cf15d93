"""Monitors and links: who hears of whose end, on this node and across nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.host import wire
from orchestration.host.cell import Cell, Ending
from orchestration.store.inputs import encode_input

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Bonds"]

_MISSING: Final = object()
_LOST: Final = Ending(
    False,
    payload.encode_failure(
        "the worker of this process is gone", kind="Unavailable", retryable=True, details={"reason": "worker_lost"}
    ),
)


class Bonds:
    """What the cells of a node have to do with each other's ends.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._far: set[str] = set()

    def watch(self, target: Cell, watcher: str, how: str) -> None:
        """Let an address be told of the end of a cell of this node."""
        target.watchers[(watcher, how)] = None
        self._remember(watcher)
        if target.ended is not None:  # it ended meanwhile: whoever takes the entry tells, once
            self._tell_watcher(target, (watcher, how), target.ended)

    def unwatch(self, target: Cell, watcher: str, how: str) -> None:
        """Tell it no more."""
        target.watchers.pop((watcher, how), None)

    def link(self, cell: Cell, other: str) -> None:
        """Bind a cell of this node to another process, wherever that is; the other side does the same."""
        cell.links.add(other)
        self._remember(other)  # last: a look at the nodes meanwhile would forget it again, and not see the link
        if cell.ended is not None:  # it ended meanwhile
            self._part(cell, other, cell.ended)

    def join(self, cell: Cell, other: Cell) -> None:
        """Bind two cells of this node."""
        cell.links.add(other.pid)
        other.links.add(cell.pid)
        for one, another in ((cell, other), (other, cell)):
            if one.ended is not None and not one.ended.ok:  # it ended meanwhile, maybe without seeing the link
                self.hear(another.unique, one.pid, "down", one.ended)
            elif one.ended is not None:
                another.links.discard(one.pid)

    def forget(self, cell: Cell, other: str) -> None:
        """Dissolve one side of a link."""
        cell.links.discard(other)

    def note_watched(self, cell: Cell, other: str) -> None:
        """A cell of this node watches a process of another: when that node goes, it has to be told from here."""
        cell.watched.add(other)
        self._remember(other)

    def tell(self, cell: Cell, ending: Ending) -> None:
        """A cell has ended: EXIT for those who monitor it first, then word for those who are linked to it."""
        for watcher in list(cell.watchers):
            self._tell_watcher(cell, watcher, ending)
        for other in sorted(cell.links):
            self._part(cell, other, ending)
        for other in sorted(cell.watched):  # in one go: answers that come meanwhile add to it
            cell.watched.discard(other)
            near = self._node.find(other)
            if near is not None:
                near.watchers.pop((cell.pid, "exit"), None)
            else:
                self._send(other, "unwatch", cell.pid, "exit")

    def hear(self, unique: str, pid: str, how: str, ending: Ending) -> None:
        """Word of an end has come for a cell of this node."""
        cell = self._node.cells.get(unique)
        if cell is None:
            return
        if how == "down":
            try:
                cell.links.remove(self._as_linked(cell, pid))
            except KeyError:
                return  # not linked any more, or told already
        else:
            cell.watched.discard(pid)
        cell.push(encode_input(Code.WATCHED_ENDED, pid, ending.ok, ending.value, how))

    def tell_of_dead(self, dead: str, other: str) -> None:
        """A process has just been linked to one of this node that had ended before."""
        address = wire.address_of(dead)
        if address is None or address.node != self._node.id:
            return
        ending = self._node.ended(address.unique).ending
        if ending.ok:
            self._send(other, "unlink", dead)
        else:
            self.tell_one(dead, other, "down", ending)

    @property
    def far(self) -> frozenset[str]:
        """Nodes that a cell here is bound to."""
        return frozenset(self._far)

    def lose(self, gone: str) -> None:
        """A node has gone: whoever is bound to one of its processes hears of it from here."""
        self._far.discard(gone)
        self._node.post.forget(gone)
        for cell in list(self._node.cells.values()):
            for pid in sorted(cell.watched):
                if _is_on(pid, gone):
                    self.hear(cell.unique, pid, "exit", _LOST)
            for pid in sorted(cell.links):
                if _is_on(pid, gone):
                    self.hear(cell.unique, pid, "down", _LOST)
            for watcher, how in list(cell.watchers):
                if _is_on(watcher, gone):
                    cell.watchers.pop((watcher, how), None)

    def _part(self, cell: Cell, other: str, ending: Ending) -> None:
        """A cell that has ended was linked to another: whoever takes the entry tells, once."""
        try:
            cell.links.remove(other)
        except KeyError:
            return
        near = self._node.find(other)
        if not ending.ok:
            self.tell_one(cell.pid, other, "down", ending)
        elif near is not None:
            near.links.discard(cell.pid)
        else:
            self._send(other, "unlink", cell.pid)

    def _as_linked(self, cell: Cell, pid: str) -> str:
        """How a cell knows an address: it may have been given another text for it."""
        address = wire.address_of(pid)
        if pid in cell.links or address is None:
            return pid
        return next((link for link in list(cell.links) if wire.is_same(link, address)), pid)

    def _tell_watcher(self, cell: Cell, watcher: tuple[str, str], ending: Ending) -> None:
        if cell.watchers.pop(watcher, _MISSING) is not _MISSING:
            self.tell_one(cell.pid, *watcher, ending)

    def _remember(self, pid: str) -> None:
        address = wire.address_of(pid)
        if address is not None and address.node != self._node.id:
            self._far.add(address.node)

    def tell_one(self, pid: str, watcher: str, how: str, ending: Ending) -> None:
        """Send word of an end to one who watches, wherever that is."""
        address = wire.address_of(watcher)
        if address is None:
            return
        if how.startswith("call/"):
            self._node.routes.answer_end(address.node, how, pid, ending)
        elif address.node == self._node.id:
            self.hear(address.unique, pid, how, ending)
        else:
            self._send(watcher, "end", pid, how, ending.ok, ending.value)

    def _send(self, pid: str, what: str, *rest: object) -> None:
        """Tell another node something about one of its processes; it may be gone."""
        address = wire.address_of(pid)
        if address is not None and address.node != self._node.id:
            self._node.post.tell(self._node.fence, address.node, "", what, address.unique, *rest)


def _is_on(pid: str, node: str) -> bool:
    return pid.startswith(f"{{{node}@")
