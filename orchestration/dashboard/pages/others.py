"""Parked runs, schedules, processes and services."""

from __future__ import annotations

from typing import Any, Final

from orchestration.cli.schedules.texts import rules_text, state_text
from orchestration.dashboard.pages.showing import Showing

__all__ = ["ParkedPage", "ProcessesPage", "SchedulesPage"]

_PAGE: Final = 50
_MOST_PROCESSES: Final = 500


class ParkedPage(Showing):
    """Runs that wait for an operator, and how many are kept by what."""

    section = "parked"

    async def get(self) -> None:
        """Show it."""
        cursor = self.text("cursor")

        def read() -> dict[str, Any]:
            page = self.reader.page("", {"status": "parked"}, size=_PAGE, cursor=cursor)
            return {"runs": list(page), "next": page.cursor, "kinds": self.reader.parked(), "cursor": cursor}

        found = await self.in_thread(read)
        self.show("parked", live=self.here(cursor=cursor), total=sum(found["kinds"].values()), **found)


class SchedulesPage(Showing):
    """Schedules, with their next times and last actions."""

    section = "schedules"

    async def get(self) -> None:
        """Show it."""
        prefix, after = self.text("id"), self.text("after")
        found = await self.in_thread(self.reader.schedules, prefix=prefix, after=after, limit=_PAGE)
        self.show(
            "schedules", schedules=found, prefix=prefix, after=after, live=self.here(id=prefix, after=after),
            next=found[-1].id if len(found) == _PAGE else "", rules_text=rules_text, state_text=state_text,
        )  # fmt: skip


class ProcessesPage(Showing):
    """Processes and the services that keep some of them alive."""

    section = "processes"

    async def get(self) -> None:
        """Show it."""
        host = self.text("host")

        def read() -> tuple[Any, Any]:
            return self.reader.processes(host), self.reader.services()

        processes, services = await self.in_thread(read)
        self.show(
            "processes", processes=processes[:_MOST_PROCESSES], total=len(processes), services=services, host=host,
            live=self.here(host=host),
        )  # fmt: skip
