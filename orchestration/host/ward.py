"""A service that this node looks after: its process, and what becomes of it."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from orchestration.core import payload
from orchestration.core.supervision import Do, Ending, Service, State
from orchestration.host import cell as cells
from orchestration.host.spawning import SpawnRequest
from orchestration.modules.permissions import service_identity
from orchestration.registry import Registry
from orchestration.registry.fields import thaw
from orchestration.registry.kinds.lifecycle import Startup
from orchestration.registry.kinds.processes import ProcessPython, ProcessService
from orchestration.registry.services import policy_of
from orchestration.store.services import ServiceRecord

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Ward", "digest_of", "now_ms"]

logger = logging.getLogger(__name__)

STOP_REASON: Final = "service stopping"


def now_ms() -> int:
    """The clock of this process, which nobody sets."""
    return time.monotonic_ns() // 1_000_000


class Ward:
    """One service on this node, from the taking of its lease to its giving up.

    Args:
        node: Where it runs.
        entry: What it is.
        record: As it was taken.
        later: Does something in the supervisor's thread, soon.

    Attributes:
        holder: Id under which the node has taken the lease.
        service: Where it stands.
        pid: Address of its process; empty: there is none.
        seen: Number of the last wish that was acted on.
        is_leaving: It has been stopped because its worker stops.
        told: Where it stood when the store was told last.
        attempts: Processes that were to be started here.
        has_started: One of them has been.
    """

    def __init__(
        self, node: Node, entry: ProcessService, record: ServiceRecord, later: Callable[[Callable[[], None]], None]
    ) -> None:
        self._node = node
        self._later = later
        self.entry = entry
        self.record = record
        self.holder = record.owner
        self.seen = record.seen
        self.pid = ""
        self.is_leaving = False
        self.told: tuple[Service, str, int] | None = None
        self.attempts = 0
        self.has_started = False
        self._settled = 0
        self.service = Service(
            policy=policy_of(entry.lifecycle), failures=record.failures, runs=record.runs, error=record.error
        )

    def move(self, moved: tuple[Service, Do]) -> None:
        """Go on as the service says."""
        before, (self.service, do) = self.service, moved
        if not self.service.is_alive or do is Do.START:
            self._settled = self.attempts  # whatever still comes of an earlier process is late
            self.pid = ""
        if (before.state, before.reason) != (self.service.state, self.service.reason):
            self._log()
        if do is Do.START:
            self._start()
        elif do is Do.CANCEL and self.pid:
            self._cancel()
        elif do is Do.TERMINATE:
            self.terminate()

    def tick(self) -> None:
        """Time has passed."""
        self.move(self.service.tick(now_ms(), chance=random.random()))

    def terminate(self) -> None:
        """End its process without running its code again."""
        cell = self._node.find(self.pid) if self.pid else None
        if cell is not None:
            self._node.terminate(cell)
        elif self.service.is_alive:  # it was never there
            self._ended(self.attempts, Ending(error="process terminated"))

    # What comes of a process ----------------------------------------------------------------------

    def _start(self) -> None:
        self.attempts += 1
        attempt = self.attempts
        entry = self.entry
        try:
            policies = self._node.runtime.registry.policies
            request = SpawnRequest(
                entry_id=entry.process, host=entry.host, args=payload.encode(thaw(list(entry.input))),
                context={"service.id": entry.id, "service.fence": self.record.fence},
                identity=service_identity(policies, entry.lifecycle.security),
            )  # fmt: skip
            self._node.spawning.spawn(
                request,
                lambda ok, value: self._later(lambda: self._answered(attempt, ok, value)),
                on_end=lambda ending: self._later(lambda: self._ended(attempt, _ending(ending))),
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again as the policy says
            text = f"{type(error).__name__}: {error}"
            self._later(lambda: self._answered(attempt, False, payload.encode_failure(text, kind="Internal")))

    def _answered(self, attempt: int, ok: bool, value: bytes) -> None:
        if attempt <= self._settled or attempt != self.attempts:
            late = self._node.find(str(payload.decode(value))) if ok else None
            if late is not None:
                self._node.terminate(late)
            return
        if not ok:
            error = str(payload.decode_failure(value)["message"])
            self._settled = attempt
            self.move(self.service.start_failed(now_ms(), error, chance=random.random()))
            return
        self.pid = str(payload.decode(value))
        self.has_started = True
        if self.service.state is State.STOPPING:
            self._cancel()
        else:
            self.move((self.service.started(now_ms()), Do.NOTHING))

    def _ended(self, attempt: int, ending: Ending) -> None:
        if attempt <= self._settled or attempt != self.attempts:
            return
        self._settled = attempt
        self.has_started = True
        self.move(self.service.started(now_ms()).ended(now_ms(), ending, chance=random.random()))

    def _cancel(self) -> None:
        cell = self._node.find(self.pid)
        if cell is not None:
            self._node.cancel(cell, STOP_REASON, "")

    # What others see ----------------------------------------------------------------------

    def fields(self) -> dict[str, str | int]:
        """Where it stands, as the store takes it."""
        service = self.service
        return {
            "state": service.state.value, "reason": service.reason[:1000], "error": service.error[:1000],
            "failures": service.failures, "runs": service.runs, "pid": self.pid, "seen": self.seen,
        }  # fmt: skip

    @property
    def age_ms(self) -> int:
        """For how long it has stood there."""
        return now_ms() - self.service.since_ms

    @property
    def due_in_ms(self) -> int | None:
        """When the next attempt is, from now; None: none comes by itself."""
        service = self.service
        return None if service.state is not State.FAILED or service.due_ms is None else service.due_ms - now_ms()

    def _log(self) -> None:
        service = self.service
        level = logging.INFO
        if service.state is State.FAILED:
            is_needed = self.entry.lifecycle.startup is Startup.REQUIRED
            level = logging.ERROR if service.is_at_rest and is_needed else logging.WARNING
        facts: dict[str, Any] = {
            "service": self.entry.id, "state": service.state.value, "reason": service.reason, "runs": service.runs,
            "failures": service.failures, "node": self.holder, "process_id": self.pid,
        }  # fmt: skip
        logger.log(level, "service %s is %s: %s", self.entry.id, service.state.value, service.reason, extra=facts)


def digest_of(entry: ProcessService, registry: Registry) -> str:
    """SHA-256 of a service's definition and code."""
    process = registry.get(entry.process)
    code = thaw(process.data) if isinstance(process, ProcessPython) else registry.bundle(entry.process).digest
    parts = [thaw(entry.data), code]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _ending(ending: cells.Ending) -> Ending:
    if ending.ok:
        return Ending()
    failure = payload.decode_failure(ending.value)
    retryable = failure.get("retryable")
    return Ending(
        error=str(failure["message"]), retryable=retryable if isinstance(retryable, bool) else None,
        cancelled=failure["kind"] == "Canceled",
    )  # fmt: skip
