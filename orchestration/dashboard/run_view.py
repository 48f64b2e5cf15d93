"""All that a run's page shows, read in one go; cheap when nothing has changed since it was read last."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from orchestration.client import Description, Place, WorkflowHandle
from orchestration.core.export import as_json, explain_event
from orchestration.dashboard.markup import cut, failure_text, size_text
from orchestration.dashboard.picture import Picture, make_picture
from orchestration.dashboard.reader import MOST_EVENTS, Reader

__all__ = ["HistoryPage", "HistoryRow", "RunView", "SourcePlace", "TreeNode", "history_page", "version_of", "view_run"]

PAGE_EVENTS: Final = 100
_TICK_MS: Final = 20_000
"""How often the picture of an open run moves on though nothing has happened."""
_AROUND: Final = 7
_MOST_SHOWN: Final = 64 * 1024
_MOST_BRIEF: Final = 240
_MOST_LINES: Final = 5_000
_MOST_ANCESTORS: Final = 10
_MOST_CHILDREN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlace:
    """Where a coroutine stands, with the lines around it.

    Attributes:
        place: Where it stands.
        lines: Number, text, and whether it stands there.
        source: The whole file; empty when the code is not kept.
    """

    place: Place
    lines: tuple[tuple[int, str, bool], ...] = ()
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeNode:
    """A run in the tree of parents and children; ``run_id`` is empty for a child's latest."""

    workflow_id: str
    run_id: str
    type: str
    status: str
    depth: int
    is_here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One event.

    Attributes:
        number: Counted from 1.
        name: Of the event.
        time_ms: 0 for commands, which happen when the input above them does.
        brief: Its facts on one line.
        full: Its facts as JSON; empty when the line has them all.
    """

    number: int
    name: str
    time_ms: int
    brief: str
    full: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Some events of a history, oldest first.

    Attributes:
        rows: The events.
        after: Number of events before them.
        total: Number of events in all.
    """

    rows: tuple[HistoryRow, ...]
    after: int
    total: int

    @property
    def last(self) -> int:
        """Number of the last of these events."""
        return self.after + len(self.rows)

    @property
    def earlier(self) -> int | None:
        """Where the events before these begin; None when there are none."""
        return max(self.after - PAGE_EVENTS, 0) if self.after else None

    @property
    def later(self) -> int | None:
        """Where the events behind these begin; None when there are none."""
        return self.last if self.last < self.total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run.

    Attributes:
        seen: Where it stands.
        version: Changes when something of this does.
        places: Where its coroutines stand in their sources.
        picture: Its timeline; None when it has no events.
        input: Its arguments as JSON; empty when there are none yet.
        outcome: Name (result, failure, reason) and text of how it ended; empty while it is open.
        failure: Why it failed, in a line; empty when it did not.
        tree: Its parents, itself, its children.
        history: A page of its history.
        events_left_out: Events beyond those that the timeline is made of.
        children_left_out: Children beyond those in the tree.
    """

    seen: Description
    version: str
    places: tuple[SourcePlace, ...]
    picture: Picture | None
    input: str
    outcome: tuple[str, str]
    failure: str
    tree: tuple[TreeNode, ...]
    history: HistoryPage
    events_left_out: int = 0
    children_left_out: int = 0


def version_of(seen: Description, after: int | None = None) -> str:
    """A text that changes when there is something new to be shown of a run."""
    tick = 0 if seen.closed_ms else _now_ms() // _TICK_MS
    return hashlib.sha256(f"{seen!r}/{after}/{tick}".encode("utf-8", "backslashreplace")).hexdigest()[:24]


def view_run(reader: Reader, handle: WorkflowHandle, seen: Description, *, after: int | None = None) -> RunView:
    """Read what there is to be shown of a run.

    Args:
        reader: Reads it.
        handle: Of the run.
        seen: Where it stands.
        after: Number of events to leave out before those of the history that are shown; None: show the last ones.
    """
    timeline = reader.timeline(handle, seen) if seen.history_length else None
    children = [lane for lane in timeline.lanes if lane.kind == "child" and lane.target] if timeline else []
    picture = None
    if timeline is not None:
        picture = make_picture(timeline, seen, now_ms=_now_ms())
    nodes = _ancestors(reader, seen)
    here = TreeNode(workflow_id=seen.workflow_id, run_id=seen.run_id, type=seen.type, status=seen.status,
                    depth=len(nodes), is_here=True)  # fmt: skip
    below = [
        TreeNode(workflow_id=lane.target, run_id="", type=lane.name, depth=len(nodes) + 1,
                 status="running" if lane.outcome == "open" else lane.outcome)
        for lane in children[-_MOST_CHILDREN:]
    ]  # fmt: skip
    name, text, failure = _outcome(handle, seen)
    return RunView(
        seen=seen, version=version_of(seen, after), places=_places(reader, handle, seen), picture=picture,
        input=_input(handle, seen), outcome=(name, text), failure=failure, tree=(*nodes, here, *below),
        history=history_page(handle, seen, after), events_left_out=max(seen.history_length - MOST_EVENTS, 0),
        children_left_out=max(len(children) - _MOST_CHILDREN, 0),
    )  # fmt: skip


def history_page(handle: WorkflowHandle, seen: Description, after: int | None) -> HistoryPage:
    """Some events of a run: those behind so many, or the last ones."""
    total = seen.history_length
    latest = max(total - PAGE_EVENTS, 0)
    start = latest if after is None else min(after, latest)
    rows = tuple(
        _row(number, raw)
        for number, raw in enumerate(handle.raw_history(start=start, stop=min(start + PAGE_EVENTS, total)), start + 1)
    )
    return HistoryPage(rows=rows, after=start, total=total)


def _row(number: int, raw: bytes) -> HistoryRow:
    name, time_ms, facts = _explain(raw)
    brief = as_json(facts)[1:-1]
    full = as_json(facts, indent=2) if len(brief) > _MOST_BRIEF else ""
    return HistoryRow(number=number, name=name, time_ms=time_ms, brief=cut(brief, _MOST_BRIEF), full=full)


def _explain(raw: bytes) -> tuple[str, int, dict[str, Any]]:
    if len(raw) <= _MOST_SHOWN:
        return explain_event(raw)
    from orchestration.core import events

    event: Any = events.decode(raw)  # what it carries is left as it is
    facts = {"size": size_text(len(raw)), "note": "too large to be shown here; `orchestration history` prints it"}
    seq = getattr(event, "seq", None)
    return event.CODE.name.lower(), getattr(event, "time_ms", 0), {**({"seq": seq} if seq else {}), **facts}


def _input(handle: WorkflowHandle, seen: Description) -> str:
    if not seen.history_length:
        return ""
    first = next(islice(handle.raw_history(stop=1), 1), None)
    if first is None:
        return ""
    _, _, facts = _explain(first)
    shown = facts.get("args", facts)
    return cut(as_json(shown, indent=2), _MOST_SHOWN)


def _outcome(handle: WorkflowHandle, seen: Description) -> tuple[str, str, str]:
    """Of this run alone; one that goes on as another has none."""
    if not seen.closed_ms or not seen.history_length:
        return "", "", ""
    last = next(islice(handle.raw_history(start=seen.history_length - 1), 1), None)
    if last is None:
        return "", "", ""
    _, _, facts = _explain(last)
    for name in ("result", "failure", "reason", "timeout_type"):
        if name in facts:
            failure = failure_text(facts[name]) if name == "failure" else ""
            return name.replace("_type", ""), cut(as_json(facts[name], indent=2), _MOST_SHOWN), failure
    return "", "", ""


def _places(reader: Reader, handle: WorkflowHandle, seen: Description) -> tuple[SourcePlace, ...]:
    if not seen.places:
        return ()
    bundle = reader.bundle(handle, seen)
    sources = {unit.source_name: unit.source.split("\n") for unit in bundle.units()} if bundle else {}
    found = []
    for place in seen.places:
        lines = sources.get(place.file, [])
        near = range(max(place.line - _AROUND, 1), min(place.line + _AROUND, len(lines)) + 1) if place.line else ()
        found.append(
            SourcePlace(
                place=place, lines=tuple((number, lines[number - 1], number == place.line) for number in near),
                source=tuple(lines[:_MOST_LINES]),
            )
        )  # fmt: skip
    return tuple(found)


def _ancestors(reader: Reader, seen: Description) -> list[TreeNode]:
    found: list[Description] = []
    parent = seen.parent_run_id
    while parent and len(found) < _MOST_ANCESTORS:
        above = reader.run(parent, seen.namespace)
        if above is None:
            break
        found.append(above)
        parent = above.parent_run_id
    return [
        TreeNode(workflow_id=one.workflow_id, run_id=one.run_id, type=one.type, status=one.status, depth=depth)
        for depth, one in enumerate(reversed(found))
    ]


def _now_ms() -> int:
    return int(time.time() * 1000)
