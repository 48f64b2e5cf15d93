"""What a list of runs asks for: conditions, all of which hold, and what ``list_runs.lua`` makes of them."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestration.store.indexing import indexed
from orchestration.store.statuses import CLOSED_STATUSES, OPEN_STATUSES, STATUSES

__all__ = ["FIELDS", "LATEST_MS", "OPERATORS", "Condition", "Query", "make_query", "time_of"]

OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=", "in", "prefix")
FIELDS: Final = ("status", "type", "id", "started", "closed")
"""Names that are no search attributes; ``search.status`` means an attribute of that name."""

LATEST_MS: Final = 2**47
_TIME_OPERATORS: Final = ("=", "<", "<=", ">", ">=")
_ATTRIBUTE: Final = "search."
_MOST_VALUES: Final = 100


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        field: ``status``, ``type``, ``id`` (of the workflow), ``started``, ``closed``, or the name of a search
            attribute; ``search.`` before it makes every name one.
        operator: One of ``=  !=  <  <=  >  >=  in  prefix``.
        value: Text, number or boolean; with ``in`` a sequence of them; a time is ISO 8601 text, a ``datetime`` or
            milliseconds since 1970.
    """

    field: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions, checked and in the form of the script.

    Attributes:
        script: What the script is handed, to be packed.
        before_ms: Only runs started before this time.
        is_empty: Nothing can be selected.
    """

    script: dict[str, Any]
    before_ms: int
    is_empty: bool


def time_of(value: Any) -> int:
    """A time as milliseconds since 1970.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return min(max(value, 0), LATEST_MS)
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is no time: give one such as '2024-05-01' or '2024-05-01T10:00:00Z'") from None
    if isinstance(value, dt.datetime):
        return min(max(int(value.timestamp() * 1000), 0), LATEST_MS)
    raise ValueError(f"a time is ISO 8601 text or milliseconds since 1970, not {value!r}")


class _Maker:
    """Collects conditions."""

    def __init__(self) -> None:
        self.statuses = set(STATUSES)
        self.types: set[str] | None = None
        self.without: set[str] = set()
        self.ids: list[dict[str, Any]] = []
        self.attributes: list[dict[str, Any]] = []
        self.started = [0, LATEST_MS + 1]
        self.closed: list[int] | None = None
        self.count = 0

    def add(self, condition: Condition) -> None:
        name, operator, value = condition.field, condition.operator, condition.value
        if operator not in OPERATORS:
            raise ValueError(f"{operator!r} is no operator: use one of {' '.join(OPERATORS)}")
        values = [value]
        if operator == "in":
            if isinstance(value, str) or not isinstance(value, Iterable):
                raise ValueError(f"{name} in: a list of values is expected, not {value!r}")
            values = list(value)
            if len(values) > _MOST_VALUES:
                raise ValueError(f"{name} in: {len(values)} values are too many, {_MOST_VALUES} is the most")
        handlers = {"status": self._status, "type": self._type, "started": self._started, "closed": self._closed}
        try:
            if name in handlers:
                handlers[name](operator, values)
            elif name == "id":
                _only(operator, "=", "!=", "in", "prefix")
                if not all(isinstance(text, str) for text in values):
                    raise ValueError("a workflow id is text")
                self.ids.append(_spans(operator, [text.encode("utf-8", "surrogatepass") for text in values]))
            else:
                self._attribute(name.removeprefix(_ATTRIBUTE), operator, values)
        except ValueError as error:
            raise ValueError(f"{name} {operator}: {error}") from None

    def _status(self, operator: str, values: Sequence[Any]) -> None:
        _only(operator, "=", "!=", "in")
        wanted: set[str] = set()
        for value in values:
            if value == "open":
                wanted.update(OPEN_STATUSES)
            elif value == "closed":
                wanted.update(CLOSED_STATUSES)
            elif value in STATUSES:
                wanted.add(value)
            else:
                close = difflib.get_close_matches(str(value), STATUSES, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are open, closed, {', '.join(STATUSES)}"
                raise ValueError(f"{value!r} is no status: {hint}")
        self.statuses &= set(STATUSES) - wanted if operator == "!=" else wanted

    def _type(self, operator: str, values: Sequence[Any]) -> None:
        _only(operator, "=", "!=", "in")
        if not all(isinstance(value, str) for value in values):
            raise ValueError("a type is the id of an entry, as text")
        if operator == "!=":
            self.without.update(values)
        else:
            self.types = set(values) if self.types is None else self.types & set(values)

    def _started(self, operator: str, values: Sequence[Any]) -> None:
        low, high = _period(operator, values[0])
        self.started = [max(self.started[0], low), min(self.started[1], high + 1)]

    def _closed(self, operator: str, values: Sequence[Any]) -> None:
        low, high = _period(operator, values[0])
        closed = self.closed or [0, LATEST_MS]
        self.closed = [max(closed[0], low), min(closed[1], high)]

    def _attribute(self, name: str, operator: str, values: Sequence[Any]) -> None:
        if not name or "\0" in name:
            raise ValueError("a search attribute has a name")
        if operator == "prefix" and not isinstance(values[0], str):
            raise ValueError("a prefix is text")
        one = {"name": name, **_spans(operator, [indexed(value) for value in values])}
        # A number stands alone, never in a list: two limits are one span, which is found at once.
        if len(values) == 1 and isinstance(values[0], (int, float)) and operator != "!=":
            one["single"] = True
            for other in self.attributes:
                if other["name"] == name and other.get("single"):
                    (low, high), (from_, to) = other["spans"][0], one["spans"][0]
                    other["spans"][0] = [max(low, from_), min(high, to)]
                    other["exact"] = other["exact"] or one["exact"]
                    return
        self.attributes.append(one)

    def make(self) -> Query:
        is_all, closed = self.statuses == set(STATUSES), self.closed
        if closed is not None:
            self.statuses &= set(CLOSED_STATUSES)
        opened = [status for status in OPEN_STATUSES if status in self.statuses]
        conditions = (
            (not is_all) + (self.types is not None) + bool(self.without) + len(self.ids) + len(self.attributes)
            + (self.started != [0, LATEST_MS + 1]) + (closed is not None)
        )  # fmt: skip
        script: dict[str, Any] = {
            "all": is_all and closed is None,
            "asks_status": not is_all,
            "statuses": dict.fromkeys(self.statuses, 1),
            "any_open": bool(opened),
            "all_open": len(opened) == len(OPEN_STATUSES),
            "only_parked": self.statuses == {"parked"},
            "closed": [status for status in CLOSED_STATUSES if status in self.statuses],
            "ids": self.ids,
            "attributes": self.attributes,
            "from": self.started[0],
            "conditions": conditions,
        }
        if self.types is not None:
            script |= {"types": dict.fromkeys(self.types, 1), "type_names": sorted(self.types)}
        if self.without:
            script["without"] = dict.fromkeys(self.without, 1)
        if closed is not None:
            script |= {"closed_from": closed[0], "closed_to": closed[1]}
        nothing = (
            not self.statuses or self.types == set() or self.started[0] >= self.started[1]
            or (closed is not None and closed[0] > closed[1])
            or any(all(low >= high for low, high in one["spans"]) for one in self._positive())
        )  # fmt: skip
        return Query(script, self.started[1], nothing)

    def _positive(self) -> list[dict[str, Any]]:
        return [one for one in (*self.ids, *self.attributes) if not one["negated"]]


def make_query(conditions: Iterable[Condition]) -> Query:
    """Check conditions and bring them into the form of the script.

    Raises:
        ValueError: One of them cannot be asked; the message names field and operator.
    """
    maker = _Maker()
    for condition in conditions:
        maker.add(condition)
    return maker.make()


def _only(operator: str, *allowed: str) -> None:
    if operator not in allowed:
        raise ValueError(f"this field takes {', '.join(allowed[:-1])} and {allowed[-1]}")


def _period(operator: str, value: Any) -> tuple[int, int]:
    """First and last millisecond."""
    _only(operator, *_TIME_OPERATORS)
    time_ms = time_of(value)
    return {
        "=": (time_ms, time_ms), "<": (0, time_ms - 1), "<=": (0, time_ms), ">": (time_ms + 1, LATEST_MS),
        ">=": (time_ms, LATEST_MS),
    }[operator]  # fmt: skip


def _spans(operator: str, values: Sequence[bytes]) -> dict[str, Any]:
    r"""A condition as spans of bytes, from the first to before the second; a value is followed by ``\0``."""
    spans: list[list[bytes]] = []
    for value in values:
        # Of an attribute the first byte is the kind: values of other kinds are neither smaller nor larger.
        kind, after = value[:1], bytes([value[0] + 1]) if value else b"\xff"
        spans.append({
            "<": [kind, value + b"\0"], "<=": [kind, value + b"\1"], ">": [value + b"\1", after],
            ">=": [value + b"\0", after], "prefix": [value, value + b"\xff"],
        }.get(operator, [value + b"\0", value + b"\1"]))  # fmt: skip
    is_exact = operator in ("=", "!=", "in")
    return {"spans": spans, "exact": is_exact, "negated": operator == "!="}
