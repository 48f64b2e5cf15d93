"""Bodies of responses: read within a bound, also of what they unpack to."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from orchestration.core.lua.host import HostError

if TYPE_CHECKING:
    import httpx

__all__ = ["ACCEPTED", "read_body"]

ACCEPTED: Final = "gzip, deflate"
"""The encodings that are undone; a body in another, or in several, comes as it is."""
_AUTOMATIC: Final = 32 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_AT_ONCE: Final = 65_536


def read_body(response: httpx.Response, limit: int) -> bytes:
    """The whole body.

    httpx's own decoders unpack each piece from the network at once, however much that is, and once for every encoding
    that the server names: 64 KiB of ``gzip, gzip`` are more than any worker has.

    Args:
        response: Whose body was not read yet.
        limit: Most bytes, after it was unpacked.

    Raises:
        HostError: ``Invalid``: it is larger, or is not packed as it says.
    """
    pieces = response.iter_raw()
    if response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate"):
        pieces = _unpacked(pieces)
    found: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise HostError("Invalid", f"the response has more than {limit} bytes: see max_response_bytes")
        found.append(piece)
    return b"".join(found)


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What packed bytes hold, a little at a time. Some servers leave out the head of ``deflate``."""
    unpack, is_first = zlib.decompressobj(_AUTOMATIC), True
    try:
        for piece in pieces:
            rest = piece
            while rest:
                try:
                    out = unpack.decompress(rest, _AT_ONCE)
                except zlib.error:
                    if not is_first:
                        raise
                    unpack = zlib.decompressobj(_RAW)
                    out = unpack.decompress(rest, _AT_ONCE)
                is_first = False
                yield out
                rest = unpack.unconsumed_tail
        yield unpack.flush()
    except zlib.error as error:
        raise HostError("Invalid", f"the response is not packed as its Content-Encoding says: {error}") from None
