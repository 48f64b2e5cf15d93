"""The store in memory: the same scripts as in Redis, run in Lua 5.1 over keys in a dictionary.

For the tests of those who write workflows. Nothing is kept when the process ends, and other processes see nothing of
it. As the scripts are the same files, the twin cannot drift from Redis; what it imitates is a few dozen commands.
"""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from orchestration.errors import StoreError
from orchestration.store.connection import Subscription
from orchestration.store.memory import containers, sorted_sets
from orchestration.store.memory.commands import Session
from orchestration.store.memory.data import DATABASES, CommandError, MemoryServer
from orchestration.store.memory.lua import ScriptWorld
from orchestration.store.scripts import Script

__all__ = ["MemoryConnection"]

# Their commands are registered when they are imported.
_ = containers, sorted_sets


def _system_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class _MemorySubscription:
    def __init__(self, server: MemoryServer, channels: Sequence[bytes]) -> None:
        self._server = server
        self._channels = channels
        self._box: list[bytes] = []
        with server.lock:
            for channel in channels:
                server.listeners.setdefault(channel, []).append(self._box)

    def wait(self, timeout_s: float) -> bool:
        with self._server.told:
            if not self._server.told.wait_for(lambda: bool(self._box), timeout_s):
                return False
            self._box.pop(0)
            return True

    def receive(self, timeout_s: float) -> bytes | None:
        with self._server.told:
            if not self._server.told.wait_for(lambda: bool(self._box), timeout_s):
                return None
            return self._box.pop(0)

    def close(self) -> None:
        with self._server.lock:
            for channel in self._channels:
                boxes = self._server.listeners.get(channel, [])
                boxes[:] = [box for box in boxes if box is not self._box]
                if not boxes:
                    self._server.listeners.pop(channel, None)


class MemoryConnection:
    """A server of its own, in this process. Any thread may use it; commands and scripts run one at a time.

    Args:
        clock: Answers whole milliseconds since the epoch; all times in the store are its. A clock that can be moved
            skips time. None: the system's.
        database: Number of the database, 0 to 63.
    """

    def __init__(self, clock: Callable[[], int] | None = None, *, database: int = 0) -> None:
        self._server = MemoryServer(clock or _system_clock_ms)
        self._server.database(database)
        self._database = database
        self._world = ScriptWorld()
        self._id = f"memory-{uuid.uuid4().hex}"

    def at(self, database: int) -> MemoryConnection:
        """Connect to another database of the same server.

        Raises:
            ValueError: The number is not 0 to 63.
        """
        if not 0 <= database < DATABASES:
            raise ValueError(f"a server in memory has {DATABASES} databases, no number {database}")
        other = copy.copy(self)
        other._database = database
        return other

    @property
    def is_shared(self) -> bool:
        """It belongs to this process alone."""
        return False

    @property
    def database(self) -> int:
        """Number of the database."""
        return self._database

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        """Run a script; nobody sees it half done.

        Raises:
            StoreError: It was refused.
        """
        return self._locked(
            script.name, lambda: self._run(script, list(map(_argument, keys)), list(map(_argument, args)))
        )

    def run_many(
        self, orders: Sequence[tuple[Script, Sequence[str], Sequence[Any]]]
    ) -> list[list[Any] | Exception]:
        """Run several scripts in order; for each its reply, or the error that it was answered."""
        replies: list[list[Any] | Exception] = []
        for order in orders:
            try:
                replies.append(self.run(*order))
            except StoreError as error:
                replies.append(error)
        return replies

    def call(self, *command: Any) -> Any:
        """Run one command.

        Raises:
            StoreError: It was refused.
        """
        return self.pipeline([command])[0]

    def wait(self, timeout_s: float, *command: Any) -> Any:
        """Run one command; nothing waits here.

        Raises:
            StoreError: It was refused.
        """
        del timeout_s
        return self.call(*command)

    def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run several commands.

        Raises:
            StoreError: One of them was refused; those before it have been done.
        """
        packed = [[_argument(part) for part in command] for command in commands]
        what = str(commands[0][0]) if len(commands) == 1 else "pipeline"
        return self._locked(what, lambda: [self._command(parts) for parts in packed])

    def subscribe(self, *channels: str) -> Subscription:
        """Listen to channels; established when this returns."""
        return _MemorySubscription(self._server, [channel.encode() for channel in channels])

    def server_id(self) -> str:
        """Identity of the server in memory."""
        return self._id

    def let_go(self) -> None:
        """Do nothing: there is no connection."""

    def close(self) -> None:
        """Do nothing: the keys stay as long as this object."""

    def _run(self, script: Script, keys: list[bytes], args: list[bytes]) -> list[Any]:
        return self._world.run(script, Session(self._server, self._database), keys, args)

    def _command(self, parts: list[bytes]) -> Any:
        return _shaped(parts, Session(self._server, self._database).execute(parts[0], parts[1:]))

    def _locked(self, what: str, work: Callable[[], list[Any]]) -> list[Any]:
        with self._server.lock:
            self._server.freeze()
            try:
                return work()
            except CommandError as error:
                raise StoreError(f"Redis refused {what}: {error}") from error
            finally:
                self._server.thaw()


def _argument(value: Any) -> bytes:
    """Encode an argument as the Redis client does."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float, bytearray, memoryview)):
        raise TypeError(f"an argument of a command is bytes, text or a number, not {value!r}")
    if isinstance(value, str):
        return value.encode()
    return repr(value).encode() if isinstance(value, (int, float)) else bytes(value)


def _shaped(parts: list[bytes], reply: Any) -> Any:
    """Give a reply the form in which the Redis client returns it."""
    name = parts[0].upper()
    if name == b"HGETALL":
        return dict(zip(reply[::2], reply[1::2], strict=True))
    if name == b"SMEMBERS":
        return set(reply)
    if name == b"TIME":
        return int(reply[0]), int(reply[1])
    if name in (b"PING", b"SET", b"SELECT", b"FLUSHDB", b"LTRIM"):
        return None if reply is None else True
    if name in (b"HEXISTS", b"PERSIST", b"EXPIRE", b"PEXPIRE", b"PEXPIREAT"):
        return bool(reply)
    if name in (b"ZSCORE", b"ZINCRBY"):
        return None if reply is None else float(reply)
    if b"WITHSCORES" in (part.upper() for part in parts[4:]):
        return [[member, float(score)] for member, score in zip(reply[::2], reply[1::2], strict=True)]
    return bytes(reply) if isinstance(reply, bytes) else reply
