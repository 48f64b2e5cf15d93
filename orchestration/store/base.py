"""What the store's aggregates share: the connection, the key names, the settings, and reading replies."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from orchestration.store.connection import Connection
from orchestration.store.keys import Keyspace
from orchestration.store.offload.claim_check import ClaimCheck
from orchestration.store.offload.stages import StageError
from orchestration.store.results import Delivery, Lease, Pushes
from orchestration.store.scripts import load_script
from orchestration.types import RunId

__all__ = ["NO_PUSHES", "Aggregate", "StoreOptions", "flat_fields", "pack_for_script", "scored", "text"]

logger = logging.getLogger(__name__)

NO_PUSHES = Pushes()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Times and bounds the scripts work with.

    Attributes:
        lease_ms: How long a holder may keep a run before others may take it over.
        grace_ms: How long a wake-up may take before the sweep sends another.
        retention_ms: How long an ended run is kept.
        mark_ms: How long a request id is remembered.
        page: Most inputs handed over at once.
        inbox_bound: Most unread inputs of a run.
        updates_bound: Most updates that a run remembers.
        archives: Ended runs are kept until they have been archived.
        offload_above: Items above this size go into the stage, if there is one.
        eta_max: Most timers of a shard whose wake-up is with the broker.
    """

    lease_ms: int = 3_000
    grace_ms: int = 2_000
    retention_ms: int = 7 * 86_400_000
    mark_ms: int = 7 * 86_400_000
    page: int = 200
    inbox_bound: int = 10_000
    updates_bound: int = 20_000
    eta_max: int = 1_000
    archives: bool = False
    offload_above: int = 256 * 1024

    @property
    def closing_ms(self) -> int:
        """How long a run is kept that ends now, as the scripts take it: below zero for 'once it is archived'."""
        return -self.retention_ms if self.archives else self.retention_ms


def text(value: Any) -> str:
    """A reply's element as text."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def scored(reply: Any) -> Iterator[tuple[str, float]]:
    """Members and scores of a reply, which are pairs in one version of the protocol and one flat list in the other."""
    is_flat = bool(reply) and not isinstance(reply[0], (list, tuple))
    for member, score in zip(reply[::2], reply[1::2], strict=True) if is_flat else reply:
        yield text(member), float(score)


def pack_for_script(value: Any) -> bytes:
    """Encode an argument that a script unpacks.

    Redis' ``cmsgpack`` is older than msgpack's ``bin`` type and refuses it, so bytes go as the older raw strings.
    """
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def flat_fields(mapping: Mapping[str, Any]) -> list[str | bytes]:
    """Fields of a hash, name and value in turn, as a script takes them: numbers as text, so that none is rounded.

    Raises:
        TypeError: A value is no text, no bytes and no whole number; in a script it would stop a write half way.
    """
    flat: list[str | bytes] = []
    for name, value in mapping.items():
        if isinstance(value, bool) or not isinstance(value, (str, bytes, int)):
            raise TypeError(f"the field {name!r} of a run is text, bytes or a whole number, not {value!r}")
        flat += (name, value if isinstance(value, (str, bytes)) else str(value))
    return flat


class Aggregate:
    """Base of the store's parts.

    Args:
        connection: Where the keys live.
        keyspace: How they are called.
        options: Times and bounds.
        claims: Offloads large items.
    """

    def __init__(
        self, connection: Connection, keyspace: Keyspace, options: StoreOptions, claims: ClaimCheck
    ) -> None:
        self._connection = connection
        self._keyspace = keyspace
        self._options = options
        self._claims = claims

    def _run(self, script: str, keys: Sequence[str], *args: Any) -> list[Any]:
        return self._connection.run(load_script(script), keys, args)

    def _pack_pushes(self, pushes: Pushes) -> bytes:
        return pack_for_script([pushes.database, self._connection.database, list(pushes.commands)])

    def _delivery(self, run_id: str, reply: Sequence[Any]) -> Delivery:
        status = text(reply[0])
        if status in ("lease", "more"):
            try:
                return Delivery("lease", lease=self._lease(run_id, reply))
            except StageError as error:  # the script has done its part; the lease runs out, the sweep finds another
                logger.warning("run left to others: %s", error, extra={"run_id": run_id})
                return Delivery("accepted", str(error))
        return Delivery(status, " ".join(text(part) for part in reply[1:]))

    def _lease(self, run_id: str, reply: Sequence[Any]) -> Lease:
        fence, time_ms, length, tries = (int(part) for part in reply[1:5])
        inputs, problem = self._claims.unread(reply[6:], run_id)
        tail = self._claims.tail(reply[5], run_id)
        return Lease(RunId(run_id), fence, time_ms, length, tries, inputs, tail, problem)
