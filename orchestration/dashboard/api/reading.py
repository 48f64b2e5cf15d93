"""Routes that read."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from orchestration.cli.schedules.texts import facts as schedule_facts
from orchestration.client.listing import Filters
from orchestration.dashboard.access import ApiHandler
from orchestration.dashboard.api.facts import event_facts, outcome_of, run_facts, run_facts_of_list
from orchestration.dashboard.api.operations import NAMESPACE, RUN, TEXT, operation
from orchestration.dashboard.api.start import Starting

__all__ = [
    "CountsApi", "HistoryApi", "ProcessesApi", "RunApi", "RunsApi", "ScheduleApi", "SchedulesApi", "ServicesApi",
    "TimelineApi", "TypesApi",
]  # fmt: skip

_WHERE: Final = ("where", "Conditions combined by `and`, such as `status = \"failed\" and amount > 100`.", TEXT)
_FILTERS: Final = (
    ("status", "`open`, `closed`, or a status such as `parked` or `completed`.", TEXT),
    ("type", "Entry id of the workflow.", TEXT),
    ("id_prefix", "Beginning of the workflow id.", TEXT),
    _WHERE,
    ("namespace", "Only this namespace. Left out: all of the application.", TEXT),
)
_LIST: Final = {"type": "array", "items": {"type": "object"}}


def _limit(most: int, default: int) -> tuple[str, str, dict[str, Any]]:
    return (
        "limit", "Most items of the answer.", {"type": "integer", "minimum": 1, "maximum": most, "default": default},
    )  # fmt: skip


class RunsApi(Starting):
    """``/api/workflows``"""

    @operation(
        summary="List runs, the latest first",
        query=(*_FILTERS, _limit(1000, 100), ("cursor", "Of the page before, to go on after it.", TEXT)),
        answer="A page of runs. It may be short, or empty, and have a cursor: then the next page goes on.",
        schema={"type": "object", "properties": {"runs": _LIST, "cursor": TEXT}, "required": ["runs", "cursor"]},
    )
    async def get(self) -> None:
        """List runs."""
        size = self.count("limit", 100, 1, 1000)
        where, namespace = self.text("where"), self.text("namespace")
        page = await self.in_thread(
            self.reader.page, where, _filters(self), size=size, cursor=self.text("cursor"), namespace=namespace
        )
        self.answer({"runs": [run_facts_of_list(seen) for seen in page], "cursor": page.cursor})


def _filters(handler: ApiHandler) -> Filters:
    return {
        "status": handler.text("status") or None, "type": handler.text("type") or None,
        "id_prefix": handler.text("id_prefix") or None,
    }  # fmt: skip


class CountsApi(ApiHandler):
    """``/api/workflows/counts``"""

    @operation(
        summary="Count runs",
        query=(
            ("by", "What is counted.", {"type": "string", "enum": ["group", "status", "type"], "default": "group"}),
            *_FILTERS,
        ),
        answer="Number of runs by name. Parked runs are among the open ones.",
        schema={"type": "object", "additionalProperties": {"type": "integer"}},
    )
    async def get(self) -> None:
        """Count runs."""
        by, where, namespace = self.text("by", "group"), self.text("where"), self.text("namespace")
        self.answer(await self.in_thread(self.reader.counts, by, where, namespace, **_filters(self)))


class TypesApi(ApiHandler):
    """``/api/workflows/types``"""

    @operation(
        summary="List the workflows that this application can start",
        answer="Entry ids.",
        schema={"type": "object", "properties": {"types": {"type": "array", "items": TEXT}}},
    )
    async def get(self) -> None:
        """List types."""
        self.answer({"types": await self.in_thread(self.reader.types)})


class RunApi(ApiHandler):
    """``/api/workflows/runs/{id}``"""

    @operation(
        summary="Show where a run stands, and how it ended",
        query=(RUN, NAMESPACE),
        answer="The run; when it has ended its `result`, `failure` or `reason`.",
    )
    async def get(self, workflow_id: str) -> None:
        """Show a run."""

        def read() -> dict[str, Any]:
            handle, seen = self.reader.find(workflow_id, self.text("run"), self.text("namespace"))
            return run_facts(seen, outcome_of(handle, seen))

        self.answer(await self.in_thread(read))


class HistoryApi(ApiHandler):
    """``/api/workflows/runs/{id}/history``"""

    @operation(
        summary="List the events of a run, oldest first",
        query=(
            RUN, NAMESPACE,
            ("after", "Number of the last event of the page before.", {"type": "integer", "minimum": 0}),
            _limit(1000, 100),
        ),
        answer="Some events. `next` is what to give as `after`; null when there are no more.",
        schema={"type": "object", "properties": {"events": _LIST, "total": {"type": "integer"}}},
    )
    async def get(self, workflow_id: str) -> None:
        """List events."""
        after, size = self.count("after", 0, 0, 10**9), self.count("limit", 100, 1, 1000)

        def read() -> dict[str, Any]:
            handle, seen = self.reader.find(workflow_id, self.text("run"), self.text("namespace"))
            raws = handle.raw_history(start=after, stop=after + size)
            found = [event_facts(number, raw) for number, raw in enumerate(raws, after + 1)]
            last = after + len(found)
            return {
                "run_id": seen.run_id, "events": found, "total": seen.history_length,
                "next": last if found and last < seen.history_length else None,
            }  # fmt: skip

        self.answer(await self.in_thread(read))


class TimelineApi(ApiHandler):
    """``/api/workflows/runs/{id}/timeline``"""

    @operation(
        summary="Show what a run did as spans of time",
        query=(RUN, NAMESPACE),
        answer="Times, how it ended, and its lanes: activities, timers, children, signals, updates.",
    )
    async def get(self, workflow_id: str) -> None:
        """Show the timeline."""

        def read() -> dict[str, Any]:
            handle, seen = self.reader.find(workflow_id, self.text("run"), self.text("namespace"))
            return {"run_id": seen.run_id, **dataclasses.asdict(self.reader.timeline(handle, seen))}

        self.answer(await self.in_thread(read))


class SchedulesApi(ApiHandler):
    """``/api/workflows/schedules``"""

    @operation(
        summary="List schedules in the order of their ids",
        query=(("prefix", "Only those whose id begins with it.", TEXT),
               ("after", "Only those behind this id.", TEXT), NAMESPACE, _limit(1000, 100)),
        answer="A page of schedules. `next` is what to give as `after`; null when there are no more.",
        schema={"type": "object", "properties": {"schedules": _LIST}},
    )  # fmt: skip
    async def get(self) -> None:
        """List schedules."""
        size = self.count("limit", 100, 1, 1000)
        page = await self.in_thread(
            self.reader.schedules, prefix=self.text("prefix"), after=self.text("after"), limit=size,
            namespace=self.text("namespace"),
        )  # fmt: skip
        self.answer({
            "schedules": [schedule_facts(seen) for seen in page], "next": page[-1].id if len(page) == size else None,
        })  # fmt: skip


class ScheduleApi(ApiHandler):
    """``/api/workflows/schedules/{id}``"""

    @operation(summary="Show a schedule", query=(NAMESPACE,), answer="The schedule.")
    async def get(self, schedule_id: str) -> None:
        """Show a schedule."""
        _, seen = await self.in_thread(self.reader.schedule, schedule_id, self.text("namespace"))
        self.answer(schedule_facts(seen))


class ProcessesApi(ApiHandler):
    """``/api/workflows/processes``"""

    @operation(
        summary="List processes, the oldest first",
        query=(("host", "Only those of this host.", TEXT), _limit(10_000, 1000)),
        answer="The processes, and how many there are in all.",
        schema={"type": "object", "properties": {"processes": _LIST, "total": {"type": "integer"}}},
    )
    async def get(self) -> None:
        """List processes."""
        size = self.count("limit", 1000, 1, 10_000)
        found = await self.in_thread(self.reader.processes, self.text("host"))
        self.answer({"processes": [dataclasses.asdict(seen) for seen in found[:size]], "total": len(found)})


class ServicesApi(ApiHandler):
    """``/api/workflows/services``"""

    @operation(
        summary="List supervised services",
        answer="The services, or the instances of those that run on every worker.",
        schema={"type": "object", "properties": {"services": _LIST}},
    )
    async def get(self) -> None:
        """List services."""
        found = await self.in_thread(self.reader.services)
        self.answer({"services": [dataclasses.asdict(seen) for seen in found]})
