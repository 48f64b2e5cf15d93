"""Signatures of our tasks carry their queue: whoever publishes them may be a worker that has never heard of us.

In ``chain(foreign task, workflow)`` the foreign worker publishes the workflow, by what its own configuration says of a
task that it does not know. So the queue is written into the signature where it is made, and into what a message of this
process carries: the rest of a chain, callbacks, errbacks, the body of a chord.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from celery import Celery
from celery.exceptions import QueueNotFound

__all__ = ["QueueOf", "address_signatures", "chord_ids", "queues_of", "routed_base"]

QueueOf = Callable[[str], str | None]
"""Queue of the task of a name; None when it is none of ours."""

_ADDRESS = ("queue", "exchange", "routing_key")
_PARTS = {"celery.chain": ("tasks",), "celery.group": ("tasks",), "celery.chord": ("header", "body")}
"""Keyword arguments that are signatures, by the canvas; those of any other task are its own affair."""

_LINKS = ("link", "link_error", "chain", "chord")
_DEEPEST = 50


def queues_of(app: Celery, names: frozenset[str]) -> QueueOf:
    """Says where an application sends its tasks of some names.

    Args:
        app: The application.
        names: Of our tasks.
    """

    def queue_of(name: str) -> str | None:
        if name not in names:
            return None
        try:
            queue = app.amqp.router.route({}, name).get("queue")
        except QueueNotFound:  # said again, to whoever publishes it
            return None
        return getattr(queue, "name", queue) or None

    return queue_of


def routed_base(base: type, queue_of: QueueOf) -> type:
    """A base class of tasks whose signatures carry their queue.

    Args:
        base: The task class of the application.
        queue_of: Says the queue.
    """

    def signature(self: Any, args: Any = None, *starargs: Any, **starkwargs: Any) -> Any:
        made = base.signature(self, args, *starargs, **starkwargs)  # type: ignore[attr-defined]
        _address(made, queue_of)
        return made

    return type(base.__name__, (base,), {"signature": signature, "subtask": signature})


def address_signatures(embed: Mapping[str, Any], queue_of: QueueOf) -> None:
    """Write the queue into the signatures that a message carries, where none is said; changes them in place.

    Args:
        embed: Third part of the body of a message: callbacks, errbacks, chain, chord.
        queue_of: Says the queue.
    """
    for carried in embed.values():
        if carried:
            for signature in _walk(carried, 0):
                _address(signature, queue_of)


def chord_ids(request: Mapping[str, Any]) -> list[str]:
    """Ids of the chords that wait for a task: as one of their header, or as what leads to one.

    Args:
        request: Facts of the task, as :func:`orchestration.tasks.kept_request.kept_request` keeps them.
    """
    found = [request["group"]] if request.get("chord") and request.get("group") else []
    for signature in _walk(request.get("chain") or [], 0):
        options = _options(signature)
        if options.get("chord") and options.get("group_id"):
            found.append(options["group_id"])
    return list(dict.fromkeys(map(str, found)))


def _address(signature: Any, queue_of: QueueOf) -> None:
    if not any(_options(signature).get(name) for name in _ADDRESS) and (queue := queue_of(signature["task"])):
        signature["options"] = {**_options(signature), "queue": queue}


def _options(signature: Any) -> Mapping[str, Any]:
    options = signature.get("options")
    return options if isinstance(options, Mapping) else {}


def _walk(value: Any, depth: int) -> Iterator[Any]:
    """Every signature in a structure of them."""
    if depth > _DEEPEST:
        return
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item, depth + 1)
    elif isinstance(value, dict) and isinstance(value.get("task"), str):
        yield value
        for where, names in ((value.get("kwargs"), _PARTS.get(value["task"], ())), (_options(value), _LINKS)):
            for name in names:
                if isinstance(where, Mapping) and where.get(name):
                    yield from _walk(where[name], depth + 1)
