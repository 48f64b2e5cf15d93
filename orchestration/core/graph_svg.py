"""A graph as SVG: boxes in layers from the top down, arrows as curves, all text escaped.

Source: layers by the longest path and order by barycentres, after Sugiyama, Tagawa and Toda (1981).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from orchestration.core.graph import STYLES, Graph, Node

__all__ = ["as_svg"]

_FONT_PX: Final = 13
_CHAR_PX: Final = 7.9  # of a monospace font of that size
_LINE_PX: Final = 18
_PAD_X: Final = 12
_PAD_Y: Final = 8
_GAP_X: Final = 28
_GAP_Y: Final = 44
_MARGIN: Final = 16
_SWEEPS: Final = 6
_LEAST_WIDTH: Final = 60
_DUMMY: Final = 10
_TIP: Final = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#5f6368"/></marker></defs>'
)


@dataclass(slots=True, eq=False)
class _Cell:
    """A place in a layer: a box, or where an arrow passes through."""

    layer: int
    node: Node | None = None
    width: float = _DUMMY
    height: float = 0
    x: float = 0  # of its middle
    y: float = 0  # of its top
    above: list[_Cell] = field(default_factory=list)
    below: list[_Cell] = field(default_factory=list)


def as_svg(graph: Graph) -> str:
    """Draw a graph; the text is a whole SVG document."""
    cells = _boxes(graph)
    arrows = [_link(cells, source, target) for source, target in graph.edges]
    layers = _layers([*cells.values(), *(cell for arrow in arrows for cell in arrow[1:-1])])
    _order(layers)
    width, height = _place(layers)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{_FONT_PX}">'
    )
    parts = [
        head,
        _TIP,
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        *(_arrow(arrow) for arrow in arrows),
        *(_box(cell, cell.node) for cell in cells.values() if cell.node is not None),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _boxes(graph: Graph) -> dict[str, _Cell]:
    depth = dict.fromkeys((node.key for node in graph.nodes), 0)
    sources: dict[str, list[str]] = {}
    for source, target in graph.edges:
        sources.setdefault(target, []).append(source)
    for node in graph.nodes:  # no arrow points back, so those above are known
        depth[node.key] = max((depth[source] + 1 for source in sources.get(node.key, ())), default=0)
    return {
        node.key: _Cell(
            depth[node.key], node,
            max(max(map(len, node.lines)) * _CHAR_PX + 2 * _PAD_X, _LEAST_WIDTH),
            len(node.lines) * _LINE_PX + 2 * _PAD_Y,
        )
        for node in graph.nodes
    }  # fmt: skip


def _link(cells: Mapping[str, _Cell], source: str, target: str) -> list[_Cell]:
    """The cells through which an arrow goes, its ends among them."""
    first, last = cells[source], cells[target]
    path = [first, *(_Cell(layer) for layer in range(first.layer + 1, last.layer)), last]
    for upper, lower in itertools.pairwise(path):
        upper.below.append(lower)
        lower.above.append(upper)
    return path


def _layers(cells: Sequence[_Cell]) -> list[list[_Cell]]:
    layers: list[list[_Cell]] = [[] for _ in range(max(cell.layer for cell in cells) + 1)]
    for cell in cells:
        layers[cell.layer].append(cell)
    return layers


def _order(layers: list[list[_Cell]]) -> None:
    """Put each layer into the order of the middles of its neighbours, down and up in turn."""
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in layers[1:] if down else reversed(layers[:-1]):
            place = {id(cell): at for row in layers for at, cell in enumerate(row)}
            middles = {}
            for at, cell in enumerate(layer):
                near = cell.above if down else cell.below
                middles[id(cell)] = sum(place[id(other)] for other in near) / len(near) if near else float(at)
            layer.sort(key=lambda cell: middles[id(cell)])


def _place(layers: list[list[_Cell]]) -> tuple[float, float]:
    """Give each cell its place; returns the size of the whole."""
    widths = [sum(cell.width for cell in layer) + _GAP_X * (len(layer) - 1) for layer in layers]
    whole, top = max(widths), float(_MARGIN)
    for layer, width in zip(layers, widths, strict=True):
        left = _MARGIN + (whole - width) / 2
        height = max(cell.height for cell in layer)
        for cell in layer:
            cell.x = left + cell.width / 2
            cell.y = top + (height - cell.height) / 2
            left += cell.width + _GAP_X
        top += height + _GAP_Y
    return whole + 2 * _MARGIN, top - _GAP_Y + _MARGIN


def _arrow(path: Sequence[_Cell]) -> str:
    first = path[0]
    drawn = [f"M{first.x:.1f} {first.y + first.height:.1f}"]
    x, y = first.x, first.y + first.height
    for cell in path[1:]:
        half = (cell.y - y) / 2
        drawn.append(f"C{x:.1f} {y + half:.1f} {cell.x:.1f} {cell.y - half:.1f} {cell.x:.1f} {cell.y:.1f}")
        x, y = cell.x, cell.y + cell.height
    return f'<path d="{" ".join(drawn)}" fill="none" stroke="#5f6368" marker-end="url(#tip)"/>'


def _box(cell: _Cell, node: Node) -> str:
    fill, stroke = STYLES[node.outcome]
    left = cell.x - cell.width / 2
    radius = cell.height / 2 if node.kind in ("run", "end") else 4
    dash = ' stroke-dasharray="5 3"' if node.kind in ("timer", "signal", "update", "request") else ""
    size = f'width="{cell.width:.1f}" height="{cell.height:.1f}"'
    parts = [
        f'<g><title>{escape(_clean(" · ".join((node.kind, node.outcome, *node.lines))))}</title>',
        f'<rect x="{left:.1f}" y="{cell.y:.1f}" {size} rx="{radius:.1f}" fill="{fill}" stroke="{stroke}"{dash}/>',
    ]
    if node.kind == "child":
        inner = f'width="{cell.width - 8:.1f}" height="{cell.height - 8:.1f}"'
        parts.append(f'<rect x="{left + 4:.1f}" y="{cell.y + 4:.1f}" {inner} fill="none" stroke="{stroke}"/>')
    for number, line in enumerate(node.lines):
        y = cell.y + _PAD_Y + number * _LINE_PX + _LINE_PX * 0.72
        style = ' font-weight="600"' if number == 0 else ' fill="#5f6368"'
        parts.append(f'<text x="{cell.x:.1f}" y="{y:.1f}" text-anchor="middle"{style}>{escape(_clean(line))}</text>')
    return "".join([*parts, "</g>"])


def _clean(text: str) -> str:
    """Without characters that XML does not allow."""
    return re.sub(r"[\x00-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
