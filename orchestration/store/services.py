"""Supervised services as the deployment knows them: who looks after each, where it stands, what operators want.

A lease has no lifetime of its own: it is good as long as its node is in ``nodes``. Whoever takes a silent node out of
there frees its leases, and from the same moment nothing that the node does has an effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from orchestration.store.base import flat_fields, text
from orchestration.store.connection import Connection
from orchestration.store.keys import ActorKeys
from orchestration.store.scripts import load_script

__all__ = ["ServiceRecord", "Services", "TakenService", "Wish", "Wishes"]


class Wish(NamedTuple):
    """What an operator wants of a service.

    Attributes:
        number: Grows with each wish.
        want: ``run``, ``stop`` or ``restart``; empty: nobody has said anything.
    """

    number: int = 0
    want: str = ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What operators want.

    Attributes:
        changes: Grows with each wish, and when a lease is given up.
        of: By service.
    """

    changes: int
    of: Mapping[str, Wish]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """Where an instance of a service stands. Times are the store's.

    Attributes:
        instance: Id of its entry; with scope ``worker`` that, ``|`` and its node.
        service: Id of its entry.
        owner: Node that looks after it; empty: none.
        is_held: That node lives.
        fence: Number of the lease.
        seen: The last wish that was acted on.
        state: As it was noted last.
        was: The state that the former owner left it in.
        reason: Why it is there.
        error: What its last run that failed has failed with.
        failures: Runs that have failed one after the other.
        runs: Processes started in all.
        pid: Address of its process; empty: there is none.
        since_ms: When it came there.
        due_ms: Time of the next attempt; 0: none comes by itself.
    """

    instance: str
    service: str
    owner: str = ""
    is_held: bool = False
    fence: int = 0
    seen: int = 0
    state: str = "unknown"
    was: str = "unknown"
    reason: str = ""
    error: str = ""
    failures: int = 0
    runs: int = 0
    pid: str = ""
    since_ms: int = 0
    due_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenService:
    """What a node hears that wants to look after a service.

    Attributes:
        status: ``taken``; ``held``: another does; ``over``: it has ended for good with this definition; ``unwanted``:
            an operator has stopped it; ``gone``: the node itself has been taken for dead.
        record: As the former owner left it, under the new lease; None unless taken.
        former: Who had the lease, if it was not given up: a node that has died; empty: nobody.
        is_asked: An operator has asked for it since it was last taken.
        now_ms: The store's time.
    """

    status: str
    record: ServiceRecord | None = None
    former: str = ""
    is_asked: bool = False
    now_ms: int = 0


class Services:
    """The verbs of supervised services. All keys share one hash tag.

    Args:
        connection: Redis, or the in-memory twin.
        keys: How the keys are called.
    """

    def __init__(self, connection: Connection, keys: ActorKeys) -> None:
        self._connection = connection
        self._keys = keys

    def take(self, node: str, service: str, *, digest: str, is_own: bool = False) -> TakenService:
        """Look after a service from now on, unless another living node does, or nobody is to. Safe to repeat.

        Args:
            node: Who wants to.
            service: Id of its entry.
            digest: Of its definition and code: what has ended for good with these is left alone.
            is_own: Each node has an instance of its own.
        """
        instance = f"{service}|{node}" if is_own else service
        keys = self._keys
        reply = self._connection.run(
            load_script("take_service"), [keys.nodes, keys.services, keys.service(instance), keys.service_wishes],
            [node, service, instance, digest],
        )  # fmt: skip
        if text(reply[0]) != "taken":
            return TakenService(status=text(reply[0]))
        fields = dict(zip(map(text, reply[5][::2]), reply[5][1::2], strict=True))
        former = text(reply[3])
        return TakenService(
            status="taken", record=_record(instance, fields, is_held=True), former="" if former == node else former,
            is_asked=bool(int(reply[4])), now_ms=int(reply[2]),
        )  # fmt: skip

    def note(
        self, node: str, record: ServiceRecord, *, age_ms: int = 0, due_in_ms: int | None = None, **fields: str | int
    ) -> bool:
        """Write down where a service stands. Safe to repeat.

        Args:
            node: Who looks after it.
            record: As it was taken.
            age_ms: For how long it has stood there.
            due_in_ms: When the next attempt is, from now; None: none comes by itself.
            fields: Of :class:`ServiceRecord`: state, reason, error, failures, runs, pid, seen.

        Returns:
            Whether the lease is still held; if not, nothing was written.
        """
        due = -1 if due_in_ms is None else max(0, due_in_ms)
        reply = self._connection.run(
            load_script("note_service"), [self._keys.nodes, self._keys.service(record.instance)],
            [node, record.fence, age_ms, due, *flat_fields(fields)],
        )  # fmt: skip
        return text(reply[0]) == "noted"

    def release(
        self, node: str, record: ServiceRecord, *, over: str = "", age_ms: int = 0, due_in_ms: int | None = None,
        **fields: str | int,
    ) -> bool:  # fmt: skip
        """Give a service up: at once another node may look after it. Safe to repeat.

        Args:
            node: Who looks after it.
            record: As it was taken.
            over: It has ended for good with this digest of its definition and code: nobody takes it up with the same.
            age_ms: As for :meth:`note`.
            due_in_ms: As for :meth:`note`.
            fields: As for :meth:`note`.

        Returns:
            Whether the lease was held.
        """
        keys = self._keys
        due = -1 if due_in_ms is None else max(0, due_in_ms)
        reply = self._connection.run(
            load_script("release_service"), [keys.nodes, keys.service(record.instance), keys.service_wishes],
            [node, record.fence, over, age_ms, due, *flat_fields(fields)],
        )  # fmt: skip
        return text(reply[0]) == "released"

    def wish(self, service: str, want: str, *, request: str) -> int:
        """Say what is wanted of a service, for as long as nothing else is said. Safe to repeat with the same request.

        Args:
            service: Id of its entry.
            want: ``run``, ``stop`` or ``restart``.
            request: Unique to this wish.

        Returns:
            Number of the wish.
        """
        reply = self._connection.run(
            load_script("wish_service"), [self._keys.service_wishes], [service, want, request]
        )  # fmt: skip
        return int(reply[1])

    def forget(self, instance: str) -> bool:
        """Forget a service that nobody looks after; an operator's wish goes with it.

        Returns:
            Whether nobody does.
        """
        keys = self._keys
        _, _, node = instance.partition("|")
        reply = self._connection.run(
            load_script("forget_service"), [keys.nodes, keys.services, keys.service(instance), keys.service_wishes],
            [instance, node],
        )  # fmt: skip
        return text(reply[0]) == "forgotten"

    def wishes(self) -> Wishes:
        """What operators want of services."""
        found = self._hash(self._connection.call("HGETALL", self._keys.service_wishes))
        changes = int(found.pop("", b"0"))
        return Wishes(changes, {service: _wish(text(value)) for service, value in found.items()})

    def instances(self) -> list[str]:
        """Names of all instances that have ever been taken up and are not forgotten."""
        return sorted(map(text, self._connection.call("SMEMBERS", self._keys.services)))

    def read(self, instances: Iterable[str]) -> dict[str, ServiceRecord]:
        """Where instances stand; those that nobody has taken up yet are left out."""
        names = list(instances)
        if not names:
            return {}
        nodes = self._keys.nodes
        replies = self._connection.pipeline(
            [["ZRANGE", nodes, 0, -1], *(["HGETALL", self._keys.service(name)] for name in names)]
        )
        living = {text(node) for node in replies[0]}
        found = {}
        for name, reply in zip(names, replies[1:], strict=True):
            fields = self._hash(reply)
            if fields:
                found[name] = _record(name, fields, is_held=text(fields.get("owner", "")) in living)
        return found

    @staticmethod
    def _hash(reply: Any) -> dict[str, Any]:
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        return {text(name): value for name, value in pairs}


def _wish(value: str) -> Wish:
    number, want, _request = value.split(":", 2)
    return Wish(int(number), want)


def _record(instance: str, fields: Mapping[str, Any], *, is_held: bool) -> ServiceRecord:
    def number(name: str) -> int:
        return int(fields.get(name) or 0)

    def word(name: str) -> str:
        return text(fields.get(name, ""))

    return ServiceRecord(
        instance=instance, service=word("service") or instance, owner=word("owner"), is_held=is_held,
        fence=number("fence"), seen=number("seen"), state=word("state") or "unknown", was=word("was") or "unknown",
        reason=word("reason"), error=word("error"), failures=number("failures"), runs=number("runs"), pid=word("pid"),
        since_ms=number("since"), due_ms=number("due"),
    )  # fmt: skip
