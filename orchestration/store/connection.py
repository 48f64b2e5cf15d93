"""The one place that talks to Redis: our own client, with explicit timeouts and no hidden repeats.

redis-py's defaults send an ``EVAL`` again after a time-out. Here nothing is repeated below us; what is safe to
repeat (every script is: commits carry an id, claims a nonce, starts and signals a request id) is repeated in one
place, :meth:`Connection.run`, until Redis answers or the patience given is over.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestration.errors import StoreError, StoreUnavailableError
from orchestration.store.scripts import Script

__all__ = ["Connection", "RedisConnection", "Subscription"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

_LOST = (redis.ConnectionError, redis.TimeoutError)
_PASSING = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
"""Answers that another moment or another connection changes; redis-py takes the code off their texts."""
_MOST_CONNECTIONS = 10_000
"""No bound of ours: redis-py's is 100, and whoever is above it gets an error as if Redis were away."""
_BUSY = ("LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF")


class Subscription(Protocol):
    """Waits for a message on a channel."""

    def wait(self, timeout_s: float) -> bool:
        """Return True when a message came, False when the time was over."""

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next message, None when the time was over.

        Raises:
            StoreUnavailableError: The connection was lost, and with it what was told since.
        """

    def close(self) -> None:
        """Stop listening."""


class Connection(Protocol):
    """What the store needs of a server: Redis, or the same scripts over memory."""

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        """Run a script; safe to repeat, so it is repeated while the server is away."""

    def run_many(
        self, orders: Sequence[tuple[Script, Sequence[str], Sequence[Any]]]
    ) -> list[list[Any] | Exception]:
        """Run several scripts in order, in one round trip; repeated as a whole, so each must be safe to repeat."""

    def call(self, *command: Any) -> Any:
        """Run one reading command."""

    def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run several reading commands in one round trip."""

    def subscribe(self, *channels: str) -> Subscription:
        """Listen to channels; established when this returns."""

    def let_go(self) -> None:
        """Leave the connection that this thread holds to others; its next command takes one again."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes can reach it."""

    def server_id(self) -> str:
        """Identity of the server process, to see whether two connections meet in the same one."""

    @property
    def database(self) -> int:
        """Number of the database, 0 where there are none."""


class _RedisSubscription:
    def __init__(self, client: Any, channels: Sequence[str]) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=False)
        self._pubsub.subscribe(*channels)
        for _ in channels:
            self._pubsub.get_message(timeout=5)

    def wait(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self._pubsub.get_message(timeout=left)
            except _LOST as error:
                logger.info("subscription lost, asking again", extra={"error": repr(error)})
                return True
            if message is not None and message["type"] == "message":
                return True
        return False

    def receive(self, timeout_s: float) -> bytes | None:
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self._pubsub.get_message(timeout=left)
            except _LOST as error:
                raise StoreUnavailableError(f"a subscription was lost: {error}") from error
            if message is not None and message["type"] == "message":
                return bytes(message["data"])
        return None

    def close(self) -> None:
        self._pubsub.close()


class _Held:
    """A connection that belongs to one thread and goes back when the thread has ended."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.connection: Any = None
        self.connection = pool.get_connection()

    def give_back(self) -> None:
        """Leave it to others, as it is."""
        connection, self.connection = self.connection, None
        self._pool.release(connection)

    def __del__(self) -> None:
        if self.connection is not None:
            self.connection.disconnect()
            self._pool.release(self.connection)


class RedisConnection:
    """A pool of connections to one Redis (or Valkey).

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://`` URL.
        patience_s: How long a command is repeated while the server is away, in seconds.
        connect_s: How long to wait for a connection; twice as long for an answer.
        name: Shown in ``CLIENT LIST``.

    Source: notes on redis-py 8: ``Retry`` and ``socket_timeout`` defaults repeat an EVAL up to eleven times.
    """

    def __init__(
        self, url: str, *, patience_s: float = 30.0, connect_s: float = 5.0, name: str = "orchestration"
    ) -> None:
        self._url = url
        self._patience_s = patience_s
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": 2 * connect_s,
            "health_check_interval": 25,
            "max_connections": _MOST_CONNECTIONS,
            "client_name": name,
        }
        if not url.startswith("unix:"):
            options["socket_connect_timeout"] = connect_s
            options["socket_keepalive"] = True
        self._client: Any = redis.Redis.from_url(url, **options)
        self._mine = threading.local()
        self.losses = 0
        self._known: tuple[int, set[str]] = (0, set())
        """Scripts that the server has, as of so many losses of the connection; it may be another one after a loss."""

    @property
    def is_shared(self) -> bool:
        """Other processes can reach it."""
        return True

    @property
    def database(self) -> int:
        """Number of the database."""
        return int(self._client.connection_pool.connection_kwargs.get("db", 0) or 0)

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        """Run a script by its hash, loading it where it is missing.

        Raises:
            StoreUnavailableError: No reply within the patience; the script may or may not have run.
            StoreError: Redis refused it; nothing was written.
        """

        def attempt() -> Any:
            try:
                return self._ask("EVALSHA", script.sha, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                return self._ask("EVAL", script.source, len(keys), *keys, *args)

        reply = self._patiently(attempt, script.name)
        return reply if isinstance(reply, list) else [reply]

    def _ask(self, *command: Any) -> Any:
        """One command on a connection of this thread's own: half the cost of the client's way through its pool."""
        held = getattr(self._mine, "held", None)
        if held is None:
            held = self._mine.held = _Held(self._client.connection_pool)
        connection = held.connection
        try:
            connection.send_command(*command)
            return connection.read_response()
        except redis.exceptions.ReadOnlyError:
            connection.disconnect()  # no master any more: the next connection finds the new one
            raise
        except redis.ResponseError:
            raise  # an answer: the connection is as good as before
        except BaseException:
            connection.disconnect()
            raise

    def let_go(self) -> None:
        """Leave the connection that this thread holds to others; its next command takes one again."""
        held, self._mine.held = getattr(self._mine, "held", None), None
        if held is not None:
            held.give_back()

    def run_many(
        self, orders: Sequence[tuple[Script, Sequence[str], Sequence[Any]]]
    ) -> list[list[Any] | Exception]:
        """Run several scripts in order, in one round trip.

        Returns:
            For each its reply, or the error that Redis answered to it.

        Raises:
            StoreUnavailableError: No reply within the patience; some of them may have run.
        """

        def attempt() -> list[Any]:
            losses, known = self._known
            if losses != self.losses:
                known = set()
            pipe = self._client.pipeline(transaction=False)
            for script in {order[0].sha: order[0] for order in orders if order[0].sha not in known}.values():
                pipe.script_load(script.source)  # ahead: a script that is missing in the middle would break the order
            for script, keys, args in orders:
                pipe.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
            replies = pipe.execute(raise_on_error=False)[-len(orders) :]
            if any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
                self._known = (-1, set())
                raise redis.ConnectionError("Redis has forgotten a script")
            self._known = (losses, known | {order[0].sha for order in orders})
            for reply in replies:
                if isinstance(reply, _PASSING):
                    raise reply
            return [reply if isinstance(reply, list | Exception) else [reply] for reply in replies]

        return self._patiently(attempt, "pipeline")

    def call(self, *command: Any) -> Any:
        """Run one reading command.

        Raises:
            StoreUnavailableError: No reply within the patience.
        """
        return self._patiently(lambda: self._client.execute_command(*command), str(command[0]))

    def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run several reading commands in one round trip.

        Raises:
            StoreUnavailableError: No reply within the patience.
        """

        def attempt() -> list[Any]:
            pipe = self._client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return list(pipe.execute())

        return self._patiently(attempt, "pipeline")

    def subscribe(self, *channels: str) -> Subscription:
        """Listen to channels; established when this returns."""
        return self._patiently(lambda: _RedisSubscription(self._client, channels), "SUBSCRIBE")

    def server_id(self) -> str:
        """Identity of the server process (``run_id`` of ``INFO server``)."""
        info = self._patiently(lambda: self._client.info("server"), "INFO")
        return str(info.get("run_id", ""))

    def close(self) -> None:
        """Give all connections back; the next command opens new ones."""
        self._client.close()

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Repeat for another time than usual, in this block (of every thread)."""
        before, self._patience_s = self._patience_s, seconds
        try:
            yield
        finally:
            self._patience_s = before

    def _patiently(self, attempt: Callable[[], T], what: str) -> T:
        deadline = time.monotonic() + self._patience_s
        pause = 0.05
        while True:
            try:
                return attempt()
            except _LOST as error:
                lost: Exception = error
                self.losses += 1
            except redis.ResponseError as error:
                if not isinstance(error, _PASSING) and not str(error).startswith(_BUSY):
                    raise StoreError(f"Redis refused {what}: {error}") from error
                lost = error
            wait = pause * random.uniform(0.5, 1.5)
            if time.monotonic() + wait > deadline:
                where = self._url.rsplit("@", 1)[-1]
                raise StoreUnavailableError(
                    f"no reply from Redis at {where} to {what} for {self._patience_s:g} s: {str(lost).rstrip('.')}; "
                    f"check that it runs and that orchestration_redis_url is right"
                ) from lost
            logger.warning("Redis does not answer, trying again", extra={"command": what, "error": str(lost)})
            time.sleep(wait)
            pause = min(pause * 2, 2.0)
