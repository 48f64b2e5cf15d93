"""Asking all workers of a broker at once, whatever their settings."""

from __future__ import annotations

from typing import Any

from celery import Celery

__all__ = ["remote_control"]


def remote_control(app: Celery) -> Any:
    """Celery's remote control of an application, which reads answers in JSON, msgpack and YAML.

    A worker answers in the ``task_serializer`` of its own settings. Celery reads what its own ``accept_content`` has;
    one answer in another form would be an error in the place of all answers.

    Args:
        app: The application.
    """
    control = type(app.control)(app)
    control.mailbox.accept = [*control.mailbox.accept, "json", "msgpack", "yaml"]
    return control
