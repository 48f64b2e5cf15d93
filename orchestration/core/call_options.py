"""Options of function calls outside workflows: trying again in place, and a limit of time. Pure.

Inside a workflow a call is an activity, with options of its own: see ``activity_options``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.core.durations import parse_duration_ms

__all__ = ["CallRetry", "call_retry", "call_timeout_ms", "split_arguments"]

_INITIAL_MS = 100
_LONGEST_MS = 10_000
_FACTOR = 2.0
_JITTER = 0.1
_FINAL_KINDS = frozenset({"Invalid", "PermissionDenied", "Internal"})
"""Kinds that are not tried again when no list says which are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRetry:
    """How a call is tried again.

    Attributes:
        max_attempts: Tries in all, the first included.
        initial_delay_ms: Multiplied by the factor before each further try, the second included.
        max_delay_ms: Longest pause.
        backoff_factor: How much longer each pause is than the one before.
        jitter: Fraction of a pause by which it may be longer or shorter.
        retry_kinds: Kinds that are tried again; None: all but some.
        skip_kinds: Kinds that are not, whatever the other list says.
    """

    max_attempts: int
    initial_delay_ms: float = _INITIAL_MS
    max_delay_ms: float = _LONGEST_MS
    backoff_factor: float = _FACTOR
    jitter: float = _JITTER
    retry_kinds: frozenset[str] | None = None
    skip_kinds: frozenset[str] = frozenset()

    def delay_ms(self, failure: Mapping[str, Any], *, attempt: int, chance: float) -> float | None:
        """Decide on another try.

        Args:
            failure: What the last one ended with.
            attempt: Its number, counted from 1.
            chance: From 0 to 1, for the jitter.

        Returns:
            Milliseconds to wait; None when the failure is final.
        """
        kind = str(failure.get("kind", ""))
        if attempt >= self.max_attempts or failure.get("retryable") is False or kind == "Canceled":
            return None
        if kind in self.skip_kinds:
            return None
        if kind in _FINAL_KINDS if self.retry_kinds is None else kind not in self.retry_kinds:
            return None
        try:
            grown = min(self.initial_delay_ms * self.backoff_factor**attempt, self.max_delay_ms)
        except OverflowError:
            grown = self.max_delay_ms
        return max(grown * (1 + self.jitter * (2 * chance - 1)), 0)


def call_retry(options: Mapping[str, Any]) -> CallRetry | None:
    """Read ``retry`` of a call's options.

    Returns:
        How it is tried again; None when it is not: no table, or fewer than two attempts.

    Raises:
        ValueError: A field of the table has a wrong type or value; the text names it.
    """
    given = options.get("retry")
    if not isinstance(given, Mapping):
        return None
    found: dict[str, Any] = {"max_attempts": _number(given, "max_attempts", 0, whole=True)}
    for name, default in (("initial_delay", _INITIAL_MS), ("max_delay", _LONGEST_MS)):
        found[f"{name}_ms"] = _duration_ms(given, name, default)
    found["backoff_factor"] = _number(given, "backoff_factor", _FACTOR)
    found["jitter"] = _number(given, "jitter", _JITTER)
    if "retry_kinds" in given:
        found["retry_kinds"] = _kinds(given, "retry_kinds")
    found["skip_kinds"] = _kinds(given, "skip_kinds")
    return CallRetry(**found) if found["max_attempts"] > 1 else None


def call_timeout_ms(options: Mapping[str, Any]) -> int:
    """Read ``timeout`` of a call's options: milliseconds, or a duration text; 0 for none.

    Raises:
        ValueError: It is no duration.
    """
    return max(_duration_ms(options, "timeout", 0, prefix=""), 0)


def _duration_ms(given: Mapping[str, Any], name: str, default: int, *, prefix: str = "retry.") -> int:
    value = given.get(name)
    if value is None:
        return default
    try:
        return parse_duration_ms(value)
    except ValueError as error:
        raise ValueError(f"{prefix}{name} {error}") from None


def _number(given: Mapping[str, Any], name: str, default: float, *, whole: bool = False) -> float:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value < 0:
        raise ValueError(f"retry.{name} must be a number that is not negative, got {value!r}")
    if whole and value != int(value):
        raise ValueError(f"retry.{name} must be a whole number, got {value!r}")
    return int(value) if whole else float(value)


def _kinds(given: Mapping[str, Any], name: str) -> frozenset[str]:
    value = given.get(name)
    if value is None or value == {}:  # an empty Lua table may come as a map
        return frozenset()
    if not isinstance(value, (list, tuple)) or not all(isinstance(kind, str) for kind in value):
        raise ValueError(f"retry.{name} must be a list of kinds, got {value!r}")
    return frozenset(value)


def split_arguments(args: Sequence[Any], *, keywords: bool) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of a call.

    Args:
        args: As Lua code gave them.
        keywords: A map that is the last of them is the keyword arguments.
    """
    if keywords and args and isinstance(args[-1], dict) and all(isinstance(name, str) for name in args[-1]):
        return list(args[:-1]), dict(args[-1])
    return list(args), {}
