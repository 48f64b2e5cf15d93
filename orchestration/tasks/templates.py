"""Messages of activity attempts made from a model: one real message a task and queue, then copies of it.

Making a Celery message costs routing, signatures, signals and two encodings; for one task and queue only ids, arguments
and the mark differ. The model is a message that Celery itself has made. Wherever anything could make two messages
differ in another way (a signal receiver, a router in code, an expiry, sent-events), no model is kept and each message
is made by Celery.

Source: the form of a message in a Redis list, kombu 5.7 (kombu/transport/virtual/base.py, ``prepare_message``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery import Celery, signals
from celery.utils.saferepr import saferepr
from kombu.utils.json import dumps as kombu_dumps
from kombu.utils.uuid import uuid

from orchestration.store.results import Push, Pushes

__all__ = ["MessageModels", "about_run", "shown_kwargs"]

_REPR_SIZE = 1024


def about_run(workflow_id: str, workflow_type: str) -> str:
    """What a message is about, for people: logs, Celery's events and Flower show it as the keyword arguments.

    They show no more of a message than its task and its arguments. Its task's name is left as it is: monitors count by
    it.
    """
    return f"workflow {workflow_id} ({workflow_type})"


def shown_kwargs(kwargs: Mapping[str, Any], about: str) -> str:
    """Keyword arguments as people are shown them, with what the message is about."""
    return f"{saferepr(kwargs, _REPR_SIZE)} {about}" if kwargs else about


def dumps(value: Any) -> str:
    """JSON as Celery writes it: bytes, dates and decimals included."""
    return str(kombu_dumps(value))  # type: ignore[no-untyped-call]


class MessageModels:
    """Keeps one model for each task and queue.

    Args:
        app: The Celery application.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._models: dict[tuple[str, str, bool], tuple[str, dict[str, Any]] | None] = {}
        self._embeds: dict[tuple[Any, ...], str] = {}
        self._constant: bool | None = None

    def make(
        self, task: str, queue: str, *, task_id: str, run_id: str, args: Sequence[Any],
        kwargs: Mapping[str, Any], headers: Mapping[str, Any], links: tuple[dict[str, Any], dict[str, Any]] | None,
        about: str, real: Callable[[], Pushes],
    ) -> tuple[Push, ...]:  # fmt: skip
        """The broker commands of one message.

        Args:
            task: Name of the task.
            queue: Where to; empty for Celery's own routing.
            task_id: Of the message.
            run_id: Its root and parent.
            args: Positional arguments.
            kwargs: Keyword arguments.
            headers: The mark, and what else the message carries.
            links: Its ``link`` and ``link_error``; None: it has none.
            about: What it is about, for people.
            real: Has Celery make this very message.
        """
        key = (task, queue, links is not None)
        if not self._may_model():
            return real().commands
        model = self._models.get(key)
        if model is None:
            commands = real().commands
            if key not in self._models:
                self._models[key] = _model(commands)
            return commands
        list_name, envelope = model
        all_headers = {
            **envelope["headers"], "id": task_id, "root_id": run_id, "parent_id": run_id,
            "argsrepr": saferepr(args, _REPR_SIZE), "kwargsrepr": shown_kwargs(kwargs, about), **headers,
        }  # fmt: skip
        properties = {**envelope["properties"], "correlation_id": task_id, "delivery_tag": uuid()}
        text = f"[{dumps(list(args))}, {dumps(dict(kwargs))}, {self._embed(links)}]"
        body = base64.b64encode(text.encode()).decode()
        message = {**envelope, "body": body, "headers": all_headers, "properties": properties}
        return (("lpush", list_name, dumps(message)),)

    def _embed(self, links: tuple[dict[str, Any], dict[str, Any]] | None) -> str:
        """The third part of a body, in JSON. Links to one place differ by the token alone, which needs no escaping."""
        if links is None:
            return _NO_LINKS
        token, place = links[0]["kwargs"]["attempt"], tuple(links[0]["options"].values())
        embed = self._embeds.get(place)
        if embed is None:
            embed = dumps({**_EMBED, "callbacks": [links[0]], "errbacks": [links[1]]}).replace(token, _PLACE)
            self._embeds[place] = embed
        return embed.replace(_PLACE, token)

    def _may_model(self) -> bool:
        if (
            signals.before_task_publish.receivers
            or signals.after_task_publish.receivers
            or signals.task_sent.receivers
        ):
            return False
        if self._constant is None:
            conf = self._app.conf
            routes = conf.task_routes or ()
            self._constant = not conf.task_send_sent_event and all(
                isinstance(route, Mapping) or getattr(route, "orchestrated", False)
                for route in (routes if isinstance(routes, (list, tuple)) else [routes])
            )
        return self._constant


_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_NO_LINKS = dumps(_EMBED)
_PLACE = "<attempt>"


def _model(commands: tuple[Push, ...]) -> tuple[str, dict[str, Any]] | None:
    """What is common to all messages like this one; None when that cannot be told."""
    if len(commands) != 1 or commands[0][0] != "lpush":
        return None
    _, list_name, text = commands[0]
    envelope = json.loads(text)
    headers, properties = envelope.get("headers", {}), envelope.get("properties", {})
    if headers.get("eta") or headers.get("expires") or headers.get("stamped_headers"):
        return None
    if properties.get("body_encoding") != "base64" or envelope.get("content-type") != "application/json":
        return None
    if envelope.get("content-encoding") != "utf-8" or "compression" in headers:
        return None
    return list_name, envelope
