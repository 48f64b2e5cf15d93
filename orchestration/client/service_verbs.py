"""The verbs of a client that are about services."""

from __future__ import annotations

from datetime import timedelta

from orchestration.client.services import ServiceDescription, change_service, forget_service, list_services
from orchestration.client.verbs import Verbs

__all__ = ["ServiceVerbs"]


class ServiceVerbs(Verbs):
    """What a :class:`~orchestration.client.Client` does with services."""

    def list_services(self) -> list[ServiceDescription]:
        """Supervised services in the order of their ids; with scope ``worker`` each of their instances."""
        return list_services(self._runtime, self.namespace)

    def start_service(self, id: str, *, wait: bool = False, timeout: float | timedelta | None = None) -> None:  # noqa: A002
        """Let a service run from now on, also one that does not start by itself or has been stopped.

        It holds until it is stopped again, whatever becomes of the workers. One that waits for its next attempt, has
        given up or has ended is started at once.

        Args:
            id: Of its entry.
            wait: Return when it runs, not when that is asked for.
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Raises:
            EntryNotFoundError: There is no such service.
            OrchestrationError: It has given up, or ended.
            TimeoutError: It does not run yet; the message says where it stands.
        """
        change_service(self._runtime, self.namespace, id, "run", wait=wait, timeout=timeout)

    def stop_service(self, id: str, *, wait: bool = False, timeout: float | timedelta | None = None) -> None:  # noqa: A002
        """Stop a service and keep it stopped until it is started again, whatever becomes of the workers.

        Args:
            id: Of its entry.
            wait: Return when it has ended, not when that is asked for.
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Raises:
            EntryNotFoundError: There is no such service.
            TimeoutError: It has not ended yet; the message says where it stands.
        """
        change_service(self._runtime, self.namespace, id, "stop", wait=wait, timeout=timeout)

    def restart_service(self, id: str, *, wait: bool = False, timeout: float | timedelta | None = None) -> None:  # noqa: A002
        """Stop a service, if it runs, and start it; one that has given up or ended is started too.

        Args:
            id: Of its entry.
            wait: Return when it runs again, not when that is asked for.
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Raises:
            EntryNotFoundError: There is no such service.
            OrchestrationError: It has given up, or ended.
            TimeoutError: It does not run yet; the message says where it stands.
        """
        change_service(self._runtime, self.namespace, id, "restart", wait=wait, timeout=timeout)

    def forget_service(self, id: str) -> bool:  # noqa: A002
        """Remove what is kept of a service, the wishes of operators included. One that is defined begins afresh.

        Args:
            id: Of its entry, which may be gone.

        Returns:
            Whether that was done; False: a worker looks after it.

        Raises:
            EntryNotFoundError: There is no such service.
        """
        return forget_service(self._runtime, self.namespace, id)
