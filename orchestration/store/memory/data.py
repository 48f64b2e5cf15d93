"""What the in-memory twin of Redis keeps: databases of typed values with lifetimes, and who listens to what."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import TypeVar

__all__ = ["DATABASES", "CommandError", "Database", "MemoryServer", "SortedSet", "Status", "Value"]

DATABASES = 64
"""Number of databases of a server in memory, as the embedded server has."""


class CommandError(Exception):
    """A command was refused; the text is what Redis would say."""


class Status(bytes):
    """A reply such as ``OK``, which scripts see as ``{ok = ...}``."""


class SortedSet:
    """Members with scores, in the order of the scores, then of the members' bytes."""

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.ordered: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self.ordered)

    def put(self, member: bytes, score: float) -> bool:
        """Give a member a score; True when it is new."""
        old = self.scores.get(member)
        if old is not None:
            if old == score:
                return False
            del self.ordered[bisect_left(self.ordered, (old, member))]
        self.scores[member] = score
        insort(self.ordered, (score, member))
        return old is None

    def take(self, member: bytes) -> bool:
        """Remove a member; False when it is not there."""
        old = self.scores.pop(member, None)
        if old is None:
            return False
        del self.ordered[bisect_left(self.ordered, (old, member))]
        return True


Value = bytes | dict[bytes, bytes] | list[bytes] | set[bytes] | SortedSet
V = TypeVar("V", bytes, dict[bytes, bytes], list[bytes], set[bytes], SortedSet)

_NAMES: dict[type, bytes] = {bytes: b"string", dict: b"hash", list: b"list", set: b"set", SortedSet: b"zset"}


class Database:
    """Keys, their values and their lifetimes.

    Args:
        now_ms: The server's clock.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._values: dict[bytes, Value] = {}
        self._ends: dict[bytes, int] = {}

    def __iter__(self) -> Iterator[bytes]:
        return iter([key for key in list(self._values) if self.value(key) is not None])

    def value(self, key: bytes) -> Value | None:
        """What a key holds; None when there is no such key, or no more."""
        end = self._ends.get(key)
        if end is not None and end <= self._now_ms():
            self.drop(key)
        return self._values.get(key)

    def find(self, key: bytes, kind: type[V]) -> V | None:
        """What a key holds, if it is of this type.

        Raises:
            CommandError: It is of another type.
        """
        value = self.value(key)
        if value is None or isinstance(value, kind):
            return value
        raise CommandError("WRONGTYPE Operation against a key holding the wrong kind of value")

    def make(self, key: bytes, kind: type[V]) -> V:
        """What a key holds, made empty if there is no such key."""
        value = self.find(key, kind)
        if value is None:
            value = kind()
            self._values[key] = value
        return value

    def put(self, key: bytes, value: Value, *, keep_end: bool = False) -> None:
        """Let a key hold a value, without a lifetime unless the one it has is kept."""
        self.value(key)
        if not keep_end:
            self._ends.pop(key, None)
        self._values[key] = value

    def drop(self, key: bytes) -> bool:
        """Remove a key; False when there is none."""
        self._ends.pop(key, None)
        return self._values.pop(key, None) is not None

    def tidy(self, key: bytes) -> None:
        """Remove a key that holds nothing any more, as Redis does."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, bytes) and not len(value):
            self.drop(key)

    def kind(self, key: bytes) -> bytes:
        """Name of the type of what a key holds; ``none`` for no such key."""
        value = self.value(key)
        return b"none" if value is None else _NAMES[type(value)]

    def end(self, key: bytes) -> int | None:
        """When a key's lifetime is over; None when it has none."""
        return self._ends.get(key) if self.value(key) is not None else None

    def set_end(self, key: bytes, end_ms: int | None) -> bool:
        """Give a key a lifetime, or take it off; False when there was nothing to do."""
        if self.value(key) is None:
            return False
        if end_ms is None:
            return self._ends.pop(key, None) is not None
        if end_ms <= self._now_ms():
            return self.drop(key)
        self._ends[key] = end_ms
        return True

    def clear(self) -> None:
        """Remove every key."""
        self._values.clear()
        self._ends.clear()


class MemoryServer:
    """What several in-memory connections meet in, as clients meet in one Redis.

    Args:
        clock: Answers milliseconds since the epoch; hand in one that can be moved to skip time.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._frozen: int | None = None
        self.lock = threading.RLock()
        self.told = threading.Condition(self.lock)
        self.listeners: dict[bytes, list[list[bytes]]] = {}
        self._databases: dict[int, Database] = {}

    def now_ms(self) -> int:
        """The server's time; it stands still while a command or a script runs."""
        return self._clock() if self._frozen is None else self._frozen

    def freeze(self) -> None:
        """Read the clock once, for what runs now."""
        self._frozen = self._clock()

    def thaw(self) -> None:
        """Let time go on."""
        self._frozen = None

    def database(self, number: int) -> Database:
        """One of the databases.

        Raises:
            CommandError: There is no such number.
        """
        if not 0 <= number < DATABASES:
            raise CommandError("ERR DB index is out of range")
        return self._databases.setdefault(number, Database(self.now_ms))

    def publish(self, channel: bytes, message: bytes) -> int:
        """Tell those who listen; answers how many they are."""
        boxes = self.listeners.get(channel, [])
        for box in boxes:
            box.append(message)
        if boxes:
            self.told.notify_all()
        return len(boxes)
