"""The ``lifecycle`` block of entries that run as services."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from pydantic import Field

from orchestration.registry.entry import Link
from orchestration.registry.fields import (
    Boolean,
    Floating,
    FrozenMap,
    Integer,
    Name,
    PositiveDurationMs,
    Reference,
    record,
)
from orchestration.types import EntryId

__all__ = ["Lifecycle", "Restart", "ServiceActor", "ServiceSecurity", "Startup"]


class Startup(Enum):
    """Whether the boot needs the service."""

    REQUIRED = "required"
    """A failing start fails the boot."""
    OPTIONAL = "optional"
    """It may fail."""


@record
class Restart:
    """When a failed service is started again."""

    initial_delay: PositiveDurationMs = 1_000
    max_delay: PositiveDurationMs = 90_000
    backoff_factor: Floating = Field(default=2.0, ge=1.0, le=1000.0)
    jitter: Floating = Field(default=0.1, ge=0.0, le=1.0)
    max_attempts: Integer = Field(default=0, ge=0)
    """Runs in all; 0 is without limit."""


@record
class ServiceActor:
    """In whose name a service runs."""

    id: Name
    meta: FrozenMap = Field(default_factory=dict)


@record
class ServiceSecurity:
    """Actor and scope of a service."""

    actor: ServiceActor | None = None
    groups: tuple[Reference, ...] = ()
    policies: tuple[Reference, ...] = ()


@record
class Lifecycle:
    """How a service starts, stops and restarts. Times are in milliseconds."""

    auto_start: Boolean = False
    startup: Startup = Startup.REQUIRED
    start_timeout: PositiveDurationMs = 10_000
    stop_timeout: PositiveDurationMs = 10_000
    stable_threshold: PositiveDurationMs = 5_000
    requires: tuple[Reference, ...] = ()
    depends_on: tuple[Reference, ...] = ()
    restart: Restart = Field(default_factory=Restart)
    security: ServiceSecurity = Field(default_factory=ServiceSecurity)

    @property
    def dependencies(self) -> tuple[EntryId, ...]:
        """Services that must run first: ``requires``, then ``depends_on``, each once."""
        return tuple(dict.fromkeys((*self.requires, *self.depends_on)))

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        for key, targets in (("requires", self.requires), ("depends_on", self.depends_on)):
            for index, target in enumerate(targets):
                yield Link(field=f"lifecycle.{key}[{index}]", target=target, wanted="a service")
        for index, target in enumerate(self.security.policies):
            yield Link(
                field=f"lifecycle.security.policies[{index}]",
                target=target,
                kinds=("security.policy", "security.policy.expr"),
                wanted="a security.policy entry",
            )
