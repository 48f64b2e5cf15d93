"""The links that the message of an attempt carries, so that a worker without the extension reports its outcome.

Such a worker knows neither our tasks nor our queues. So both are addressed by exchange and routing key (with a
``queue`` it would look the queue up in its own settings, and fail a task that has succeeded when it is not there), and
the errback is of a task that it has not registered: it sends that as a message, with the id of the failed task.

Whatever publishes in the name of an attempt may use them. A canvas that is one activity is the case in mind: the
attempt is claimed by a worker with the extension, which lets the factory make the canvas, links it with::

    link, link_error = report_links(encode_token(namespace, attempt), runtime.messages.report_address(mark.queue))
    canvas.link(link); canvas.link_error(link_error); canvas.apply_async()

and ends like ``activity.complete_later()``, so that the attempt is ``external`` and its deadlines go on. Links of a
chord or a group have to be on what has the result of the whole: make the group a chord first. Reports count for
attempts that are ``scheduled`` or ``external``, a success also in every other open state; each later one is dropped and
counted. A worker with the extension does not send the report of the attempt that it runs itself: see
:class:`_OwnReport`, and ``Report`` in :mod:`orchestration.tasks.foreign.reports`.

Source: what each outcome produces, and the trap with ``queue``, were measured with Celery 5.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from celery.canvas import Signature

__all__ = ["REPORT_FAILURE_TASK", "REPORT_TASK", "own_reports", "report_links"]

REPORT_TASK: Final = "orchestration.report"
"""Given the result of the task that has succeeded, and ``attempt``: the token of the attempt."""

REPORT_FAILURE_TASK: Final = "orchestration.report_failure"
"""Given the id of the task that has failed, and ``attempt``."""


def report_links(token: str, address: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ``link`` and the ``link_error`` that report an attempt, as signatures in the form of messages.

    Args:
        token: Of the attempt; whoever has it can end the attempt.
        address: Where the reports go, see :meth:`orchestration.tasks.messages.Messages.report_address`.
    """
    return _signature(REPORT_TASK, token, address), _signature(REPORT_FAILURE_TASK, token, address)


def _signature(task: str, token: str, address: Mapping[str, str]) -> dict[str, Any]:
    # JSON whatever the foreign application prefers: what cannot be written so could not be read here either.
    # Monitors show what is made of the arguments for them: the token is nobody's business there.
    options = {**address, "serializer": "json", "ignore_result": True, "kwargsrepr": "{...}"}
    return {
        "task": task, "args": [], "kwargs": {"attempt": token}, "options": options, "subtask_type": None,
        "immutable": False,
    }  # fmt: skip


class _OwnReport(Signature):  # type: ignore[misc]
    """The link of an attempt in the worker that reports it by itself: it is not sent.

    It stays in the request, so that Celery's own ``retry`` and ``replace`` hand it on to whoever runs the rest.
    """

    def apply_async(self, *args: Any, **options: Any) -> None:
        """Nothing: what is claimed is reported by its worker."""


def own_reports(callbacks: Any) -> Any:
    """The links of an attempt, as the worker that has claimed it calls them."""
    if not callbacks:
        return callbacks
    return [_OwnReport(link) if link.get("task") == REPORT_TASK else link for link in callbacks]
