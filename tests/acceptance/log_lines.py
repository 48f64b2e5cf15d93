"""Imported by a worker: what Lua code logs is written to the worker's log as JSON, as a deployment would do it."""

from __future__ import annotations

import json
import logging
import sys

_FACTS = ("function_id", "process_id", "workflow_id", "run_id", "workflow_type", "fields")


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        facts = {name: getattr(record, name) for name in _FACTS if hasattr(record, name)}
        line = json.dumps({"lua": record.getMessage(), "level": record.levelname, **facts}, sort_keys=True)
        sys.__stderr__.write(line + "\n")  # type: ignore[union-attr]
        sys.__stderr__.flush()  # type: ignore[union-attr]


logging.getLogger("orchestration.lua").addHandler(_Lines())
