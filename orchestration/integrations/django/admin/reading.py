"""What the pages about runs read, through the client."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any, Final

from orchestration.client import Client, Description, WorkflowHandle
from orchestration.core.export import as_json, explain_event
from orchestration.core.timeline import read_timeline
from orchestration.dashboard.picture import Picture, make_picture
from orchestration.errors import OrchestrationError
from orchestration.store.statuses import STATUSES

__all__ = ["PERIODS", "RunPage", "list_page", "run_page"]

PERIODS: Final = {"1h": ("the last hour", dt.timedelta(hours=1)), "1d": ("the last day", dt.timedelta(days=1)),
                  "7d": ("the last 7 days", dt.timedelta(days=7))}  # fmt: skip
STATES: Final = ("open", "closed", *STATUSES)
_PAGE: Final = 50
_EVENTS: Final = 100
_MOST_EVENTS: Final = 20_000
_MOST_SHOWN: Final = 64 * 1024
_MOST_BRIEF: Final = 240


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One event: its number, name, time (None for commands) and facts."""

    number: int
    name: str
    time: dt.datetime | None
    facts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """All that the page of a run shows.

    Attributes:
        seen: Where it stands.
        picture: Its timeline, as Flower's pages have it; None while nothing has happened.
        too_long: The timeline is that of its first events only.
        history: A page of its history.
        earlier: Where the events before these begin; None when there are none.
        later: Where the events behind these begin; None when there are none.
        input: Its arguments as JSON.
        ending: How it ended as JSON; empty while it is open.
    """

    seen: Description
    picture: Picture | None
    too_long: bool
    history: list[HistoryRow]
    earlier: int | None
    later: int | None
    input: str = ""
    ending: str = ""


def list_page(client: Client, asked: dict[str, str]) -> dict[str, Any]:
    """A page of runs.

    Raises:
        ValueError: A condition cannot be asked; the message says why.
    """
    filters: dict[str, Any] = {}
    if asked["status"]:
        filters["status"] = asked["status"]
    if asked["type"]:
        filters["type"] = asked["type"]
    if asked["q"]:
        filters["id_prefix"] = asked["q"]
    if asked["since"] in PERIODS:
        filters["started_after"] = PERIODS[asked["since"]][1]
    page = client.list_workflows(asked["where"] or None, page_size=_PAGE, cursor=asked["cursor"], **filters)
    return {"runs": list(page), "cursor": page.cursor, "counts": client.count_workflows()}


def run_page(handle: WorkflowHandle, *, after: int | None, with_data: bool) -> RunPage:
    """Everything about a run.

    Args:
        handle: Of the run.
        after: Number of events before those of the history that are shown; None: the last ones are.
        with_data: Inputs, results, errors and the facts of events are shown.
    """
    seen = handle.describe()
    total = seen.history_length
    start = max(total - _EVENTS, 0) if after is None else max(min(after, total - 1), 0)
    timeline = read_timeline(handle.raw_history(stop=_MOST_EVENTS))
    if not with_data:
        for lane in timeline.lanes:
            lane.error = ""
    shown = handle.raw_history(start=start, stop=start + _EVENTS)
    first = list(handle.raw_history(stop=1)) if with_data else []
    last = list(handle.raw_history(start=total - 1)) if with_data and total and seen.closed_ms else []
    now_ms = int(time.time() * 1000)
    return RunPage(
        seen=seen, picture=make_picture(timeline, seen, now_ms=now_ms) if timeline.started_ms else None,
        too_long=total > _MOST_EVENTS,
        history=[_event(number, raw, with_data=with_data) for number, raw in enumerate(shown, start + 1)],
        earlier=max(start - _EVENTS, 0) if start else None,
        later=start + _EVENTS if start + _EVENTS < total else None,
        input=_shown(first[0], "args") if first else "",
        ending=_shown(last[-1], "result", "failure", "reason") if last else "",
    )  # fmt: skip


def _event(number: int, raw: bytes, *, with_data: bool) -> HistoryRow:
    name, time_ms, facts = explain_event(raw)
    text = as_json(facts)[1:-1] if with_data else ""
    when = dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC) if time_ms else None
    return HistoryRow(number, name, when, text if len(text) <= _MOST_BRIEF else f"{text[:_MOST_BRIEF]} …")


def _shown(raw: bytes, *names: str) -> str:
    try:
        _, _, facts = explain_event(raw)
    except OrchestrationError as error:
        return f"cannot be read: {error}"
    for name in names:
        if name in facts:
            return as_json(facts[name], indent=2)[:_MOST_SHOWN]
    return ""
