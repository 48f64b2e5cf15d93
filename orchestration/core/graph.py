"""A run as a graph: what came after what, folded where it repeats itself; and that graph as Mermaid text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestration.core.timeline import WORTH_FOLDING, Group, Timeline, fold_lanes, span_text

__all__ = ["Graph", "Node", "as_mermaid", "make_graph"]

STYLES: Final = {
    "completed": ("#e6f4ea", "#34a853"), "fired": ("#e6f4ea", "#34a853"), "received": ("#e8f0fe", "#4285f4"),
    "failed": ("#fce8e6", "#d93025"), "cancelled": ("#f1f3f4", "#80868b"), "open": ("#fff8e1", "#f9ab00"),
}  # fmt: skip
"""Fill and stroke for each outcome."""

_ENDINGS: Final = {"complete": "completed", "fail": "failed", "terminated": "failed", "timed_out": "failed"}
_SHAPES: Final = {
    "run": ('(["', '"])'), "end": ('(["', '"])'), "child": ('[["', '"]]'), "timer": ('{{"', '"}}'),
    "signal": ('>"', '"]'), "update": ('>"', '"]'), "request": ('>"', '"]'),
}  # fmt: skip
_BOX: Final = ('["', '"]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One box.

    Attributes:
        key: Its name in the graph: letters and digits, and no word of Mermaid's.
        kind: run, end, or the kind of a lane.
        outcome: As of a lane.
        lines: What stands in it, the first is its title.
    """

    key: str
    kind: str
    outcome: str
    lines: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Graph:
    """Boxes, in an order in which no arrow points back, and arrows by the keys of their ends."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)


def make_graph(timeline: Timeline, *, title: Sequence[str], fold: bool = True) -> Graph:
    """The graph of a run.

    Args:
        timeline: What it did.
        title: Lines of its first box: workflow id, entry id.
        fold: Show five or more steps in a row that are alike as one.
    """
    groups = fold_lanes(timeline.lanes, least=WORTH_FOLDING if fold else len(timeline.lanes) + 1)
    outcome = _ENDINGS.get(timeline.ending, "completed") if timeline.ending else "open"
    graph = Graph(nodes=[Node(key="run", kind="run", outcome=outcome, lines=tuple(title))])
    owner = {place: f"s{number}" for number, group in enumerate(groups, 1) for place in group.places}
    edges: dict[tuple[str, str], None] = {}  # in the order in which they were found
    for number, group in enumerate(groups, 1):
        key = f"s{number}"
        graph.nodes.append(Node(key=key, kind=group.first.kind, outcome=group.first.outcome, lines=_lines(group)))
        for lane in group.lanes:
            sources = [owner[place] for place in lane.after] or (["run"] if lane.seq else [])
            edges.update(dict.fromkeys((source, key) for source in sources if source != key))
    if timeline.ending:
        words = (timeline.ending.replace("_", " "), span_text(timeline.last_ms - timeline.started_ms))
        graph.nodes.append(Node(key="done", kind="end", outcome=outcome, lines=words))
        edges.update(dict.fromkeys((owner[place], "done") for place in timeline.after))
        left = {owner[place] for place, lane in enumerate(timeline.lanes) if lane.end_ms is not None}
        left -= {source for source, _ in edges}
        edges.update(dict.fromkeys((node.key, "done") for node in graph.nodes if node.key in left))
        if not any(target == "done" for _, target in edges):
            edges["run", "done"] = None
    graph.edges = list(edges)
    return graph


def as_mermaid(graph: Graph) -> str:
    """A graph as a Mermaid flowchart, for Markdown pages and issue trackers."""
    lines = ["flowchart TD"]
    for node in graph.nodes:
        opening, closing = _SHAPES.get(node.kind, _BOX)
        lines.append(f"  {node.key}{opening}{'<br/>'.join(map(_mermaid_text, node.lines))}{closing}:::{node.outcome}")
    lines += [f"  {source} --> {target}" for source, target in graph.edges]
    for outcome in dict.fromkeys(node.outcome for node in graph.nodes):
        fill, stroke = STYLES[outcome]
        lines.append(f"  classDef {outcome} fill:{fill},stroke:{stroke},color:#202124")
    return "\n".join(lines) + "\n"


def _lines(group: Group) -> tuple[str, ...]:
    lane = group.first
    count = len(group.lanes)
    title = {"timer": f"sleep {lane.name}", "activity": lane.name, "effect": lane.name}.get(
        lane.kind, f"{lane.kind} {lane.name}"
    )
    lines = [f"{count} × {title}" if count > 1 else title]
    facts = []
    attempts = max(item.attempts for item in group.lanes)
    if attempts > 1:
        facts.append(f"{attempts} attempts" if count == 1 else f"up to {attempts} attempts")
    if lane.kind not in ("signal", "request", "timer", "effect") and group.end_ms is not None:
        facts.append(span_text(group.end_ms - group.start_ms))
    if lane.outcome in ("failed", "cancelled", "open"):
        facts.append(lane.state or lane.outcome)
    if facts:
        lines.append(", ".join(facts))
    if lane.kind == "child" and lane.target and count == 1:
        lines.append(lane.target)
    if lane.error:
        lines.append(lane.error if len(lane.error) <= 60 else lane.error[:59] + "…")
    return tuple(lines)


def _mermaid_text(text: str) -> str:
    """Text in quotes: whatever Mermaid or a browser could read as more than text is written as its number."""
    return re.sub(r'[#&<>"\\`;\x00-\x1f]', lambda found: f"#{ord(found[0])};", text)
