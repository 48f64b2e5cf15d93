"""Workers that serve workflows and activities, and the clients they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import (
    Boolean,
    Floating,
    Integer,
    Name,
    PositiveDurationMs,
    Reference,
    Text,
    fault,
    record,
)
from orchestration.registry.kinds.lifecycle import Lifecycle
from orchestration.registry.kinds.lua import VersioningBehavior

__all__ = ["AuthType", "CeleryClient", "CeleryWorker", "ClientAuth", "ClientTls", "HealthCheck", "WorkerOptions"]

CLIENT_KINDS = ("celery.client", "temporal.client")


class AuthType(Enum):
    """How a client of the reference runtime signs in; checked, not used."""

    NONE = "none"
    """Not at all."""
    API_KEY = "api_key"
    """With a key."""
    MTLS = "mtls"
    """With a certificate."""


def _exactly_one(given: dict[str, object], what: str) -> None:
    names = [name for name, value in given.items() if value]
    if len(names) != 1:
        found = "none is given" if not names else "given are " + ", ".join(names)
        raise fault(f"{what} needs exactly one of {', '.join(given)}; {found}", "write exactly one of them")


@record
class ClientAuth:
    """Credentials of the reference runtime's connection."""

    type: AuthType = AuthType.NONE
    api_key: Text = Field(default="", repr=False)
    api_key_env: Text = ""
    api_key_file: Text = ""
    cert_file: Text = ""
    cert_pem: Text = Field(default="", repr=False)
    key_file: Text = ""
    key_pem: Text = Field(default="", repr=False)
    key_pem_env: Text = ""

    @model_validator(mode="after")
    def _check_fields(self) -> ClientAuth:
        if self.type is AuthType.API_KEY:
            keys: dict[str, object] = {
                "api_key": self.api_key,
                "api_key_env": self.api_key_env,
                "api_key_file": self.api_key_file,
            }
            _exactly_one(keys, "auth.type api_key")
        if self.type is AuthType.MTLS:
            _exactly_one({"cert_file": self.cert_file, "cert_pem": self.cert_pem}, "auth.type mtls")
            private: dict[str, object] = {
                "key_file": self.key_file,
                "key_pem": self.key_pem,
                "key_pem_env": self.key_pem_env,
            }
            _exactly_one(private, "auth.type mtls")
        return self


@record
class ClientTls:
    """Encryption of the reference runtime's connection."""

    enabled: Boolean = False
    ca_file: Text = ""
    server_name: Text = ""
    insecure_skip_verify: Boolean = False

    @model_validator(mode="after")
    def _check_fields(self) -> ClientTls:
        if self.server_name and self.insecure_skip_verify:
            raise fault("server_name has no meaning with insecure_skip_verify", "remove one of them")
        return self


@record
class HealthCheck:
    """Health check of the reference runtime's connection."""

    enabled: Boolean = False
    interval: PositiveDurationMs = 30_000


@record
class CeleryClient(Entry):
    """What workers have in common: the namespace of their runs and the prefix of their queues.

    The connection is the Celery application's; the other fields are checked and have no effect.

    Attributes:
        run_namespace: ``namespace:`` in the file; separates the runs of one Redis by a prefix of all keys.
        tq_prefix: Prefix of all task queue names.
    """

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset(
        {
            "address",
            "connection_timeout",
            "keep_alive_time",
            "keep_alive_timeout",
            "auth",
            "tls",
            "health_check",
        }
    )

    run_namespace: Name = Field(default="default", validation_alias="namespace")
    tq_prefix: Text = ""
    address: Name | None = None
    connection_timeout: PositiveDurationMs = 10_000
    keep_alive_time: PositiveDurationMs = 30_000
    keep_alive_timeout: PositiveDurationMs = 10_000
    auth: ClientAuth = Field(default_factory=ClientAuth)
    tls: ClientTls = Field(default_factory=ClientTls)
    health_check: HealthCheck = Field(default_factory=HealthCheck)
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    @model_validator(mode="after")
    def _check_address(self) -> CeleryClient:
        if self.kind == "temporal.client" and self.address is None:
            raise fault(
                "address is required", "write 'address: host:port', or make it a celery.client", field="address"
            )
        return self

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from self.lifecycle.links()


_SIZES = (
    "max_concurrent_activity_execution_size",
    "max_concurrent_workflow_task_execution_size",
    "max_concurrent_local_activity_execution_size",
    "max_concurrent_session_execution_size",
)
_DEFAULT_SIZE = 1000


@record
class WorkerOptions:
    """Limits of a worker. Times are in milliseconds; a rate of 0 is no limit."""

    max_concurrent_activity_execution_size: Integer = _DEFAULT_SIZE
    max_concurrent_workflow_task_execution_size: Integer = _DEFAULT_SIZE
    max_concurrent_local_activity_execution_size: Integer = _DEFAULT_SIZE
    max_concurrent_session_execution_size: Integer = _DEFAULT_SIZE
    max_concurrent_eager_activity_execution_size: Integer = 0
    max_concurrent_activity_task_pollers: Integer = Field(default=20, ge=0)
    max_concurrent_workflow_task_pollers: Integer = Field(default=20, ge=0)
    worker_activities_per_second: Floating = Field(default=0.0, ge=0.0)
    worker_local_activities_per_second: Floating = Field(default=0.0, ge=0.0)
    task_queue_activities_per_second: Floating = Field(default=0.0, ge=0.0)
    sticky_schedule_to_start_timeout: PositiveDurationMs = 5_000
    worker_stop_timeout: PositiveDurationMs = 0
    deadlock_detection_timeout: PositiveDurationMs = 0
    max_heartbeat_throttle_interval: PositiveDurationMs = 0
    default_heartbeat_throttle_interval: PositiveDurationMs = 0
    identity: Text = ""
    deployment_name: Text = ""
    build_id: Text = ""
    build_id_env: Text = ""
    use_versioning: Boolean = False
    enable_logging_in_replay: Boolean = False
    enable_session_worker: Boolean = False
    disable_workflow_worker: Boolean = False
    local_activity_worker_only: Boolean = False
    disable_eager_activities: Boolean = False
    disable_registration_aliasing: Boolean = False
    default_versioning_behavior: VersioningBehavior | None = None

    @field_validator(*_SIZES, mode="after")
    @classmethod
    def _default_size(cls, value: int) -> int:
        return value if value > 0 else _DEFAULT_SIZE

    @field_validator("max_concurrent_workflow_task_pollers", mode="after")
    @classmethod
    def _not_one(cls, value: int) -> int:
        if value == 1:
            raise fault("must not be exactly 1", "write 2 or more, or leave it out")
        return value

    @model_validator(mode="after")
    def _check_roles(self) -> WorkerOptions:
        if self.disable_workflow_worker and self.local_activity_worker_only:
            raise fault(
                "disable_workflow_worker and local_activity_worker_only exclude each other", "remove one of them"
            )
        return self


@record
class CeleryWorker(Entry):
    """A task queue with the workflows and activities served on it; a host to spawn workflows on.

    Attributes:
        client: Gives namespace and queue prefix.
        task_queue: Name of the queue, before the client's prefix.
    """

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset(
        f"worker_options.{name}"
        for name in (
            "max_concurrent_session_execution_size",
            "max_concurrent_activity_task_pollers",
            "max_concurrent_workflow_task_pollers",
            "sticky_schedule_to_start_timeout",
            "deadlock_detection_timeout",
            "max_heartbeat_throttle_interval",
            "default_heartbeat_throttle_interval",
            "identity",
            "deployment_name",
            "enable_session_worker",
            "disable_registration_aliasing",
        )
    )

    client: Reference
    task_queue: Name
    worker_options: WorkerOptions = Field(default_factory=WorkerOptions)
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield Link(field="client", target=self.client, kinds=CLIENT_KINDS, wanted="a celery.client entry")
        yield from self.lifecycle.links()
