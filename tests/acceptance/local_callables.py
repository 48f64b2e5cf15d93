"""What the function.python entries of the tests call."""

from __future__ import annotations


def double(n: int) -> int:
    return n * 2
