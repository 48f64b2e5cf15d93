"""Options of a start as Python code gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from orchestration.core.checks import check_kind, check_span

__all__ = ["RetryPolicy", "whole_ms"]


_MOST_BACKOFF = 1e6
_MOST_ATTEMPTS = 2**31


def whole_ms(duration: timedelta | None, what: str = "a duration") -> int:
    """A duration in whole milliseconds, rounded up; 0 for None.

    Args:
        duration: At most 100,000 days.
        what: What it is, for the message.

    Raises:
        TypeError: It is no timedelta.
        ValueError: It is negative or too long.
    """
    if duration is None:
        return 0
    check_span(what, duration)
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
            TypeError: A value is of another type.
            ValueError: A number is out of range.
        """
        whole_ms(self.initial_interval, "initial_interval")
        whole_ms(self.maximum_interval, "maximum_interval")
        backoff, attempts, kinds = self.backoff_coefficient, self.maximum_attempts, self.non_retryable_error_types
        check_kind("backoff_coefficient", backoff, (int, float), "a number")
        if not 1 <= backoff < _MOST_BACKOFF:
            raise ValueError(f"backoff_coefficient is at least 1 and less than a million, not {backoff}")
        check_kind("maximum_attempts", attempts, int, "a whole number")
        if not 0 <= attempts < _MOST_ATTEMPTS:
            raise ValueError(f"maximum_attempts is not negative, and less than 2**31: {attempts}")
        if isinstance(kinds, (str, bytes)) or not all(isinstance(kind, str) for kind in kinds):
            raise TypeError(f"non_retryable_error_types is a list of texts, not {kinds!r:.100}")

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
