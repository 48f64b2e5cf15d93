"""Factories of canvases that are activities; imported by workers with the extension."""

from __future__ import annotations

from typing import Any

from celery import chain, chord, group, signature

QUEUE = "foreign"


def _task(name: str, *args: Any, **kwargs: Any) -> Any:
    return signature(f"canvas.{name}", args, kwargs, queue=QUEUE)


def one(left: int, right: int) -> Any:
    return _task("add", left, right)


def row(start: int) -> Any:
    return chain(_task("add", start, 1), _task("add", 10), _task("add", 100))


def fan(numbers: list[int]) -> Any:
    return group([_task("add", number, 1) for number in numbers])


def fan_in(numbers: list[int]) -> Any:
    return chord([_task("add", number, 1) for number in numbers], _task("total"))


def nested(numbers: list[int]) -> Any:
    """Ends with a group, after a chord."""
    return chain(fan_in(numbers), group(_task("add", 1), chain(_task("add", 2), _task("add", 3))))


def fails_in(where: str) -> Any:
    fails = _task("fail")
    return {
        "one": fails,
        "row": chain(_task("add", 1, 1), fails, _task("add", 1)),
        "group": group(_task("add", 1, 1), fails),
        "header": chord([_task("add", 1, 1), fails], _task("total")),
        "body": chord([_task("add", 1, 1), _task("add", 1, 1)], fails),
    }[where]


def lost_in(what: str) -> Any:
    """One of its tasks never runs, and no worker tells."""
    return {
        "unknown": chain(_task("add", 1, 1), _task("nobody_has_it"), _task("add", 1)),
        "expired": chain(_task("add", 1, 1).set(expires=-1), _task("add", 1)),
    }[what]


def nothing(*_: Any) -> Any:
    return 7


def with_names(*, left: int, right: int) -> Any:
    return _task("add", left, right)
