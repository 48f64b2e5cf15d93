"""Message queues and their consumers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field, field_validator

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import Boolean, FrozenMap, Integer, Name, Reference, fault, record
from orchestration.registry.kinds.lifecycle import Lifecycle

__all__ = ["DeadLetter", "Queue", "QueueConsumer", "QueueDriver"]

CODECS = ("json/plain", "application/msgpack", "yaml/plain", "text/plain", "application/octet-stream")


@record
class QueueDriver(Entry):
    """Queues at the application's broker."""

    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from self.lifecycle.links()


@record
class DeadLetter:
    """What becomes of messages that fail too often.

    Attributes:
        queue: Where they go; None: nowhere, they are thrown away and said to be.
        max_attempts: After so many attempts; 0: they are tried for ever.
    """

    queue: Reference | None = None
    max_attempts: Integer = Field(default=0, ge=0)


@record
class Queue(Entry):
    """A queue.

    Attributes:
        queue_name: Name at the driver; None is the entry's name.
        driver_options: Options of drivers, by the driver's name.
    """

    driver: Reference
    queue_name: Name | None = None
    codec: Name = "json/plain"
    dead_letter: DeadLetter = Field(default_factory=DeadLetter)
    driver_options: FrozenMap = Field(default_factory=dict)

    @property
    def max_length(self) -> int | None:
        """Most messages that may wait, if the driver's options say so."""
        for options in self.driver_options.values():
            found = options.get("max_length") if isinstance(options, Mapping) else None
            if isinstance(found, int) and not isinstance(found, bool) and found > 0:
                return found
        return None

    @field_validator("codec", mode="after")
    @classmethod
    def _known_codec(cls, value: str) -> str:
        if value not in CODECS:
            raise fault("there is no such codec", "use one of " + ", ".join(CODECS))
        return value

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield Link(field="driver", target=self.driver, kinds=("queue.driver.*",), wanted="a queue.driver entry")
        if self.dead_letter.queue is not None:
            yield _queue_link("dead_letter.queue", self.dead_letter.queue)


def _queue_link(field: str, target: Reference) -> Link:
    return Link(field=field, target=target, kinds=("queue.queue",), wanted="a queue.queue entry")


@record
class QueueConsumer(Entry):
    """Calls a function for each message of a queue.

    Attributes:
        concurrency: Messages handled at once.
        prefetch: Messages taken ahead.
        auto_ack: Whether a message is settled before the function runs.
    """

    queue: Reference
    func: Reference
    concurrency: Integer = Field(default=1, ge=1, le=1000)
    prefetch: Integer = Field(default=10, ge=1, le=10_000)
    auto_ack: Boolean = False
    driver_options: FrozenMap = Field(default_factory=dict)
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield _queue_link("queue", self.queue)
        yield Link(field="func", target=self.func, kinds=("function.*", "process.lua"), wanted="a function entry")
        yield from self.lifecycle.links()
