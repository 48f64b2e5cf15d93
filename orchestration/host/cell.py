"""One process on this node, whatever drives it: its address, its mailbox, whom it watches and who watches it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestration.core import payload
from orchestration.modules.caller import Caller

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Cell", "Ending"]

_NO_RUN: Final[Mapping[str, str]] = MappingProxyType({})


class Ending(NamedTuple):
    """How a process ended.

    Attributes:
        ok: Normally.
        value: Its encoded result, or an encoded failure.
    """

    ok: bool
    value: bytes = payload.NIL


class Cell:
    """A process, a function call, or a mailbox of Python code. Kinds of cells say what :meth:`push` does.

    Args:
        node: Where it lives.
        entry_id: Entry whose code it runs; empty for a mailbox.
        place: What stands before the bar of its address: a host's or a function's id.
        caller: As modules see it; its address is filled in here.
    """

    __slots__ = (
        "_end_numbers", "_ends", "caller", "depth", "ended", "entry_id", "holds", "home", "in_slot", "is_public",
        "links", "names", "node", "pid", "place", "refused", "run_facts", "told", "unique", "watched", "watchers",
    )  # fmt: skip

    def __init__(self, node: Node, entry_id: str, place: str, caller: Caller) -> None:
        self.node = node
        self.entry_id = entry_id
        self.place = place
        self.unique = node.next_unique()
        self.home = node.id
        """Id under which its node was known when it was made; when that is buried, nothing that it does counts."""
        self.pid = f"{{{self.home}@{place}|{self.unique}}}"
        self.caller = caller
        caller.pid = self.pid
        self.ended: Ending | None = None
        self.is_public = False
        self.depth = 0
        """How many calls it is deep in."""
        self.in_slot = False
        """A slot of a Celery worker is held until it ends: what it calls must not wait for one."""
        self.holds: frozenset[str] = frozenset()
        """Functions whose places in their pools are held until it ends."""
        self.run_facts: Mapping[str, str] = _NO_RUN
        """Ids of the workflow run that it is called for, which each line that it logs has too."""
        self.watchers: dict[tuple[str, str], object] = {}
        """Address and how it is told ("exit", "down", "call/..."): who hears of the end."""
        self.links: set[str] = set()
        self.watched: set[str] = set()
        self.names: set[str] = set()
        self.told: dict[str, None] = {}
        """Workflows whose end it has been told, the last thousand: each ends once, also when it is watched again."""
        self.refused: Callable[[Ending], None] | None = None
        """Set until its code is loaded: told when it ends before that."""
        self._ends: dict[int, Callable[[Ending], None]] = {}
        self._end_numbers = itertools.count(1)

    def when_ended(self, told: Callable[[Ending], None]) -> int:
        """Have something told of the end, in this order, and at once when it has ended; once, from any thread.

        Returns:
            A number for :meth:`forget_told`.
        """
        number = next(self._end_numbers)
        self._ends[number] = told
        if self.ended is not None and self._ends.pop(number, None) is not None:  # else who ends it tells
            told(self.ended)
        return number

    def forget_told(self, number: int) -> None:
        """Nobody wants to be told any more."""
        self._ends.pop(number, None)

    def take_told(self) -> list[Callable[[Ending], None]]:
        """Everyone who is to be told, once."""
        ends = [self._ends.pop(number, None) for number in list(self._ends)]
        return [told for told in ends if told is not None]

    def push(self, item: bytes) -> None:
        """Put an encoded input into the mailbox; from any thread. What comes after the end is dropped."""
        raise NotImplementedError

    def run(self, args: bytes, loaded: Callable[[], None] | None = None) -> None:
        """Begin; ``loaded`` is called when its code does."""
        raise NotImplementedError

    @property
    def is_closing(self) -> bool:
        """It has been told to end, and will read nothing more."""
        return False

    def kill(self, ending: Ending) -> None:
        """End it without running its code again; from any thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything; called once, by the node, after the end."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} {self.entry_id}>"
