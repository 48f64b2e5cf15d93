"""This node among the others: it says that it lives, hears who does not, and stops when it was taken for dead."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from orchestration.errors import StoreError
from orchestration.host.burial import Burial
from orchestration.store.actors import Roll

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Membership"]

logger = logging.getLogger(__name__)

_SHARE: Final = 0.8
"""Of the time after which silence counts as death: so long a node trusts its last heartbeat."""
_IDLE_S: Final = 30.0


class Membership:
    """Heartbeats of one node, from its joining to its leaving.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        settings = node.runtime.settings
        self._beat_s = settings.heartbeat_ms / 1000
        self._silent_ms = settings.node_dead_after_ms
        self._alive_until = float("inf")
        self._changed = threading.Condition(threading.RLock())
        self._joined = False
        self._closed = False
        self._stays = False
        self._generation = 0
        self._idle_since: float | None = None
        self._beats_since = 0.0
        self._burial = Burial(node.actors, node.runtime.registry, silent_ms=self._silent_ms)
        self.hosts: set[str] = set()
        self.on_roll: list[Callable[[Roll], None]] = []
        """Called after each heartbeat with what it told; for those who wait for nodes to come or go."""
        self.on_lost: list[Callable[[], None]] = []
        """Called when this node was taken for dead, after its cells have been given up."""

    @property
    def is_joined(self) -> bool:
        """The deployment knows this node."""
        return self._joined

    def may_act(self) -> bool:
        """Whether nobody can have taken this node for dead yet."""
        return time.monotonic() < self._alive_until

    def wait(self) -> None:
        """Wait a moment for :meth:`may_act` to change."""
        with self._changed:
            self._changed.wait(0.2)

    def join(self, *, stays: bool = False) -> None:
        """Make this node known, once; without ``stays`` it leaves again when nothing has lived in it for a while.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        if self._joined and not stays:
            return
        with self._changed:
            self._stays = self._stays or stays
            if self._joined:
                return
            node = self._node
            started = time.monotonic()
            node.actors.join(node.id, self._describe())
            self._alive_until = started + self._silent_ms / 1000 * _SHARE
            self._joined, self._idle_since, self._beats_since = True, None, started
            self._generation += 1
            node.post.read()
            threading.Thread(
                target=self._run, args=(self._generation,), name="orchestration-heartbeat", daemon=True
            ).start()

    def serve(self, host: str) -> None:
        """Let processes of a host be started here."""
        self.join(stays=True)
        self.hosts.add(host)
        self._node.actors.serve(self._node.id, host)

    def withdraw(self) -> None:
        """Let no process be started here any more."""
        hosts, self.hosts = self.hosts, set()
        for host in hosts:
            with contextlib.suppress(StoreError):
                self._node.actors.serve(self._node.id, host, serves=False)

    def leave(self) -> None:
        """Say goodbye: whatever is known of this node is forgotten."""
        with self._changed:
            if not self._joined:
                return
            self._joined = False
            self._alive_until = float("inf")
            self._changed.notify_all()
        self._node.post.flush(5.0)
        with contextlib.suppress(StoreError):
            self._node.actors.bury(self._node.id)

    def close(self) -> None:
        """Leave for good."""
        self._closed = True
        self.leave()

    def look(self) -> None:
        """A cell has ended: maybe none is left."""
        if self._joined and not self._stays and not self._node.cells:
            self._idle_since = time.monotonic()

    def _describe(self) -> dict[str, Any]:
        runtime = self._node.runtime
        return {
            "owner": runtime.owner, "machine": socket.gethostname(), "os_pid": os.getpid(),
            "since_ms": time.time_ns() // 1_000_000,
        }  # fmt: skip

    def _run(self, generation: int) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_over(generation), self._beat_s):
                    return
            if self._is_idle() and self.retire():
                return
            # As of before the heartbeat: who joins and is bound to this node during it is not on the roll, and lives.
            bound = self._node.bonds.far | self._node.routes.far
            started = time.monotonic()
            try:
                roll = self._node.actors.beat(self._node.id, silent_ms=self._silent_ms)
            except StoreError as error:
                self._beats_since = time.monotonic()
                logger.warning("heartbeat failed: %s", error)
                continue
            if time.monotonic() - started > self._silent_ms / 2000:
                self._beats_since = time.monotonic()  # Redis was away: the silence of others says nothing
            with self._changed:
                if self._is_over(generation):  # what was heard is of the time before it left, maybe to join again
                    return
                if roll.present:
                    self._alive_until = started + self._silent_ms / 1000 * _SHARE
                    self._changed.notify_all()
            if not roll.present:
                self._lost(generation)
                return
            try:
                self._look_around(roll, bound)
                for told in list(self.on_roll):
                    told(roll)
            except StoreError as error:
                logger.warning("could not look after other nodes: %s", error)
            except Exception:
                logger.exception("could not look after other nodes")

    def _is_over(self, generation: int) -> bool:
        """The node has left since that joining."""
        return generation != self._generation or not self._joined

    def _is_idle(self) -> bool:
        since = self._idle_since
        if self._stays or self._node.is_lived_in:
            self._idle_since = None
            return False
        if since is None:
            self._idle_since = time.monotonic()
            return False
        return time.monotonic() - since > _IDLE_S

    def retire(self) -> bool:
        """Be forgotten until something lives here; False: something does."""
        with self._changed:
            if self._stays or self._node.is_lived_in or not self._joined:
                return False
            self.leave()
            self._node.rename()
            return True

    def release(self) -> None:
        """Stay no longer than something lives here."""
        with self._changed:
            self._stays = False
            if not self._node.is_lived_in:
                self.leave()  # in one: who joins in the middle would be buried with what was there before

    def _lost(self, generation: int) -> None:
        with self._changed:
            if self._is_over(generation):
                return
            lost, hosts = self._node.id, set(self.hosts)
            self._joined = False
            self._node.rename()
        logger.error(
            "this worker was silent for longer than %d ms and has been taken for dead: its processes are given up",
            self._silent_ms, extra={"node": lost},
        )  # fmt: skip
        self._node.perish()
        with self._changed:
            if not self._joined:  # else another thread has joined anew already, and that set a limit
                self._alive_until = float("inf")
            self._changed.notify_all()
        self._serve_again(hosts)
        for told in list(self.on_lost):
            try:
                told()
            except Exception:
                logger.exception("could not begin anew after this worker was taken for dead")

    def _serve_again(self, hosts: set[str]) -> None:
        """Serve hosts under the new id, however long Redis takes to come back."""
        while hosts and not self._closed:
            try:
                for host in sorted(hosts & self.hosts):
                    self.serve(host)
                return
            except StoreError as error:
                logger.warning("process hosts cannot be served yet: %s", error)
                time.sleep(self._beat_s)

    def _look_around(self, roll: Roll, bound: frozenset[str]) -> None:
        node = self._node
        has_listened = time.monotonic() - self._beats_since > self._silent_ms / 1000
        others = (roll.living | set(roll.silent)) - {node.id}
        self._burial.look(others, silent=roll.silent, has_listened=has_listened)
        known = roll.living | set(roll.silent)
        for gone in sorted(bound - known):
            # By mail: what it has said before it went is there already, and is read first. Said again until it is read.
            node.post.tell(node.fence, node.id, "", "gone", gone)
