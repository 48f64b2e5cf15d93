"""What every connection to Redis shares: one place in which anything is repeated, and connections of threads."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import redis

from orchestration.errors import StoreError, StoreUnavailableError

__all__ = ["LOST", "PASSING", "Patient"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

LOST: Final = (redis.ConnectionError, redis.TimeoutError)
"""No answer: what was asked for may have been done or not."""
PASSING: Final = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
"""Answers that another moment or another connection changes; redis-py takes the code off their texts."""
_PURPOSE: Final = ("EVALSHA",) if redis.VERSION < (5, 3) else ()
"""What a connection is for: redis-py had to be told before 5.3, which is all that the kombu of Celery 5.5 allows."""
_BUSY: Final = ("LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF")


class _Held:
    """A connection that belongs to one thread and goes back when the thread has ended."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.connection: Any = None
        self.connection = pool.get_connection(*_PURPOSE)

    def give_back(self) -> None:
        """Leave it to others, as it is."""
        connection, self.connection = self.connection, None
        self._pool.release(connection)

    def __del__(self) -> None:
        if self.connection is not None:
            self.connection.disconnect()
            self._pool.release(self.connection)


class Patient:
    """Repeats what is safe to repeat until Redis answers or the patience is over.

    Args:
        where: Of the server, for messages; without secrets.
        patience_s: How long, in seconds.

    Attributes:
        losses: How often an answer was lost so far; another server may answer after that.
    """

    def __init__(self, where: str, patience_s: float) -> None:
        self._where = where
        self._patience_s = patience_s
        self._mine = threading.local()
        self.losses = 0

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Repeat for another time than usual, in this block (of every thread)."""
        before, self._patience_s = self._patience_s, seconds
        try:
            yield
        finally:
            self._patience_s = before

    def let_go(self) -> None:
        """Leave the connections that this thread holds to others; its next command takes one again."""
        held: dict[int, _Held] = self._mine.__dict__.pop("held", {})
        for one in held.values():
            one.give_back()

    def _ask_on(self, pool: Any, *command: Any, waits_s: float = 0.0) -> Any:
        """One command on a connection of this thread's own: half the cost of the client's way through its pool.

        Args:
            pool: Connections to the server.
            command: What is sent.
            waits_s: How long the server itself waits before it answers; the time for an answer begins after that.
        """
        mine: dict[int, _Held] = self._mine.__dict__.setdefault("held", {})
        held = mine.get(id(pool))
        if held is None or held._pool is not pool:
            held = mine[id(pool)] = _Held(pool)
        connection = held.connection
        try:
            connection.send_command(*command)
            if waits_s:
                connection.can_read(waits_s)
            return connection.read_response()
        except redis.ResponseError as error:
            if isinstance(error, redis.exceptions.ReadOnlyError):
                self._drop(pool)  # no master any more: the next connection finds the new one
            raise  # an answer: the connection is as good as before
        except BaseException:
            self._drop(pool)
            raise

    def _drop(self, pool: Any) -> None:
        """Give a broken connection back: one that is used again by itself would not ask Sentinels where to go."""
        held = self._mine.__dict__["held"].pop(id(pool))
        held.connection.disconnect()
        held.give_back()

    def _recover(self) -> None:
        """An attempt has failed, and another one comes: whoever has to look for the server does it here."""

    def _patiently(self, attempt: Callable[[], T], what: str) -> T:
        deadline = time.monotonic() + self._patience_s
        pause = 0.05
        while True:
            try:
                return attempt()
            except LOST as error:
                lost: Exception = error
                self.losses += 1
            except redis.ResponseError as error:
                if not isinstance(error, PASSING) and not str(error).startswith(_BUSY):
                    raise StoreError(f"Redis refused {what}: {error}") from error
                lost = error
            wait = pause * random.uniform(0.5, 1.5)
            if time.monotonic() + wait > deadline:
                why = str(lost).rstrip(".")
                raise StoreUnavailableError(
                    f"no reply from Redis at {self._where} to {what} for {self._patience_s:g} s: {why}; "
                    f"check that it runs and that orchestration_redis_url is right"
                ) from lost
            logger.warning("Redis does not answer, trying again", extra={"command": what, "error": str(lost)})
            time.sleep(wait)
            pause = min(pause * 2, 2.0)
            self._recover()
