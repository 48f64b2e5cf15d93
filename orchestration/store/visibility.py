"""Which runs there are: pages of them by conditions, and their number; read from the index that the scripts keep."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from orchestration.store.base import Aggregate, pack_for_script, text
from orchestration.store.query import Condition, Query, make_query
from orchestration.types import RunId

__all__ = ["RunPage", "Visibility"]

_CURSOR: Final = re.compile(r"(\d{1,15})\.([0-9a-f]*)")
_BUDGET: Final = 2_000
"""Most runs of a shard that one call looks at in the order of their starts, to find some that are selected."""
_SORTED: Final = 5_000
"""A condition that selects no more runs, of all shards, is answered from all of them."""


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some of the runs that were asked for.

    Attributes:
        runs: Their ids and the times of their starts, the latest first.
        cursor: Where the next page begins; empty when there is none. A page may be short, or empty, and have one.
    """

    runs: tuple[tuple[RunId, int], ...]
    cursor: str


class Visibility(Aggregate):
    """Lists and counts runs."""

    def page(self, conditions: Iterable[Condition], *, page_size: int, cursor: str = "") -> RunPage:
        """One page of runs; its cost is bounded, whatever the conditions are.

        Args:
            conditions: All of them hold.
            page_size: Most runs on the page.
            cursor: Of the page before; empty for the first.

        Raises:
            ValueError: A condition cannot be asked, or the cursor is none.
        """
        query = make_query(conditions)
        start, run = _position(cursor, query)
        if query.is_empty:
            return RunPage((), "")
        # Each shard is asked for its part and as much again, and for more while it keeps the others waiting.
        part = min(max(2 * page_size // self._keyspace.shards + 1, 10), page_size)
        asked: dict[int, tuple[int, str]] = dict.fromkeys(range(self._keyspace.shards), (start, run))
        stops: dict[int, tuple[int, str]] = {}
        found: list[tuple[int, str]] = []
        while asked:
            full: set[int] = set()
            for number, position in asked.items():
                more, _, runs = self._ask(number, query, part, position)
                found += runs
                stops.pop(number, None)
                if more is not None:
                    stops[number] = more
                if len(runs) == part:
                    full.add(number)
            # What lies behind the place where one shard stopped has to wait for that shard.
            stop = max(stops.values(), default=None)
            shown = sorted((item for item in found if stop is None or item >= stop), reverse=True)
            is_enough = stop is None or len(shown) >= page_size
            asked = {} if is_enough else {n: place for n, place in stops.items() if place == stop and n in full}
        following = stop
        if len(shown) > page_size or (len(shown) == page_size and (stop is not None or len(found) > page_size)):
            following = shown[page_size - 1]
        pairs = tuple((RunId(run_id), started) for started, run_id in shown[:page_size])
        return RunPage(pairs, f"{following[0]}.{following[1]}" if following else "")

    def count(self, conditions: Iterable[Condition]) -> int:
        """Number of runs; as exact as one look after another at a store in which others write.

        Raises:
            ValueError: A condition cannot be asked.
        """
        query = make_query(conditions)
        if query.is_empty:
            return 0
        total = 0
        for number in range(self._keyspace.shards):
            position: tuple[int, str] | None = (query.before_ms, "")
            while position is not None:
                position, count, _ = self._ask(number, query, 0, position)
                total += count
        return total

    def types(self) -> tuple[str, ...]:
        """Entry ids of which there is or has been a run, sorted."""
        replies = self._connection.pipeline([["HKEYS", keys.types] for keys in self._keyspace.all])
        return tuple(sorted({text(name) for reply in replies for name in reply}))

    def _ask(
        self, number: int, query: Query, page: int, position: tuple[int, str]
    ) -> tuple[tuple[int, str] | None, int, list[tuple[int, str]]]:
        """Where a shard stopped, None at the end; how many runs it selected; those runs."""
        keys = self._keyspace.all[number]
        reply: list[Any] = self._run(
            "list_runs",
            [keys.index, keys.types, keys.open_runs, keys.parked_runs, keys.closed_runs],
            pack_for_script(query.script),
            page,
            _BUDGET,
            *position,
            keys.tag,
            f"{number:02x}",
            min(_SORTED, max(_SORTED * 3 // self._keyspace.shards, _SORTED // 5)),  # shards are filled unevenly
        )
        *place, count, answer = reply[1:]
        runs = [(int(answer[i + 1]), text(answer[i])) for i in range(0, len(answer), 2)]
        return ((int(place[0]), text(place[1])) if place else None), int(count), runs


def _position(cursor: str, query: Query) -> tuple[int, str]:
    if not cursor:
        return query.before_ms, ""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ValueError(f"{cursor!r} is no cursor: give the one that came with a page, as it is")
    # A run was started before the one at the cursor, or at its time with a smaller id.
    return min((query.before_ms, ""), (int(match[1]), match[2]))
