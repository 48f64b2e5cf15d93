"""Time zones for the Lua modules ``time`` and ``os``, out of the ``tzdata`` package.

Never the system's own: two machines must read the same rules when a workflow moves from one to the other.
"""

from __future__ import annotations

import datetime
import functools
import importlib.resources
import re
import zoneinfo

from orchestration.core.lua.host import HostError, host_function
from orchestration.core.lua.hostlib.values import Value

__all__ = ["Zone", "is_summer_at", "load_zone", "offset_at", "offset_of_name"]

_NAME = re.compile(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+){0,3}")
_CYCLE_SECONDS = 146_097 * 86_400
"""The Gregorian calendar and the rules of every zone repeat after 400 years."""

_EPOCH = datetime.datetime(1970, 1, 1)
_FIRST_SECOND = int((datetime.datetime(2, 1, 1) - _EPOCH).total_seconds())
_LAST_SECOND = int((datetime.datetime(9998, 1, 1) - _EPOCH).total_seconds())
_DAY = 86_400

Zone = zoneinfo.ZoneInfo | None
"""A zone's rules; None is UTC."""


@functools.lru_cache(maxsize=64)
def load_zone(name: str) -> Zone:
    """Give the rules of a zone such as ``Europe/Berlin``.

    Raises:
        HostError: ``NotFound`` when there is no such zone.
    """
    if name == "UTC":
        return None
    if len(name) <= 64 and _NAME.fullmatch(name):
        place = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
        try:
            if place.is_file():
                with place.open("rb") as file:
                    return zoneinfo.ZoneInfo.from_file(file, key=name)
        except (OSError, ValueError):
            pass
    raise HostError("NotFound", f"unknown time zone {name!r}")


def offset_at(zone: Zone, second: int) -> tuple[int, str]:
    """Give offset east of UTC in seconds, and abbreviation, that a zone has at a second since the epoch."""
    if zone is None:
        return 0, "UTC"
    local = _local(zone, second)
    offset = local.utcoffset()
    return (int(offset.total_seconds()) if offset else 0), local.tzname() or ""


def is_summer_at(zone: Zone, second: int) -> bool:
    """Tell whether a zone has summer time at a second since the epoch."""
    return zone is not None and bool(_local(zone, second).dst())


def _local(zone: zoneinfo.ZoneInfo, second: int) -> datetime.datetime:
    if second >= _LAST_SECOND:
        second -= (second - _LAST_SECOND + _CYCLE_SECONDS) // _CYCLE_SECONDS * _CYCLE_SECONDS
    second = max(second, _FIRST_SECOND)
    return zone.fromutc((_EPOCH + datetime.timedelta(seconds=second)).replace(tzinfo=zone))


def offset_of_name(zone: Zone, abbreviation: str, local_second: int) -> int | None:
    """Give the offset that an abbreviation such as ``CEST`` stands for in a zone, or None when it has none.

    An offset in use around that time is preferred to one of long ago.
    """
    if zone is None:
        return 0 if abbreviation == "UTC" else None
    near = [days * _DAY for step in range(14) for days in (step * 28, -step * 28)]
    far = [-days * _DAY for days in range(400, 365 * 120, 90)]
    for shift in (*near, *far):
        offset, name = offset_at(zone, local_second + shift)
        if name == abbreviation:
            return offset
    return None


@host_function("time.zone")
def _zone(name: Value) -> Value:
    """Tell whether a zone exists, by giving its name."""
    load_zone(str(name))
    return name


@host_function("time.offset")
def _offset(name: Value, second: Value) -> Value:
    """Give ``[offset, abbreviation, is summer time]``."""
    zone, at = load_zone(str(name)), second if isinstance(second, int) else 0
    offset, abbreviation = offset_at(zone, at)
    return [offset, abbreviation, is_summer_at(zone, at)]
