"""Whether the services come up that the boot of a worker needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestration.core.supervision import State
from orchestration.host.ward import Ward, now_ms

__all__ = ["Boot"]

_CURE: Final = "mend that, or give it 'startup: optional'"


class Boot:
    """The boot of one node: over for a service when that has started once, failed when it can not be started in time.

    A service that waits for another is not waited for: the other is needed itself, or is the matter of another worker.

    Args:
        needed: Services that have to start.
    """

    def __init__(self, needed: Mapping[str, Ward]) -> None:
        self._open: dict[str, Ward] = dict(needed)
        self._late_ms: dict[str, int] = {}
        self._looked_ms = now_ms()

    def look(self, wards: Mapping[str, Ward]) -> tuple[str, str] | None:
        """Where it stands.

        Args:
            wards: All services that the node looks after.

        Returns:
            The service that has made it fail, and why; None: none has so far.
        """
        self._looked_ms = now_ms()
        for id_, ward in list(self._open.items()):
            service = ward.service
            if wards.get(id_) is not ward or ward.has_started or service.state in (State.STOPPING, State.STOPPED):
                del self._open[id_]
            elif service.waits_for:
                if service.state is State.FAILED:
                    del self._open[id_]
            elif not ward.attempts:
                if service.state is State.FAILED:  # it failed under another worker, whose delay goes on
                    del self._open[id_]
            else:
                late_ms = self._late_ms.setdefault(id_, self._looked_ms + service.policy.start_timeout_ms)
                if service.state is State.FAILED and (service.is_at_rest or self._looked_ms >= late_ms):
                    self._open.clear()
                    return id_, f"{service.reason}; {_CURE}"
        return None

    @property
    def due_ms(self) -> int | None:
        """When to look again, should nothing happen before, or to have done so; None: nothing comes of time alone."""
        times = [self._late_ms[id_] for id_ in self._open if id_ in self._late_ms]
        return min((time for time in times if time > self._looked_ms), default=None)
