"""Options of an activity as an entry's ``meta.options`` gives them, in the form that the Lua side hands over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.core.durations import parse_duration_ms

__all__ = ["entry_options"]

_DURATIONS = (
    "start_to_close_timeout",
    "schedule_to_close_timeout",
    "schedule_to_start_timeout",
    "heartbeat_timeout",
)
_PLAIN = ("id", "task_queue", "wait_for_cancellation", "disable_eager_execution", "local", "summary")
_RETRY_DURATIONS = ("initial_interval", "maximum_interval")
_RETRY_PLAIN = ("backoff_coefficient", "maximum_attempts", "non_retryable_error_types")


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def entry_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Normalise ``activity.*`` (and ``temporal.activity.*``) keys.

    Args:
        options: ``meta.options`` of an entry.

    Returns:
        Durations in milliseconds under ``<name>_ms``, the policy under ``retry``; other keys are left out.

    Raises:
        ValueError: A duration is none, or the policy is no table.
    """
    found: dict[str, Any] = {}
    for prefix in ("temporal.activity.", "activity."):  # the canonical prefix comes last and wins
        for key, value in options.items():
            if not key.startswith(prefix):
                continue
            name = key[len(prefix) :]
            if name in _DURATIONS:
                found[f"{name}_ms"] = parse_duration_ms(value)
            elif name in _PLAIN:
                found[name] = value
            elif name == "retry_policy":
                found["retry"] = _policy(value)
    return found


def _policy(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"activity.retry_policy must be a table, got {type(value).__name__}")
    policy: dict[str, Any] = {}
    for key, item in value.items():
        name = _snake(str(key))
        if name in _RETRY_DURATIONS:
            policy[f"{name}_ms"] = parse_duration_ms(item)
        elif name in _RETRY_PLAIN:
            policy[name] = list(item) if isinstance(item, (list, tuple)) else item
    return policy
