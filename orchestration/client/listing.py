"""Runs found by conditions: what callers may ask for, and the pages that they are given."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias, TypedDict, Unpack

from orchestration.client.description import Description, describe_record
from orchestration.settings import Settings
from orchestration.store.query import Condition
from orchestration.store.statuses import STATUSES
from orchestration.store.store import Store
from orchestration.store.where import parse_where

__all__ = [
    "Filters", "Time", "Where", "WorkflowPage", "conditions_of", "count_runs", "each_run", "list_runs", "merge_pages",
    "page_of_runs",
]  # fmt: skip

Where: TypeAlias = str | Sequence[Condition] | None
"""Conditions as text, ``'status = "failed" and amount > 100'``, or as a list of :class:`Condition`."""

Time: TypeAlias = dt.datetime | dt.timedelta | str | int | None
"""A time, how long ago it was, ISO 8601 text, or milliseconds since 1970."""

_PAGE = 200


class WorkflowPage(list[Description]):
    """Some runs, the latest first.

    Args:
        items: The runs.
        cursor: Where the next page begins; empty when there is none. A page may be short, even empty, and have one:
            then no more could be looked at in one call.
    """

    def __init__(self, items: Iterable[Description] = (), cursor: str = "") -> None:
        super().__init__(items)
        self.cursor = cursor


class Filters(TypedDict, total=False):
    """Conditions that are asked for often. None, or left out: no such condition.

    Attributes:
        status: ``open``, ``closed``, or a status such as ``parked`` or ``completed``.
        type: Entry id.
        id_prefix: Beginning of the workflow id.
        started_after: Started then or later.
        started_before: Started before then.
        closed_after: Ended then or later.
        closed_before: Ended before then.
    """

    status: str | None
    type: str | None
    id_prefix: str | None
    started_after: Time
    started_before: Time
    closed_after: Time
    closed_before: Time


_ASKS: Final = {
    "status": ("status", "="), "type": ("type", "="), "id_prefix": ("id", "prefix"), "started_after": ("started", ">="),
    "started_before": ("started", "<"), "closed_after": ("closed", ">="), "closed_before": ("closed", "<"),
}  # fmt: skip


def conditions_of(where: Where = None, **filters: Unpack[Filters]) -> list[Condition]:
    """Everything that was asked for as a list of conditions, all of which hold.

    Raises:
        ValueError: The text cannot be read; the message says where.
    """
    if where is not None and not isinstance(where, Sequence):
        raise TypeError(f"where is text or a list of conditions, not {where!r:.100}")
    found = parse_where(where) if isinstance(where, str) else list(where or ())
    for condition in found:
        if not isinstance(condition, Condition):
            raise TypeError(f"where is text or a list of conditions; {condition!r:.100} is no condition")
    for name, value in filters.items():
        if name not in _ASKS:
            raise TypeError(f"there is no filter {name!r}: use one of {', '.join(_ASKS)}, or where")
        if value is not None:
            found.append(Condition(*_ASKS[name], _moment(name, value)))
    return found


def _moment(name: str, value: object) -> object:
    if not isinstance(value, dt.timedelta):
        return value
    try:
        return dt.datetime.now(dt.UTC) - value
    except OverflowError:
        raise ValueError(f"{name}: {value} ago is no time") from None


def page_of_runs(
    store: Store, namespace: str, settings: Settings, conditions: Sequence[Condition], *, page_size: int,
    cursor: str = "",
) -> WorkflowPage:  # fmt: skip
    """One page; its cost is bounded, whatever the conditions are.

    Raises:
        ValueError: A condition cannot be asked, the cursor is none, or the size of a page is not 1 to 1,000.
    """
    given: tuple[Any, Any] = (page_size, cursor)
    if not isinstance(given[0], int) or not isinstance(given[1], str):
        raise TypeError(f"the size of a page is a whole number, its cursor text: not {page_size!r} and {cursor!r}")
    if not 1 <= page_size <= 1000:
        raise ValueError(f"a page has 1 to 1,000 runs, not {page_size}")
    page = store.visibility.page(conditions, page_size=page_size, cursor=cursor)
    records = store.runs.shown([run_id for run_id, _ in page.runs])
    return WorkflowPage((describe_record(record, namespace, settings=settings) for record in records), page.cursor)


def list_runs(
    store: Store, namespace: str, settings: Settings, conditions: Sequence[Condition], *, limit: int, cursor: str = ""
) -> WorkflowPage:
    """So many runs, or all there are; as many pages are read as that takes."""
    given: Any = limit
    if not isinstance(given, int) or limit < 1:
        raise ValueError(f"a limit is a whole number from 1 on, not {limit!r}")
    found = WorkflowPage()
    while True:
        size = min(limit - len(found), _PAGE)
        page = page_of_runs(store, namespace, settings, conditions, page_size=size, cursor=cursor)
        found += page
        found.cursor = cursor = page.cursor
        if not cursor or len(found) >= limit:
            return found


def each_run(
    store: Store, namespace: str, settings: Settings, conditions: Sequence[Condition]
) -> Iterator[Description]:
    """Every run, the latest first, read page by page; runs may come and go meanwhile."""
    cursor = ""
    while True:
        page = page_of_runs(store, namespace, settings, conditions, page_size=_PAGE, cursor=cursor)
        yield from page
        cursor = page.cursor
        if not cursor:
            return


def count_runs(store: Store, conditions: Sequence[Condition], by: str) -> dict[str, int]:
    """Numbers of runs.

    Args:
        store: Where they are kept.
        conditions: All of them hold.
        by: ``group``: open, parked (which are open too) and closed; ``status`` or ``type``: those that there are.

    Raises:
        ValueError: A condition cannot be asked, or ``by`` is none of these.
    """
    if by == "group":
        if not conditions:
            return store.runs.counts()
        return {name: _count(store, conditions, "status", name) for name in ("open", "parked", "closed")}
    names = {"status": STATUSES, "type": store.visibility.types() if by == "type" else ()}.get(by)
    if names is None:
        raise ValueError(f"runs are counted by group, status or type, not by {by!r}")
    counts = {name: _count(store, conditions, by, name) for name in names}
    return {name: count for name, count in counts.items() if count}


def _count(store: Store, conditions: Sequence[Condition], field: str, value: str) -> int:
    return store.visibility.count([*conditions, Condition(field, "=", value)])


def merge_pages(pages: Sequence[WorkflowPage], page_size: int) -> WorkflowPage:
    """One page of those of several stores, each read from the same cursor on."""
    places = [_place(page.cursor) for page in pages if page.cursor]
    stop = max(places, default=None)
    found = sorted(((item.started_ms, item.run_id), item) for item in (i for page in pages for i in page))
    shown = [(place, item) for place, item in reversed(found) if stop is None or place >= stop]
    cursor = stop
    if len(shown) > page_size or (len(shown) == page_size and stop is not None):
        cursor = shown[page_size - 1][0]
    return WorkflowPage((item for _, item in shown[:page_size]), f"{cursor[0]}.{cursor[1]}" if cursor else "")


def _place(cursor: str) -> tuple[int, str]:
    started, _, run_id = cursor.partition(".")
    return int(started), run_id
