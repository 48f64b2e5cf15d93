"""Options of an activity as an entry's ``meta.options`` gives them, in the form that the Lua side hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestration.core.durations import parse_duration_ms

__all__ = ["KNOWN_OPTIONS", "entry_options", "option_problems"]

_DURATIONS = (
    "start_to_close_timeout",
    "schedule_to_close_timeout",
    "schedule_to_start_timeout",
    "heartbeat_timeout",
)
_PLAIN = ("id", "task_queue", "wait_for_cancellation", "disable_eager_execution", "local", "summary")
_MOST_BACKOFF = 1e6
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


def _is_duration(value: Any) -> str:
    try:
        return "must not be negative" if parse_duration_ms(value) < 0 else ""
    except ValueError as error:
        return str(error)


def _is_flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _is_text(value: Any) -> str:
    return "" if isinstance(value, str) and value else "must be a text that is not empty"


def _is_factor(value: Any) -> str:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value < _MOST_BACKOFF
    return "" if good else "must be a number from 1 on"


def _is_count(value: Any) -> str:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return "" if good else "must be a whole number from 0 on"


def _is_kinds(value: Any) -> str:
    good = isinstance(value, (list, tuple)) and all(isinstance(kind, str) for kind in value)
    return "" if good else "must be a list of kinds"


_CHECKS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(_DURATIONS, _is_duration),
    **dict.fromkeys(("wait_for_cancellation", "disable_eager_execution", "local"), _is_flag),
    **dict.fromkeys(("id", "task_queue", "summary"), _is_text),
}
_POLICY_CHECKS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(_RETRY_DURATIONS, _is_duration),
    "backoff_coefficient": _is_factor, "maximum_attempts": _is_count, "non_retryable_error_types": _is_kinds,
}  # fmt: skip

KNOWN_OPTIONS = (*_CHECKS, "retry_policy")
"""Names of options, without their prefix."""


def option_problems(options: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """What is wrong with the ``activity.*`` options of an entry.

    Returns:
        Key, value and problem of each; the problem of a key that is no option is empty.
    """
    for key, value in options.items():
        prefix = next((p for p in ("temporal.activity.", "activity.") if key.startswith(p)), None)
        if prefix is None:
            continue
        name = key[len(prefix) :]
        if name not in KNOWN_OPTIONS:
            yield key, value, ""
        elif name != "retry_policy":
            if problem := _CHECKS[name](value):
                yield key, value, problem
        elif not isinstance(value, Mapping):
            yield key, value, "must be a table"
        else:
            for field, item in value.items():
                check = _POLICY_CHECKS.get(_snake(str(field)))
                if check is None:
                    yield f"{key}.{field}", item, ""
                elif problem := check(item):
                    yield f"{key}.{field}", item, problem
