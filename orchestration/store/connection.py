"""The one place that talks to Redis: our own client, with explicit timeouts and no hidden repeats.

redis-py's defaults send an ``EVAL`` again after a time-out. Here nothing is repeated below us; what is safe to
repeat (every script is: commits carry an id, claims a nonce, starts and signals a request id) is repeated in one
place, :meth:`Connection.run`, until Redis answers or the patience given is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

import redis
from redis import sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestration.errors import ConfigError, StoreUnavailableError
from orchestration.store.addresses import RedisAddress, read_address
from orchestration.store.patience import LOST, PASSING, Patient
from orchestration.store.scripts import Script

__all__ = ["Connection", "RedisConnection", "RedisSubscription", "Subscription", "client_options"]

logger = logging.getLogger(__name__)

_Sentinel: Any = sentinel.Sentinel
_HEALTH_CHECK_S = 25
_OF_TCP = ("socket_connect_timeout", "socket_keepalive")
_MOST_CONNECTIONS = 10_000
"""No bound of ours: redis-py's is 100, and whoever is above it gets an error as if Redis were away."""


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

    def wait(self, timeout_s: float, *command: Any) -> Any:
        """Run one command that waits in the server, for at most so long, before it answers."""

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


class RedisSubscription:
    """Listens on a connection of its own.

    Args:
        client: Of redis-py.
        channels: Their names.
    """

    def __init__(self, client: Any, channels: Sequence[str]) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=False)
        self._pubsub.subscribe(*channels)
        for _ in channels:
            self._pubsub.get_message(timeout=5)

    def wait(self, timeout_s: float) -> bool:
        """Return True when a message came, False when the time was over."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self._pubsub.get_message(timeout=left)
            except LOST as error:
                logger.info("subscription lost, asking again", extra={"error": repr(error)})
                return True
            if message is not None and message["type"] == "message":
                return True
        return False

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next message, None when the time was over."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self._pubsub.get_message(timeout=left)
            except LOST as error:
                raise StoreUnavailableError(f"a subscription was lost: {error}") from error
            if message is not None and message["type"] == "message":
                return bytes(message["data"])
        return None

    def close(self) -> None:
        """Stop listening."""
        self._pubsub.close()


def client_options(*, connect_s: float, name: str) -> dict[str, Any]:
    """Options of every client of redis-py: explicit timeouts, and nothing repeated below us.

    Source: notes on redis-py 8: ``Retry`` and ``socket_timeout`` defaults repeat an EVAL up to eleven times.
    """
    return {
        "socket_timeout": 2 * connect_s,
        "socket_connect_timeout": connect_s,
        "socket_keepalive": True,
        "max_connections": _MOST_CONNECTIONS,
        "client_name": name,
    }


class RedisConnection(Patient):
    """A pool of connections to one Redis (or Valkey), or to the one that Sentinels name as the master.

    Args:
        url: Its address, as :func:`orchestration.store.addresses.read_address` reads it.
        patience_s: How long a command is repeated while the server is away, in seconds.
        connect_s: How long to wait for a connection; twice as long for an answer.
        name: Shown in ``CLIENT LIST``.
    """

    def __init__(
        self, url: str | RedisAddress, *, patience_s: float = 30.0, connect_s: float = 5.0,
        name: str = "orchestration",
    ) -> None:  # fmt: skip
        address = read_address(url) if isinstance(url, str) else url
        super().__init__(address.shown, patience_s)
        options = client_options(connect_s=connect_s, name=name)
        self.is_found_by_sentinels = address.kind == "sentinel"
        self._client: Any = _master(address, options) if self.is_found_by_sentinels else _single(address, options)
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
        return self._ask_on(self._client.connection_pool, *command)

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
                if isinstance(reply, PASSING):
                    raise reply
            return [reply if isinstance(reply, list | Exception) else [reply] for reply in replies]

        return self._patiently(attempt, "pipeline")

    def call(self, *command: Any) -> Any:
        """Run one reading command.

        Raises:
            StoreUnavailableError: No reply within the patience.
        """
        return self._patiently(lambda: self._client.execute_command(*command), str(command[0]))

    def wait(self, timeout_s: float, *command: Any) -> Any:
        """Run one command that waits in the server, for at most so long, before it answers.

        Raises:
            StoreUnavailableError: No reply within the patience; of each attempt it is missed only after that wait.
        """
        return self._patiently(
            lambda: self._ask_on(self._client.connection_pool, *command, waits_s=timeout_s), str(command[0])
        )

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
        return self._patiently(lambda: RedisSubscription(self._client, channels), "SUBSCRIBE")

    def server_id(self) -> str:
        """Identity of the server process (``run_id`` of ``INFO server``)."""
        info = self._patiently(lambda: self._client.info("server"), "INFO")
        return str(info.get("run_id", ""))

    def close(self) -> None:
        """Give all connections back; the next command opens new ones."""
        self._client.close()


def _single(address: RedisAddress, options: dict[str, Any]) -> Any:
    if address.url.startswith("unix:"):
        options = {name: value for name, value in options.items() if name not in _OF_TCP}
    try:
        return redis.Redis.from_url(
            address.url, retry=Retry(NoBackoff(), 0), health_check_interval=_HEALTH_CHECK_S, **options
        )
    except ValueError:  # its text may have a part of the password
        raise ConfigError("orchestration_redis_url is no URL of a Redis: redis://host:port/database") from None


def _master(address: RedisAddress, options: dict[str, Any]) -> Any:
    """A client whose connections ask the Sentinels where the master is, each time that one is opened."""
    no_repeats = Retry(NoBackoff(), 0)
    asking = {**options, **address.sentinel_options, "retry": no_repeats}
    sentinels: Any = _Sentinel(list(address.hosts), sentinel_kwargs=asking)
    return sentinels.master_for(
        address.master, retry=no_repeats, health_check_interval=_HEALTH_CHECK_S, **options, **address.options
    )
