"""Processes as the deployment knows them: the nodes that run them, their names, and the mail between nodes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack

from orchestration.store.base import text
from orchestration.store.connection import Connection
from orchestration.store.keys import ActorKeys
from orchestration.store.scripts import Script, load_script

__all__ = ["Actors", "Order", "Roll"]

_MOST_MAIL: Final = 1_000_000
_PAGE: Final = 1_000
_PAGE_BYTES: Final = 4 * 1024 * 1024
_TELLING: Final = 40
"""So many bytes of a message tell it from all others: its sender and number are in them."""


class Order(NamedTuple):
    """A script to be run, with its keys and arguments; several go to Redis in one round trip."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Roll:
    """What a node hears when it says that it lives.

    Attributes:
        present: It is known; False: it has been taken for dead.
        silent: Other nodes that have been silent for too long.
        living: Those that have not, itself among them.
    """

    present: bool
    silent: tuple[str, ...] = ()
    living: frozenset[str] = frozenset()


class Actors:
    """The verbs of nodes and processes. All keys share one hash tag.

    Args:
        connection: Redis, or the in-memory twin.
        keys: How the keys are called.
    """

    def __init__(self, connection: Connection, keys: ActorKeys) -> None:
        self._connection = connection
        self._keys = keys

    def run(self, orders: Sequence[Order]) -> list[list[Any] | Exception]:
        """Run several scripts in order, in one round trip; repeated as a whole when the reply is lost.

        Returns:
            For each its reply, or the error that Redis answered.

        Raises:
            StoreUnavailableError: No reply within the patience.
        """
        return self._connection.run_many([(order.script, order.keys, order.args) for order in orders])

    def let_go(self) -> None:
        """This thread needs no connection for now."""
        self._connection.let_go()

    def _run(self, order: Order) -> list[Any]:
        return self._connection.run(order.script, order.keys, order.args)

    # Nodes ----------------------------------------------------------------------------------------------------

    def join(self, node: str, info: Mapping[str, Any]) -> None:
        """Make a node known."""
        keys = self._keys
        packed = msgpack.packb(dict(info))
        self._run(Order(load_script("join_node"), (keys.nodes, keys.node(node)), (node, packed)))

    def beat(self, node: str, *, silent_ms: int) -> Roll:
        """Say that a node lives, and hear of the others."""
        reply = self._run(Order(load_script("beat_node"), (self._keys.nodes,), (node, silent_ms)))
        if text(reply[0]) == "gone":
            return Roll(False)
        return Roll(True, tuple(map(text, reply[1])), frozenset(map(text, reply[2])))

    def bury(self, node: str, *, silent_ms: int = 0) -> str:
        """Forget a node with all that it ran.

        Args:
            node: Its id.
            silent_ms: Only if it has been silent for so long; 0: at once.

        Returns:
            ``"buried"``, ``"alive"`` (it has been heard of) or ``"gone"`` (it was not known).
        """
        keys = self._keys
        names = (keys.nodes, keys.node(node), keys.living(node), keys.mail(node), keys.named(node), keys.names)
        return text(self._run(Order(load_script("bury_node"), names, (node, silent_ms)))[0])

    def node_ids(self) -> list[str]:
        """Every known node."""
        return [text(node) for node in self._connection.call("ZRANGE", self._keys.nodes, 0, -1)]

    def silent(self, *, silent_ms: int) -> list[str]:
        """Nodes that have been silent for so long."""
        seconds, micros = self._connection.call("TIME")
        border = int(seconds) * 1000 + int(micros) // 1000 - silent_ms
        return [text(node) for node in self._connection.call("ZRANGEBYSCORE", self._keys.nodes, "-inf", f"({border}")]

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Every known node by its id: what it said of itself when it joined."""
        ids = self.node_ids()
        if not ids:
            return {}
        found = self._connection.pipeline([["HGET", self._keys.node(node), "info"] for node in ids])
        return {node: msgpack.unpackb(info) if info else {} for node, info in zip(ids, found, strict=True)}

    def serve(self, node: str, host: str, *, serves: bool = True) -> str:
        """Let a node be chosen for processes of a host, or no longer."""
        order = Order(
            load_script("serve_host"), (self._keys.nodes, self._keys.host(host)), (node, 1 if serves else 0)
        )
        return text(self._run(order)[0])

    def serving(self, host: str) -> list[str]:
        """Living nodes that serve a host."""
        reply = self._run(Order(load_script("find_hosts"), (self._keys.nodes, self._keys.host(host)), ()))
        return sorted(map(text, reply[1:]))

    def living(self, node: str) -> dict[str, dict[str, Any]]:
        """The processes of a node by their number."""
        flat = self._connection.call("HGETALL", self._keys.living(node))
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {text(unique): msgpack.unpackb(info) for unique, info in pairs}

    def info_of(self, node: str, unique: str) -> dict[str, Any] | None:
        """What is known of one process of a node; None when it does not live."""
        info = self._connection.call("HGET", self._keys.living(node), unique)
        return None if info is None else msgpack.unpackb(info)

    # Processes: orders for run() ------------------------------------------------------------------------------

    def register(self, node: str, unique: str, pid: str, info: Mapping[str, Any], *, name: str = "") -> Order:
        """Make a process known, with its name."""
        keys = self._keys
        names = (keys.nodes, keys.living(node), keys.names, keys.named(node))
        packed = msgpack.packb(dict(info))
        return Order(load_script("register_process"), names, (node, unique, pid, packed, name))

    def end(self, node: str, unique: str, pid: str, names: Sequence[str]) -> Order:
        """Forget a process and free its names."""
        keys = self._keys
        return Order(
            load_script("end_process"), (keys.living(node), keys.names, keys.named(node)), (unique, pid, *names)
        )

    def post(self, sender: str, to: str, messages: Sequence[tuple[str, bytes]]) -> Order:
        """Put messages into a node's mail, each for one of its processes or (empty) for itself; at most some hundreds.

        The reply is ``gone`` when the sender may not act any more, else ``ok`` and for each message ``ok``,
        ``not_found`` or ``full``.
        """
        keys = self._keys
        content = itertools.chain.from_iterable(messages)
        return Order(
            load_script("post_messages"), (keys.nodes, keys.living(to), keys.mail(to)),
            (sender, to, _MOST_MAIL, *content),
        )  # fmt: skip

    def claim_name(self, sender: str, node: str, unique: str, pid: str, name: str) -> Order:
        """Give a living process of a node a name."""
        keys = self._keys
        names = (keys.nodes, keys.living(node), keys.names, keys.named(node))
        return Order(load_script("claim_name"), names, (sender, unique, pid, name))

    def drop_name(self, sender: str, name: str) -> Order:
        """Take a name away."""
        keys = self._keys
        return Order(load_script("drop_name"), (keys.nodes, keys.names, keys.named(sender)), (sender, name))

    # Names and mail -------------------------------------------------------------------------------------------

    def lookup(self, name: str) -> str | None:
        """Address of the process with a name."""
        found = self._connection.call("HGET", self._keys.names, name)
        return None if found is None else text(found)

    def names(self) -> dict[str, str]:
        """Every name and the address behind it."""
        flat = self._connection.call("HGETALL", self._keys.names)
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {text(name): text(pid) for name, pid in pairs}

    @property
    def is_shared(self) -> bool:
        """Whether other processes may send mail: not to a store in memory."""
        return self._connection.is_shared

    def wait_for_mail(self, node: str, *, timeout_s: float) -> bool:
        """Wait until there is mail; it stays where it is."""
        key = self._keys.mail(node)
        return self._connection.wait(timeout_s, "BLMOVE", key, key, "LEFT", "LEFT", timeout_s) is not None

    def take_mail(self, node: str, read: Sequence[bytes]) -> list[bytes]:
        """Throw away what has been read, and read what comes next: at most 1,000 messages.

        Args:
            node: Whose mail.
            read: Messages, read the last time, that have been handed over.
        """
        first = read[0][:_TELLING] if read else b""
        order = Order(load_script("take_mail"), (self._keys.mail(node),), (len(read), first, _PAGE, _PAGE_BYTES))
        return list(self._run(order)[1:])
