"""What nodes tell each other: short msgpack arrays in each other's mail.

Each begins with the sender's id and a number that grows with each of its messages, by which a copy is told.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgpack

__all__ = ["Address", "address_of", "is_same", "pack", "unpack"]

_ADDRESS = re.compile(r"\{([0-9a-f]{12})@([^|]*)(?:\|[^|]*)*\|([^|}]+)\}")


class Address(NamedTuple):
    """Parts of a process' address.

    Attributes:
        node: Id of the OS process that runs it.
        place: Host or function.
        unique: Number on its node; empty for the node itself.
    """

    node: str
    place: str
    unique: str


def address_of(pid: str) -> Address | None:
    """Read the address of a process; None for one of a workflow, or for any other text."""
    found = _ADDRESS.fullmatch(pid)
    return Address(found[1], found[2], found[3]) if found else None


def is_same(pid: str, address: Address) -> bool:
    """Whether a text is an address of the same process."""
    found = address_of(pid)
    return found is not None and (found.node, found.unique) == (address.node, address.unique)


def pack(sender: str, number: int, what: str, *rest: Any) -> bytes:
    """Encode a message between nodes."""
    packed: bytes = msgpack.packb([sender, number, what, *rest], use_bin_type=True)
    return packed


def unpack(message: bytes) -> list[Any]:
    """Decode one: sender, number, what, and the rest."""
    return list(msgpack.unpackb(message, raw=False, strict_map_key=False))
