"""Mail for a process from whoever is no node: the engine on behalf of a workflow."""

from __future__ import annotations

import hashlib
from typing import Any

from orchestration.host import wire
from orchestration.host.wire import Address
from orchestration.store.base import text
from orchestration.tasks.runtime import Runtime

__all__ = ["send_mail"]


def send_mail(runtime: Runtime, address: Address, key: str, what: str, *rest: Any) -> str:
    """Send a message to a process.

    Args:
        runtime: Of this OS process.
        address: Of the process.
        key: Unique to the message: repeats of it are dropped by the node that has had it.
        what: Kind of message, see ``Routes``.
        rest: Its content, after the number of the process.

    Returns:
        ``"ok"``, ``"not_found"`` or ``"full"``.
    """
    node = runtime.known_node
    if node is not None and node.id == address.node:
        if address.unique not in node.cells:
            return "not_found"
        node.routes.take(what, [address.unique, *rest])
        return "ok"
    actors = runtime.store(runtime.settings.namespace).actors
    # The digest, not the key: the beginning of a message has to tell it from all others, see Actors.take_mail.
    sender = hashlib.sha256(key.encode()).hexdigest()[:32]
    message = wire.pack(sender, 1, what, address.unique, *rest)
    reply = actors.run([actors.post("", address.node, [(address.unique, message)])])[0]
    if isinstance(reply, Exception):
        raise reply
    return text(reply[1])
