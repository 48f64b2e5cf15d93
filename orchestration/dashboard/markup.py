"""Small pieces of HTML that many pages have. Whatever comes from a run is text: it is escaped here, in one place."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from tornado.escape import xhtml_escape

from orchestration.client import Description, ScheduleDescription, ServiceDescription
from orchestration.core.timeline import span_text

__all__ = ["Markup", "cut", "failure_text", "size_text", "with_query"]

_BADGES: Final = {
    "running": "task-state-started", "parked": "text-bg-warning", "paused": "text-bg-info",
    "completed": "text-bg-success", "failed": "text-bg-danger", "timed_out": "text-bg-danger",
    "cancelled": "text-bg-secondary", "terminated": "text-bg-dark", "continued_as_new": "text-bg-secondary",
    "stopped": "text-bg-secondary", "exited": "text-bg-secondary", "starting": "text-bg-info",
    "stopping": "text-bg-info", "unknown": "text-bg-warning",
    "active": "text-bg-success", "over": "text-bg-secondary", "refused": "text-bg-warning",
    "started": "task-state-started",
}  # fmt: skip
_MISSING: Final = '<span class="value-missing">&mdash;</span>'


class Markup:
    """What templates call.

    Args:
        prefix: Of Flower's URLs: empty, or ``/`` and its name.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def url(self, page: str = "", /, **query: Any) -> str:
        """URL of a page below ``/workflows``; what is empty is left out. Not escaped yet: ``{{ }}`` does that."""
        return with_query(f"{self._prefix}/workflows{'/' if page else ''}{page}", **query)

    def api(self, path: str) -> str:
        """URL of the API."""
        return f"{self._prefix}/api/workflows{path}"

    def run_url(self, workflow_id: str, run_id: str = "", namespace: str = "") -> str:
        """URL of a run's page."""
        return self.url("run", id=workflow_id, run=run_id, namespace=namespace)

    @staticmethod
    def run_path(run: Description, verb: str) -> str:
        """Path below the API by which something is done to a run."""
        path = f"/runs/{quote(run.workflow_id, safe='')}/{verb}"
        return with_query(path, run=run.run_id, namespace=run.namespace)

    @staticmethod
    def schedule_path(seen: ScheduleDescription, verb: str) -> str:
        """Path below the API by which something is done to a schedule."""
        return with_query(f"/schedules/{quote(seen.id, safe='')}/{verb}", namespace=seen.namespace)

    @staticmethod
    def service_path(seen: ServiceDescription, verb: str) -> str:
        """Path below the API by which something is done to a service."""
        return f"/services/{quote(seen.id, safe='')}/{verb}"

    @staticmethod
    def badge(status: str) -> str:
        """A status in its colour."""
        style = _BADGES.get(status, "text-bg-secondary")
        return f'<span class="badge {style}">{xhtml_escape(status.replace("_", " "))}</span>'

    @staticmethod
    def when(time_ms: int) -> str:
        """A time: the browser writes it in its own time zone, and how long ago it was."""
        if not time_ms:
            return _MISSING
        try:
            moment = dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).isoformat(timespec="seconds")
        except (OverflowError, ValueError):
            return xhtml_escape(str(time_ms))
        return f'<time class="wf-time" datetime="{moment}" data-ms="{int(time_ms)}">{moment}</time>'

    @staticmethod
    def span(from_ms: int, to_ms: int | None) -> str:
        """A length of time; one that goes on is counted by the browser."""
        if not from_ms:
            return _MISSING
        if to_ms:
            return xhtml_escape(span_text(max(to_ms - from_ms, 0)))
        return f'<span class="wf-since" data-ms="{int(from_ms)}">&hellip;</span>'

    @staticmethod
    def value(text: Any) -> str:
        """A text, or a dash for none."""
        return xhtml_escape(str(text)) if text not in ("", None) else _MISSING

    @staticmethod
    def facts(values: Mapping[str, Any]) -> str:
        """Names and values, as small labels."""
        return " ".join(
            f'<span class="wf-fact"><b>{xhtml_escape(str(name))}</b> {xhtml_escape(cut(str(value), 200))}</span>'
            for name, value in values.items()
        )


def with_query(path: str, /, **query: Any) -> str:
    """A path with what is not empty behind it."""
    given = {name: str(value) for name, value in query.items() if value is not None and value != ""}
    return f"{path}?{urlencode(given, quote_via=quote)}" if given else path


def cut(text: str, most: int) -> str:
    """The beginning of a text that is too long to be shown."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def failure_text(failure: Mapping[str, Any] | None) -> str:
    """A failure in a line: its kind and its message; empty for none."""
    return ": ".join(str(failure[name]) for name in ("kind", "message") if failure.get(name)) if failure else ""


def size_text(count: int) -> str:
    """A number of bytes."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
