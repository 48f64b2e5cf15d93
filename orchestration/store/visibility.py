"""Which runs there are: pages of them by conditions, and their number; read from the index that the scripts keep."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from orchestration.store.base import Aggregate, pack_for_script, text
from orchestration.store.keys import ShardKeys
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
        found: list[tuple[int, str]] = []
        stop: tuple[int, str] | None = None
        for number, keys in enumerate(self._keyspace.all):
            more, _, runs = self._ask(keys, number, query, page_size, start, run)
            found += runs
            # What lies behind the place where one shard stopped has to wait for that shard.
            if more is not None and (stop is None or more > stop):
                stop = more
        found.sort(reverse=True)
        shown = [item for item in found if stop is None or item >= stop][:page_size]
        following = stop
        if len(shown) == page_size and (stop is not None or len(found) > page_size):
            following = shown[-1]
        pairs = tuple((RunId(run_id), started) for started, run_id in shown)
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
        for number, keys in enumerate(self._keyspace.all):
            position: tuple[int, str] | None = (query.before_ms, "")
            while position is not None:
                position, count, _ = self._ask(keys, number, query, 0, *position)
                total += count
        return total

    def types(self) -> tuple[str, ...]:
        """Entry ids of which there is or has been a run, sorted."""
        replies = self._connection.pipeline([["HKEYS", keys.types] for keys in self._keyspace.all])
        return tuple(sorted({text(name) for reply in replies for name in reply}))

    def _ask(
        self, keys: ShardKeys, number: int, query: Query, page: int, start: int, run: str
    ) -> tuple[tuple[int, str] | None, int, list[tuple[int, str]]]:
        """Where a shard stopped, None at the end; how many runs it selected; those runs."""
        reply: list[Any] = self._run(
            "list_runs",
            [keys.index, keys.types, keys.open_runs, keys.parked_runs, keys.closed_runs],
            pack_for_script(query.script),
            page,
            _BUDGET,
            start,
            run,
            keys.tag,
            f"{number:02x}",
            min(_SORTED, max(_SORTED * 3 // self._keyspace.shards, 1_000)),  # shards are filled unevenly
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
