"""Stand-ins: what the store keeps of an item that is in a stage.

A stand-in is msgpack, as the item is: an array of what scripts and readers need of it, then an extension of a type of
our own, which no item has: the scope, the SHA-256 and the length of what is in the stage.

=====================  ==============================================  ================================
item                   stand-in                                        what is in the stage
=====================  ==============================================  ================================
input                  code, of an update its id                       the input
event of an input      code, time, of an update its id                 the input, without its time
event of a command     code                                            the event
open activity          ``a``                                           the activity
answer to an update    ``ok``, ``failed`` or ``rejected``              the answer
=====================  ==============================================  ================================

As every input, the stand-in of one announces an element more than it has: stamped with a time it is the stand-in of
the event, and the two refer to the same bytes in the stage.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from orchestration.core.events import Code
from orchestration.store.inputs import unstamp

__all__ = ["ACTIVITY", "Claim", "is_stand_in", "of_activity", "of_answer", "of_event", "of_input"]

ACTIVITY = b"\x99\xa1a"
"""How an open activity begins that is stored whole."""

_MARK = b"\xc7\x48\x63"  # an extension of 72 bytes, of type 99
_TAIL = len(_MARK) + 72
_STAMP = 0xCF
_FIRST_COMMAND = 64
_LONG_TEXT = 0xD9


@dataclass(frozen=True, slots=True)
class Claim:
    """What a stand-in refers to.

    Attributes:
        scope: Of the workflow id, 64 hexadecimal digits.
        digest: SHA-256 of the bytes, 64 hexadecimal digits.
        size: Their length.
        stamp: The time that is to be put into them, as encoded; empty for none.
    """

    scope: str
    digest: str
    size: int
    stamp: bytes

    @staticmethod
    def read(stand_in: bytes) -> Claim:
        """Read a stand-in."""
        facts = stand_in[-72:]
        is_stamped = stand_in[1] < _FIRST_COMMAND and stand_in[2] == _STAMP
        return Claim(
            facts[:32].hex(), facts[32:64].hex(), int.from_bytes(facts[64:], "big"),
            stand_in[2:11] if is_stamped else b"",
        )  # fmt: skip

    def problem(self, data: bytes) -> str:
        """Why these bytes are not the ones that were put into the stage; empty when they are."""
        if len(data) != self.size:
            return f"it has {len(data)} bytes there, not {self.size}"
        return "" if hashlib.sha256(data).hexdigest() == self.digest else "its contents there have changed"

    def item(self, data: bytes) -> bytes:
        """The item, of what is in the stage."""
        return data[:2] + self.stamp + data[2:]


def is_stand_in(item: bytes) -> bool:
    """Whether an item is a stand-in. Contents of an item that only look like one, at its end, do not make it one."""
    at = len(item) - _TAIL
    return item[at : at + 3] == _MARK and at == _end_of_head(item)


def _end_of_head(item: bytes) -> int:
    if item[1] >= 0x80:
        return _end_of_text(item, 1)
    at = 11 if item[2] == _STAMP else 2
    return _end_of_text(item, at) if item[1] == Code.UPDATE and item[at] != _MARK[0] else at


def _end_of_text(item: bytes, at: int) -> int:
    """Where a text ends that begins somewhere; 0 when there is none of at most 255 bytes."""
    first = item[at]
    if 0xA0 <= first < 0xC0:
        return at + 1 + first - 0xA0
    return at + 2 + item[at + 1] if first == _LONG_TEXT else 0


def _tail(scope: str, data: bytes) -> bytes:
    return _MARK + bytes.fromhex(scope) + hashlib.sha256(data).digest() + len(data).to_bytes(8, "big")


def of_input(item: bytes, scope: str) -> tuple[bytes, bytes]:
    """Stand-in of an input, and what goes into the stage."""
    return _head(item, 2) + _tail(scope, item), item


def of_event(event: bytes, scope: str) -> tuple[bytes, bytes]:
    """Stand-in of an event, and what goes into the stage."""
    if event[1] < _FIRST_COMMAND and event[2] == _STAMP:
        item = unstamp(event)
        return _head(event, 11) + _tail(scope, item), item
    return bytes([0x92, event[1]]) + _tail(scope, event), event


def of_activity(blob: bytes, scope: str) -> tuple[bytes, bytes]:
    """Stand-in of an open activity, and what goes into the stage."""
    return b"\x92\xa1a" + _tail(scope, blob), blob


def of_answer(answer: bytes, scope: str) -> tuple[bytes, bytes]:
    """Stand-in of the answer to an update, and what goes into the stage."""
    return b"\x92" + answer[1 : _end_of_text(answer, 1)] + _tail(scope, answer), answer


def _head(item: bytes, end: int) -> bytes:
    """The elements before the claim: code, time if ``end`` is behind one, and of an update its id."""
    last = _end_of_text(item, end) if item[1] == Code.UPDATE else end
    return bytes([0x93 if last == end else 0x94]) + item[1:last]
