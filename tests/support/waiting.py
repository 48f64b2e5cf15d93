"""Waiting for a condition, with a deadline: the only way in which a test waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["wait_until"]

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    *,
    deadline_s: float = 10.0,
    message: str | Callable[[], str] = "",
    every_s: float = 0.01,
) -> T:
    """Call ``condition`` until it answers something true, and return that.

    Args:
        condition: What is waited for. An exception of it ends the wait at once.
        deadline_s: Longest wait; the condition is tried at least once.
        message: What to say when it does not come about, or a function that finds out then.
        every_s: Pause between two tries.

    Raises:
        AssertionError: It did not come about in time.
    """
    end = time.monotonic() + deadline_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= end:
            said = message() if callable(message) else message
            raise AssertionError(f"not within {deadline_s:g} s: {said or getattr(condition, '__name__', condition)}")
        time.sleep(every_s)
