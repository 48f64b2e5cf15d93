"""What a workflow's machine needs from outside, and where the lines of all Lua code go."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from orchestration.errors import OrchestrationError
from orchestration.types import RunId

__all__ = ["WorkflowHost", "write_line"]

_log = logging.getLogger("orchestration.lua")


def write_line(level: str, text: str, fields: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Log what Lua code has printed or logged.

    Args:
        level: ``debug``, ``info``, ``warn`` or ``error``.
        text: The message.
        fields: What the code says with it.
        facts: Who the code is, as attributes of the record.
    """
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    _log.log(number, "%s", text, extra={**facts, "fields": dict(fields)})


class WorkflowHost:
    """A place for what a workflow prints; it needs nothing else.

    Args:
        run_id: The run.
        workflow_id: Its workflow.
        workflow_type: Its entry.
    """

    def __init__(self, run_id: RunId, workflow_id: str, workflow_type: str) -> None:
        self._facts = {"run_id": run_id, "workflow_id": workflow_id, "workflow_type": workflow_type}

    def now_ms(self) -> int:
        """Refuse: the time of a workflow is that of its inputs."""
        raise OrchestrationError("a workflow has no clock but its inputs")

    def random(self, n: int) -> bytes:
        """Refuse: a workflow's random numbers come from its seed."""
        raise OrchestrationError(f"a workflow has no source of chance but its seed ({n} bytes asked for)")

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        """Take a line; see :func:`write_line`."""
        write_line(level, text, fields, self._facts)
