"""Forgets nodes that have gone: what they ran, the names they held, the mail they have not read."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from typing import Final

from orchestration.registry import Registry
from orchestration.registry.kinds.processes import ProcessHost
from orchestration.store.actors import Actors
from orchestration.tasks.owner import is_dead_here

__all__ = ["Burial"]

logger = logging.getLogger(__name__)

_OWNER_PARTS: Final = 3
_TIDY_S: Final = 20.0


class Burial:
    """Whoever looks after nodes buries with this: a node among its like, and the sweep, should no node be left.

    Args:
        actors: The verbs of the store.
        registry: Its process hosts are kept free of nodes that have gone.
        silent_ms: Silence after which a node counts as dead.
    """

    def __init__(self, actors: Actors, registry: Registry, *, silent_ms: int) -> None:
        self._actors = actors
        self._hosts = [host.id for host in registry.of(ProcessHost)]
        self._silent_ms = silent_ms
        self._owners: dict[str, str] = {}
        self._tidy_due = 0.0
        self._suspects: frozenset[str] = frozenset()

    def look(self, nodes: Collection[str], *, silent: Iterable[str], has_listened: bool) -> None:
        """Bury those whose OS process is gone from this machine, and those found silent for too long twice in a row.

        Args:
            nodes: All that there are, but the one that looks.
            silent: Those of them that have not been heard of for so long.
            has_listened: Redis has answered for all that time. If not, silence says nothing.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        if set(nodes) - set(self._owners):
            self._owners.update({id_: str(info.get("owner", "")) for id_, info in self._actors.nodes().items()})
        for known in set(self._owners) - set(nodes):
            del self._owners[known]
        buried = 0
        for node in nodes:
            if self._is_gone(node):
                buried += self._actors.bury(node) == "buried"
                logger.warning("a node has ended without a word, its processes are lost", extra={"node": node})
        # Twice in a row: when the clock of Redis jumps, all look silent for a moment, and say the next that they live.
        suspects, self._suspects = self._suspects, frozenset(silent if has_listened else ())
        for node in sorted(suspects & self._suspects):
            if self._actors.bury(node, silent_ms=self._silent_ms) == "buried":
                buried += 1
                logger.warning("a node was silent for too long, its processes are lost", extra={"node": node})
        if buried:
            self._tidy_hosts()

    def sweep(self, *, has_listened: bool) -> None:
        """The same for all nodes that the store knows, by somebody who is none of them."""
        silent = self._actors.silent(silent_ms=self._silent_ms)
        self.look(self._actors.node_ids(), silent=silent, has_listened=has_listened)
        if time.monotonic() > self._tidy_due:  # whoever has buried may not have come to this
            self._tidy_hosts()

    def _tidy_hosts(self) -> None:
        """Take nodes that are no more out of those that serve a host."""
        self._tidy_due = time.monotonic() + _TIDY_S
        for host in self._hosts:
            self._actors.serving(host)

    def _is_gone(self, node: str) -> bool:
        """Whether the process behind a node is gone for certain: it ran on this machine."""
        owner = self._owners.get(node, "")
        return owner.count(":") == _OWNER_PARTS - 1 and is_dead_here(owner)
