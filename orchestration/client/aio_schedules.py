"""Schedules for asyncio: each verb runs the synchronous one in a thread."""

from __future__ import annotations

import asyncio
import datetime as dt

from orchestration.client.schedules import ScheduleDescription, ScheduleHandle
from orchestration.core.schedule import ScheduleAction, SchedulePolicy, ScheduleSpec

__all__ = ["AsyncScheduleHandle"]


class AsyncScheduleHandle:
    """A schedule, see :class:`~orchestration.client.ScheduleHandle`.

    Args:
        handle: The synchronous handle.
    """

    def __init__(self, handle: ScheduleHandle) -> None:
        self._handle = handle
        self.id = handle.id

    async def describe(self) -> ScheduleDescription:
        """What it is and where it stands."""
        return await asyncio.to_thread(self._handle.describe)

    async def pause(self, note: str = "") -> None:
        """Start nothing of its own accord any more."""
        await asyncio.to_thread(self._handle.pause, note)

    async def resume(self, note: str = "") -> None:
        """Go on with the times that come from now on."""
        await asyncio.to_thread(self._handle.resume, note)

    async def trigger(self, overlap: str | None = None) -> None:
        """Take the action once, as soon as a worker looks."""
        await asyncio.to_thread(self._handle.trigger, overlap)

    async def backfill(self, start: dt.datetime, end: dt.datetime, overlap: str = "buffer_all") -> None:
        """Take the action for every time of a stretch of the past."""
        await asyncio.to_thread(self._handle.backfill, start, end, overlap)

    async def update(
        self, *, spec: ScheduleSpec | None = None, action: ScheduleAction | None = None,
        policy: SchedulePolicy | None = None,
    ) -> None:  # fmt: skip
        """Change what it is, from now on."""
        await asyncio.to_thread(self._handle.update, spec=spec, action=action, policy=policy)

    async def delete(self) -> None:
        """Forget the schedule; its runs are left alone."""
        await asyncio.to_thread(self._handle.delete)
