"""Cron expressions: when they are due next. Pure: the time that it is comes in as an argument.

Source: fields, ranges, ``L``, ``LW``, ``#`` and the ways of summer time are those of ``cronsim`` 2.8, which follows
Debian's cron; the nicknames and ``@every`` are those of crontab(5) and of ``robfig/cron`` v3.
"""

from __future__ import annotations

import datetime
import functools

import cronsim

from orchestration.core.durations import parse_duration_ms
from orchestration.core.lua.host import HostError
from orchestration.core.lua.hostlib.zones import load_zone

__all__ = ["check_cron", "check_zone", "next_cron_time"]

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONGEST_TEXT = 255
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LAST_MS = 253_000_000_000_000
"""In the year 9987; there is no cron time after it."""

_HINT = (
    "five fields (minute hour day-of-month month day-of-week), six with seconds in front, or a nickname such as @daily"
)


def next_cron_time(expression: str, zone: str, after_ms: int) -> int | None:
    """Give the first time after a moment at which a cron expression is due.

    A fixed time of day that the clocks skip in spring is due at the first moment after the gap; one that they repeat in
    autumn is due once, the first time. Expressions whose minute or hour begins with ``*``, and those with seconds,
    follow the clock instead: not in the gap, and in both of the repeated hours.

    Args:
        expression: Five fields (minute, hour, day of month, month, day of week), six with seconds in front; a nickname
            (``@yearly @annually @monthly @weekly @daily @midnight @hourly``); or ``@every 90m``, which is due that long
            after ``after_ms``. A prefix ``CRON_TZ=Zone`` takes the place of ``zone``. When neither of day of month
            and day of week begins with ``*``, one of the two is enough.
        zone: IANA name of a time zone, such as ``Europe/Berlin``; empty for UTC.
        after_ms: The moment, in milliseconds since the epoch.

    Returns:
        Milliseconds since the epoch, always later than ``after_ms``; None when the expression is never due again.

    Raises:
        ValueError: The expression or the zone is none; the text says what is wrong.
    """
    fields, zone = _parse(expression, zone)
    if after_ms >= _LAST_MS:
        return None
    second = after_ms // 1000
    if fields.startswith("@every "):
        return second * 1000 + _every_ms(expression, fields)
    rules = load_zone(zone)
    start = _EPOCH + datetime.timedelta(seconds=max(second, 0) if after_ms >= 0 else -1)
    ticks = cronsim.CronSim(fields, start if rules is None else start.astimezone(rules))
    try:
        for due in ticks:
            # In the repeated hour of autumn the walk begins on the first pass: what it finds may lie behind.
            found = round((due - _EPOCH).total_seconds()) * 1000
            if found > after_ms:
                return found
    except OverflowError:  # past the last year that dates have
        pass
    return None


def check_cron(expression: str, zone: str = "") -> None:
    """Refuse what :func:`next_cron_time` cannot read.

    Raises:
        ValueError: The expression or the zone is none; the text says what is wrong.
    """
    _parse(expression, zone)


def check_zone(zone: str) -> None:
    """Refuse a time zone that does not exist; empty is UTC.

    Raises:
        ValueError: There is no such zone.
    """
    try:
        load_zone(zone or "UTC")
    except HostError as error:
        raise ValueError(f"unknown time zone {zone!r}: give an IANA name such as 'Europe/Berlin', or 'UTC'") from error


@functools.lru_cache(maxsize=256)
def _parse(expression: str, zone: str) -> tuple[str, str]:
    """Fields of an expression without nickname and prefix, and the zone that counts."""
    text = expression.strip()
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"a cron expression has at most {_LONGEST_TEXT} characters, not {len(text)}")
    for prefix in ("CRON_TZ=", "TZ="):
        if text.startswith(prefix):
            zone, _, text = text.removeprefix(prefix).partition(" ")
            text = text.strip()
    check_zone(zone)
    if text.startswith("@every "):
        _every_ms(expression, text)
        return text, zone or "UTC"
    fields = _NICKNAMES.get(text.lower(), text)
    try:
        cronsim.CronSim(fields, _EPOCH)
    except cronsim.CronSimError as error:
        wrong = str(error)
        problem = wrong.replace("Bad ", "its ", 1) + " is not valid" if wrong.startswith("Bad ") else wrong.lower()
        raise ValueError(f"bad cron expression {expression!r}: {problem}; it has {_HINT}") from error
    return fields, zone or "UTC"


def _every_ms(expression: str, text: str) -> int:
    try:
        every = parse_duration_ms(text.removeprefix("@every ").strip())
    except ValueError as error:
        raise ValueError(f"bad cron expression {expression!r}: {error}") from error
    if every < 1000:
        raise ValueError(f"bad cron expression {expression!r}: the shortest interval is one second")
    return every // 1000 * 1000
