"""Start options as Lua code gives them (``lua/prelude/options.lua``), as a start request takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.core import payload

__all__ = ["request_options"]


def request_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a :class:`~orchestration.tasks.starts.StartRequest` for the options of a spawn.

    Args:
        options: Checked, durations in milliseconds.

    Returns:
        What the options say; ids, queue and sender are the caller's.
    """
    named = bool(options.get("id") or options.get("name"))
    refuses = options.get("execution_error_when_already_started")
    if refuses is None:
        refuses = not named
    found: dict[str, Any] = {
        "conflict": str(options.get("id_conflict_policy") or ("fail" if refuses else "use_existing")),
        "reuse": str(options.get("id_reuse_policy") or "allow_duplicate"),
        "run_timeout_ms": int(options.get("run_timeout_ms") or 0),
        "execution_timeout_ms": int(options.get("execution_timeout_ms") or 0),
        "cancel_grace_ms": int(options.get("cancel_grace_ms") or 0),
        "delay_ms": int(options.get("start_delay_ms") or 0),
        "cron": str(options.get("cron_schedule") or ""),
        "retry": _table(options["retry"]) if "retry" in options else None,
        "search": _table(options.get("search_attributes")),
        "memo": _table(options.get("memo")),
        "summary": str(options.get("summary") or ""),
        "details": str(options.get("details") or ""),
        "signals": [(str(topic), payload.encode(_list(values))) for topic, values in options.get("messages") or ()],
    }
    return found


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    """An empty Lua table may come as a map."""
    return list(value) if isinstance(value, (list, tuple)) else []
