"""Structured logs: what the engine's records carry, and a filter and a formatter for those who want them in one line.

Every record of the engine is an ordinary one of ``logging``, of a logger below ``orchestration``, with a constant
message and its facts in ``extra``; see :data:`FIELDS`. Lines that Lua code prints or logs come from
``orchestration.lua``. Nothing is logged while a history is replayed.

::

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RunFilter())
    logging.getLogger().addHandler(handler)
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from orchestration import activity

__all__ = ["FIELDS", "JsonFormatter", "RunFilter"]

FIELDS: Final = {
    "namespace": "namespace of the run",
    "workflow_id": "its workflow id",
    "run_id": "its run id",
    "workflow_type": "entry id of its code",
    "activity": "entry id of the activity",
    "seq": "number of the command in the run",
    "attempt": "number of the attempt, from 1",
    "kind": "why a run is parked",
    "fields": "what Lua code logs with a line, as a table",
    "trace_id": "of the span that the line belongs to, in hex (RunFilter)",
    "span_id": "the same (RunFilter)",
}
"""Attributes of records, and what they say."""

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class RunFilter(logging.Filter):
    """Adds to each record which activity the thread is at, and its trace and span, where the record does not say.

    So lines of your own tasks name the workflow that called them. A filter for handlers: on a logger it would miss
    the records of the loggers below.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if activity.in_activity() and not hasattr(record, "run_id"):
            at = activity.info()
            record.workflow_id, record.run_id, record.workflow_type = at.workflow_id, at.run_id, at.workflow_type
            record.activity, record.seq, record.attempt = at.target, at.seq, at.attempt
        opentelemetry: Any = sys.modules.get("opentelemetry.trace")
        if opentelemetry is not None and not hasattr(record, "trace_id"):
            found = opentelemetry.get_current_span().get_span_context()
            if found.is_valid:
                record.trace_id, record.span_id = f"{found.trace_id:032x}", f"{found.span_id:016x}"
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and every attribute that ``extra`` has added."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": when.replace("+00:00", "Z"), "level": record.levelname, "logger": record.name,
            "message": record.getMessage(),
        }  # fmt: skip
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN and name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False, default=str)
