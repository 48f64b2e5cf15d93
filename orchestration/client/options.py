"""Options of a start as Python code gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

__all__ = ["RetryPolicy", "whole_ms"]


def whole_ms(duration: timedelta | None) -> int:
    """A duration in whole milliseconds, rounded up; 0 for None.

    Raises:
        ValueError: It is negative.
    """
    if duration is None:
        return 0
    if duration < timedelta(0):
        raise ValueError(f"a duration is not negative: {duration}")
    return -(-duration // timedelta(milliseconds=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Whether and when something that failed is tried again.

    Attributes:
        initial_interval: Pause before the second attempt.
        backoff_coefficient: By which the pause grows from attempt to attempt; at least 1.
        maximum_interval: Longest pause; None: a hundred times the first.
        maximum_attempts: Most attempts, the first included; 0 for no limit.
        non_retryable_error_types: Kinds of errors after which there is no other attempt.
    """

    initial_interval: timedelta = timedelta(seconds=1)
    backoff_coefficient: float = 2.0
    maximum_interval: timedelta | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: A number is out of range.
        """
        if self.backoff_coefficient < 1:
            raise ValueError(f"backoff_coefficient is at least 1, not {self.backoff_coefficient}")
        if self.maximum_attempts < 0:
            raise ValueError(f"maximum_attempts is not negative: {self.maximum_attempts}")

    def to_options(self) -> dict[str, Any]:
        """The policy as it is stored."""
        options: dict[str, Any] = {
            "initial_interval_ms": whole_ms(self.initial_interval), "backoff_coefficient": self.backoff_coefficient,
        }  # fmt: skip
        if self.maximum_interval is not None:
            options["maximum_interval_ms"] = whole_ms(self.maximum_interval)
        if self.maximum_attempts:
            options["maximum_attempts"] = self.maximum_attempts
        if self.non_retryable_error_types:
            options["non_retryable_error_types"] = list(self.non_retryable_error_types)
        return options
