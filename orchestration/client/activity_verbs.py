"""The verbs of a client that are about activities whose bodies have ended before they are done."""

from __future__ import annotations

from typing import Any

from orchestration.client.verbs import Verbs
from orchestration.tasks.external import ExternalActivity

__all__ = ["ActivityVerbs"]


class ActivityVerbs(Verbs):
    """What a :class:`~orchestration.client.Client` does with activities, by their tokens."""

    def complete_activity(self, token: str, result: Any = None) -> None:
        """Give an activity its result, from anywhere; stored when this returns. Safe to repeat.

        Args:
            token: What ``activity.token()`` gave to its body.
            result: As if the body had returned it.

        Raises:
            ActivityTokenError: It is no token of this application; kind ``Invalid``.
            ActivityClosedError: The attempt is not open any more (kind ``Conflict``), or its run is not known any more
                (kind ``NotFound``).
            EncodeError: The result cannot be carried.
            PayloadTooLargeError: The result is above the limit.
        """
        self._external(token).complete(result)

    def fail_activity(self, token: str, error: BaseException | str) -> None:
        """Report that an activity attempt has failed, as if its body had raised; the retry policy decides what follows.

        Stored when this returns. Safe to repeat.

        Args:
            token: What ``activity.token()`` gave to its body.
            error: An ``ApplicationError`` chooses kind, message, retryable and details; text is the message of one.

        Raises:
            ActivityTokenError: As :meth:`complete_activity`.
            ActivityClosedError: As :meth:`complete_activity`.
        """
        self._external(token).fail(error)

    def heartbeat_activity(self, token: str, details: Any = None) -> None:
        """Say that somebody is at work on an activity whose body has ended with ``activity.complete_later()``.

        Args:
            token: What ``activity.token()`` gave to its body.
            details: Progress, given to the next attempt; None leaves it as it is.

        Raises:
            activity.Cancelled: The workflow asks it to stop and waits: clean up, then :meth:`fail_activity` with this.
            ActivityTokenError: As :meth:`complete_activity`.
            ActivityClosedError: As :meth:`complete_activity`.
        """
        self._external(token).heartbeat(details)

    def _external(self, token: str) -> ExternalActivity:
        self._orchestration.app.finalize()
        return ExternalActivity(self._orchestration.parts, token)
