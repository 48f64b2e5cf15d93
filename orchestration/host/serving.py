"""Serving process hosts: from the start of a worker to its stop."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

from orchestration.errors import ConfigError
from orchestration.host.cell import Cell
from orchestration.host.node import Node
from orchestration.host.supervisor import Supervisor
from orchestration.registry import Registry
from orchestration.registry.kinds.processes import ProcessHost
from orchestration.settings import Settings
from orchestration.types import EntryId

__all__ = ["BOOT_FAILED", "Serving", "chosen_hosts"]

logger = logging.getLogger(__name__)

BOOT_FAILED: Final = 3
"""Exit code of a process that serves hosts for a worker, when a service that the boot needs could not be started."""

_LAST_STEP_S: Final = 2.0


def chosen_hosts(registry: Registry, settings: Settings, given: str | None = None) -> tuple[EntryId, ...]:
    """Which hosts of the definitions this worker serves.

    Args:
        registry: The definitions.
        settings: Their ``hosts`` says it,
        given: unless the command line does: ids with commas between them, ``*`` for all, ``none``.

    Raises:
        ConfigError: An id is of no ``process.host`` entry.
    """
    known = [host.id for host in registry.of(ProcessHost)]
    wanted = settings.hosts if given is None else given
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if names == ["*"]:
        return tuple(known)
    if names == ["none"]:
        return ()
    for name in names:
        if name not in known:
            raise ConfigError(f"{name!r} is no process.host entry; there are: {', '.join(known) or 'none'}")
    return tuple(EntryId(name) for name in names)


class Serving:
    """The hosts of one node.

    Args:
        node: The node.
        hosts: Entry ids of the hosts.
        refuse: Told in another thread why the boot has failed: a service that it needs can not be started; None: this
            is no boot.
    """

    def __init__(self, node: Node, hosts: Sequence[EntryId], refuse: Callable[[str], None] | None = None) -> None:
        self._node = node
        self._hosts = [node.runtime.registry.get(host) for host in hosts]
        self._supervisor = Supervisor(node, refuse)

    def start(self) -> None:
        """Let processes be started here.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        node = self._node
        threads = [host.host.workers or os.cpu_count() or 2 for host in self._hosts if isinstance(host, ProcessHost)]
        node.runqueue.widen(sum(threads))
        node.spawning.is_stopping = False
        for host in self._hosts:
            node.membership.serve(host.id)
            logger.info("serving process host %s", host.id, extra={"node": node.id})
        self._supervisor.start()

    def stop(self) -> None:
        """Stop the services, start nothing more, ask all processes to end, and end those that do not.

        Each service has its own stop timeout, the others the longest of their hosts'.
        """
        self._supervisor.stop()
        node = self._node
        node.spawning.is_stopping = True
        node.membership.withdraw()
        places = {host.id for host in self._hosts}
        cells = [cell for cell in list(node.cells.values()) if cell.place in places]
        longest_s = max(
            (host.lifecycle.stop_timeout / 1000 for host in self._hosts if isinstance(host, ProcessHost)), default=0.0
        )
        done = threading.Event()
        left = set(cells)

        def ended(cell: Cell) -> None:
            left.discard(cell)
            if not left:
                done.set()

        for cell in cells:
            cell.when_ended(lambda _ending, cell=cell: ended(cell))  # type: ignore[misc]
            node.cancel(cell, "host is stopping", "")
        if cells and not done.wait(longest_s):
            stubborn = list(left)
            for cell in stubborn:
                node.terminate(cell)
            logger.warning("%d processes did not end in time and have been terminated", len(stubborn))
            done.wait(_LAST_STEP_S)  # so that who watches them is told how they ended
        node.membership.release()  # functions that still run here may wait for others
