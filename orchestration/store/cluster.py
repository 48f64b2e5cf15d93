"""A Redis Cluster as the store. Every script touches one slot by construction, so each goes to one node, whole.

redis-py finds the nodes and says which has which slot. What is sent is sent here, on connections of our own, for the
same reason as with one server: redis-py's cluster client repeats what got no answer. Following a redirection repeats
nothing: a node that answers ``MOVED`` or ``ASK`` has done nothing.

Each node has a clock: those of a cluster's hosts must be kept together, as NTP does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import AskError, MovedError, NoScriptError, RedisClusterException, SlotNotCoveredError
from redis.retry import Retry

from orchestration.store.addresses import RedisAddress
from orchestration.store.connection import RedisSubscription, Subscription, client_options
from orchestration.store.patience import PASSING, Patient
from orchestration.store.scripts import Script

__all__ = ["ClusterConnection"]

_WITHOUT_KEY: Final = frozenset({"TIME", "INFO", "PING", "CLIENT", "CONFIG", "KEYS", "FLUSHDB", "CLUSTER"})
_MOST_REDIRECTIONS: Final = 16
_FIRST_SLOT: Final = 0
_ClusterNode: Any = ClusterNode
_Ask = Callable[[Any, bool], Any]
"""Sends one thing to a node; the flag says that the node is to answer although the slot is not its own yet."""


class ClusterConnection(Patient):
    """Connections to the masters of a cluster.

    Args:
        address: Some of its nodes; the others are asked for.
        patience_s: How long a command is repeated while its node is away, in seconds: at least the time in which the
            cluster puts a replica in the place of a master.
        connect_s: How long to wait for a connection; twice as long for an answer.
        name: Shown in ``CLIENT LIST``.
    """

    def __init__(
        self, address: RedisAddress, *, patience_s: float = 30.0, connect_s: float = 5.0, name: str = "orchestration"
    ) -> None:
        super().__init__(address.shown, patience_s)
        self._address = address
        self._options = {**client_options(connect_s=connect_s, name=name), **address.options}
        self._found: Any = None
        self._lock = threading.Lock()

    @property
    def is_shared(self) -> bool:
        """Other processes can reach it."""
        return True

    @property
    def database(self) -> int:
        """A cluster has one."""
        return 0

    def server_id(self) -> str:
        """None: no message of a broker can be given out by scripts here."""
        return ""

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        """Run a script on the node of its keys.

        Raises:
            StoreUnavailableError: No reply within the patience; the script may or may not have run.
            StoreError: Redis refused it; nothing was written.
        """
        reply = self._patiently(lambda: self._follow(keys[0], self._script(script, keys, args)), script.name)
        return reply if isinstance(reply, list) else [reply]

    def run_many(
        self, orders: Sequence[tuple[Script, Sequence[str], Sequence[Any]]]
    ) -> list[list[Any] | Exception]:
        """Run several scripts: those of one node in order and in one round trip, one node after the other.

        Returns:
            For each its reply, or the error that Redis answered to it.

        Raises:
            StoreUnavailableError: No reply within the patience; some of them may have run.
        """
        keys = [order[1][0] for order in orders]

        def attempt() -> list[Any]:
            commands = [("EVALSHA", script.sha, len(given), *given, *args) for script, given, args in orders]
            found = self._by_node(keys, commands, [order[0] for order in orders])
            if found is None:
                found = self._one_by_one(keys, [self._script(*order) for order in orders])
            return [reply if isinstance(reply, list | Exception) else [reply] for reply in found]

        return self._patiently(attempt, "pipeline")

    def call(self, *command: Any) -> Any:
        """Run one reading command, on the node of its key; without a key, on the node of the first slot.

        Raises:
            StoreUnavailableError: No reply within the patience.
        """
        name = str(command[0])
        key = None if name in _WITHOUT_KEY else command[3 if name == "EVAL" else 1]
        return self._patiently(lambda: self._follow(key, _command(command)), name)

    def wait(self, timeout_s: float, *command: Any) -> Any:
        """Run one command that waits in the server, for at most so long, before it answers; on the node of its key.

        Raises:
            StoreUnavailableError: No reply within the patience; of each attempt it is missed only after that wait.
        """

        def ask(node: Any, asking: bool) -> Any:
            pool = node.redis_connection.connection_pool
            if asking:
                self._ask_on(pool, "ASKING")
            return self._ask_on(pool, *command, waits_s=timeout_s)

        return self._patiently(lambda: self._follow(command[1], ask), str(command[0]))

    def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run several reading commands, in one round trip to each node that has some of their keys.

        Raises:
            StoreUnavailableError: No reply within the patience.
        """
        keys = [command[1] for command in commands]

        def attempt() -> list[Any]:
            found = self._by_node(keys, commands)
            if found is None:
                found = self._one_by_one(keys, [_command(command) for command in commands])
            for reply in found:
                if isinstance(reply, Exception):
                    raise reply
            return found

        return self._patiently(attempt, "pipeline")

    def subscribe(self, *channels: str) -> Subscription:
        """Listen to channels, on the node that tells on them; established when this returns."""
        return self._patiently(
            lambda: RedisSubscription(self._node_of(channels[0]).redis_connection, channels), "SUBSCRIBE"
        )

    def close(self) -> None:
        """Give all connections back; the next command opens new ones."""
        with self._lock:
            found, self._found = self._found, None
        if found is not None:
            found.close()

    def each_node(self) -> list[Any]:
        """A client for each master."""
        return [node.redis_connection for node in self._cluster().get_primaries()]

    def _cluster(self) -> Any:
        with self._lock:
            if self._found is None:
                nodes = [_ClusterNode(host, port) for host, port in self._address.hosts]
                try:
                    self._found = redis.RedisCluster(
                        startup_nodes=nodes, require_full_coverage=False, retry=Retry(NoBackoff(), 0), **self._options
                    )
                except (RedisClusterException, IndexError) as error:  # the latter: it has no slots yet
                    raise redis.ConnectionError(f"no node of the cluster answers: {error}") from error
            return self._found

    def _node_of(self, key: Any) -> Any:
        cluster = self._cluster()
        try:
            if key is None:
                return cluster.nodes_manager.get_node_from_slot(_FIRST_SLOT)
            return cluster.get_node_from_key(key)
        except SlotNotCoveredError as error:
            raise redis.ConnectionError(str(error)) from error

    def _recover(self) -> None:
        """Ask the cluster again which node has what: a master may have been replaced."""
        with self._lock:
            found = self._found
        if found is None:
            return
        try:
            _look_again(found)
        except redis.ConnectionError:
            self.close()  # none of the nodes that were known: those of the URL are asked

    def _script(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> _Ask:
        def ask(node: Any, asking: bool) -> Any:
            pool = node.redis_connection.connection_pool
            for name, which in (("EVALSHA", script.sha), ("EVAL", script.source)):
                if asking:
                    self._ask_on(pool, "ASKING")
                try:
                    return self._ask_on(pool, name, which, len(keys), *keys, *args)
                except NoScriptError:  # each node has scripts of its own
                    continue
            raise AssertionError("EVAL names no script")

        return ask

    def _follow(self, key: Any, ask: _Ask) -> Any:
        node, asking = self._node_of(key), False
        for _ in range(_MOST_REDIRECTIONS):
            try:
                return ask(node, asking)
            except MovedError:
                _look_again(self._cluster())
                node, asking = self._node_of(key), False
            except AskError as error:  # of these keys alone, while their slot moves
                found = self._cluster().get_node(host=error.host, port=error.port)
                if found is None or found.redis_connection is None:
                    raise redis.ConnectionError(f"the node {error.node_addr} is not known yet") from error
                node, asking = found, True
        raise redis.ConnectionError("the nodes of the cluster send each other what they are asked for")

    def _one_by_one(self, keys: Sequence[Any], asks: Sequence[_Ask]) -> list[Any]:
        replies: list[Any] = []
        for key, ask in zip(keys, asks, strict=True):
            try:
                replies.append(self._follow(key, ask))
            except PASSING:
                raise
            except redis.ResponseError as error:
                replies.append(error)
        return replies

    def _by_node(
        self, keys: Sequence[Any], commands: Sequence[Sequence[Any]], scripts: Sequence[Script] = ()
    ) -> list[Any] | None:
        """Replies and refusals, in the order of the commands; None when a node has sent some of them elsewhere."""
        parts: dict[str, tuple[Any, list[int]]] = {}
        for index, key in enumerate(keys):
            node = self._node_of(key)
            parts.setdefault(node.name, (node, []))[1].append(index)
        replies: list[Any] = [None] * len(commands)
        for node, indices in parts.values():
            pipe = node.redis_connection.pipeline(transaction=False)
            needed = {scripts[index].sha: scripts[index] for index in indices} if scripts else {}
            for script in needed.values():
                pipe.script_load(script.source)  # ahead: one that is missing in the middle would break the order
            for index in indices:
                pipe.execute_command(*commands[index])
            answers = pipe.execute(raise_on_error=False)[len(needed) :]
            for index, answer in zip(indices, answers, strict=True):
                if isinstance(answer, (AskError, NoScriptError)):  # a MovedError is an AskError
                    return None
                if isinstance(answer, PASSING):
                    raise answer
                replies[index] = answer
        return replies


def _look_again(cluster: Any) -> None:
    """Ask the nodes which of them has what.

    Raises:
        redis.ConnectionError: None of them says so. What redis-py raises then is none of its own errors.
    """
    try:
        cluster.nodes_manager.initialize()
    except (redis.RedisError, RedisClusterException, OSError, IndexError) as error:
        raise redis.ConnectionError(f"no node of the cluster answers: {error}") from error


def _command(command: Sequence[Any]) -> _Ask:
    def ask(node: Any, asking: bool) -> Any:
        if not asking:
            return node.redis_connection.execute_command(*command)
        pipe = node.redis_connection.pipeline(transaction=False)
        pipe.execute_command("ASKING")
        pipe.execute_command(*command)
        return pipe.execute()[-1]

    return ask
