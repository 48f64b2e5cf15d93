"""The verbs of a client that are about schedules."""

from __future__ import annotations

from orchestration.client.schedules import ScheduleDescription, ScheduleHandle, create_schedule, list_schedules
from orchestration.client.verbs import Verbs
from orchestration.core.checks import check_text
from orchestration.core.schedule import ScheduleAction, SchedulePolicy, ScheduleSpec

__all__ = ["ScheduleVerbs"]


class ScheduleVerbs(Verbs):
    """What a :class:`~orchestration.client.Client` does with schedules."""

    def create_schedule(
        self, id: str, *, spec: ScheduleSpec, action: ScheduleAction, policy: SchedulePolicy | None = None,  # noqa: A002
        paused: bool = False, note: str = "",
    ) -> ScheduleHandle:  # fmt: skip
        """Make a schedule: a workflow that is started again and again, by whichever worker is there.

        Args:
            id: Its name, 1 to 255 bytes without control characters.
            spec: When it is due.
            action: What it starts.
            policy: What it does when runs meet, when it is late and when a run fails; None: the defaults.
            paused: It starts nothing before it is resumed.
            note: Why, for people.

        Returns:
            Its handle.

        Raises:
            ScheduleAlreadyExistsError: One with this id exists.
            EntryNotFoundError: No workflow has the action's type.
            PayloadTooLargeError: The arguments are above the limit.
            ValueError: The id is none.
            StoreUnavailableError: Redis does not answer.
        """
        return create_schedule(
            self._runtime, self.namespace, id, spec=spec, action=action, policy=policy, paused=paused, note=note
        )

    def get_schedule(self, id: str) -> ScheduleHandle:  # noqa: A002
        """Handle of a schedule; whether it exists is seen at the first call on it.

        Args:
            id: Its name.
        """
        return ScheduleHandle(self._runtime, self.namespace, check_text("a schedule id", id))

    def list_schedules(self, *, prefix: str = "", after: str = "", limit: int = 100) -> list[ScheduleDescription]:
        """Schedules in the order of their ids.

        Args:
            prefix: Only those whose id begins with it.
            after: Only those behind this id: the last one of the page before.
            limit: Most schedules returned.

        Returns:
            What each is and where it stands.
        """
        return list_schedules(self._runtime, self.namespace, prefix=prefix, after=after, limit=limit)
