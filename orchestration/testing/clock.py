"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestration.core.durations import parse_duration_ms

__all__ = ["SkippingClock", "milliseconds"]


def milliseconds(duration: timedelta | str) -> int:
    """A duration in whole milliseconds.

    Args:
        duration: A timedelta, or text as Lua code writes it, such as ``"23h"`` or ``"1h30m"``.

    Raises:
        ValueError: It is none of these, or negative.
    """
    if isinstance(duration, timedelta):
        found = -(-duration // timedelta(milliseconds=1))
    elif isinstance(duration, str):
        try:
            found = parse_duration_ms(duration)
        except ValueError as error:
            raise ValueError(f"{duration!r} {error}") from None
    else:
        raise ValueError(f"a duration is a timedelta or text such as '23h', not {duration!r}")
    if found < 0:
        raise ValueError(f"a clock does not go back: {duration!r}")
    return found


class SkippingClock:
    """Time of an environment: called, it answers milliseconds since 1970.

    Args:
        start: Where it begins; None: now. A time without a zone is in UTC.
    """

    def __init__(self, start: datetime | None = None) -> None:
        moment = start or datetime.now(UTC)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        self.now_ms = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    def __call__(self) -> int:
        """Milliseconds since 1970."""
        return self.now_ms

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.now_ms)

    def skip_to(self, moment_ms: int) -> None:
        """Go on to a moment; one that has passed changes nothing."""
        self.now_ms = max(self.now_ms, moment_ms)
