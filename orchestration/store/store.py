"""The store as a whole: one object that holds the aggregates."""

from __future__ import annotations

from orchestration.errors import ConfigError
from orchestration.store.actors import Actors
from orchestration.store.archives import Archives
from orchestration.store.attempts import Attempts
from orchestration.store.audits import Audits
from orchestration.store.base import StoreOptions
from orchestration.store.chains import Chains
from orchestration.store.connection import Connection
from orchestration.store.effects import Effects
from orchestration.store.followers import Followers
from orchestration.store.foreign import Foreign
from orchestration.store.items import Items
from orchestration.store.keys import Keyspace
from orchestration.store.offload.claim_check import ClaimCheck
from orchestration.store.offload.stages import Stage
from orchestration.store.repairs import Repairs
from orchestration.store.runs import Runs
from orchestration.store.schedules import Schedules
from orchestration.store.scripts import load_script
from orchestration.store.services import Services
from orchestration.store.shown import Shown
from orchestration.store.timers import Timers
from orchestration.store.updates import Updates
from orchestration.store.visibility import Visibility
from orchestration.store.workers import Workers

__all__ = ["STORE_FORMAT", "Store"]

STORE_FORMAT = 1


class Store:
    """Everything that is kept in Redis, by subject.

    Args:
        connection: Redis, or the in-memory twin.
        keyspace: Prefix, namespace and number of shards.
        options: Times and bounds.
        stage: Where items go that are too large for it; None: all are kept in it.
    """

    def __init__(
        self, connection: Connection, keyspace: Keyspace, options: StoreOptions | None = None,
        *, stage: Stage | None = None,
    ) -> None:  # fmt: skip
        options = options or StoreOptions()
        claims = ClaimCheck(
            connection, keyspace, stage, above_bytes=options.offload_above, retention_ms=options.retention_ms
        )
        self.connection = connection
        self.keyspace = keyspace
        self.options = options
        self.claims = claims
        self.runs = Runs(connection, keyspace, options, claims)
        self.chains = Chains(connection, keyspace, options, claims)
        self.attempts = Attempts(connection, keyspace, options, claims)
        self.foreign = Foreign(connection, keyspace, options, claims)
        self.repairs = Repairs(connection, keyspace, options, claims)
        self.audits = Audits(connection, keyspace, options, claims)
        self.timers = Timers(connection, keyspace, options, claims)
        self.schedules = Schedules(connection, keyspace, options, claims)
        self.updates = Updates(connection, keyspace, options, claims)
        self.followers = Followers(connection, keyspace, options, claims)
        self.workers = Workers(connection, keyspace, options, claims)
        self.shown = Shown(connection, keyspace, options, claims)
        self.archives = Archives(connection, keyspace, options, claims)
        self.actors = Actors(connection, keyspace.actors)
        self.services = Services(connection, keyspace.actors)
        self.effects = Effects(connection, keyspace, options, claims)
        self.visibility = Visibility(connection, keyspace, options, claims)
        self.items = Items(connection, keyspace.actors)
        self._opened = False

    def open(self) -> None:
        """Check, once, that this store has the format and the number of shards that this process works with.

        Raises:
            ConfigError: It was made with others.
            StoreUnavailableError: Redis does not answer.
        """
        if self._opened:
            return
        script = load_script("open_store")
        found_format, found_shards = self.connection.run(
            script, [self.keyspace.meta], [STORE_FORMAT, self.keyspace.shards]
        )
        if int(found_format) != STORE_FORMAT:
            raise ConfigError(
                f"the store {self.keyspace.base} has format {int(found_format)}, "
                f"this release reads format {STORE_FORMAT}"
            )
        if int(found_shards) != self.keyspace.shards:
            raise ConfigError(
                f"the store {self.keyspace.base} was made with {int(found_shards)} shards, the setting "
                f"orchestration_shards says {self.keyspace.shards}: set it to {int(found_shards)}"
            )
        self._opened = True
