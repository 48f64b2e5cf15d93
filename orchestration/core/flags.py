"""Numbered changes of behaviour, and the versions a history names. An old history replays as it was recorded.

A change that would make an old history replay to other commands gets a number here. New runs record the numbers
they start with (``flags`` of STARTED); code asks whether the run has the number, never for a release.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any

from orchestration.errors import CorruptHistoryError

__all__ = ["FORMAT", "LUA", "Flag", "check_versions", "current_flags"]

FORMAT = 1
"""Version of the events in a history."""

LUA = "5.4"
"""Version of the language that workflow code runs under."""


class Flag(enum.IntEnum):
    """A change of behaviour that old histories must not see."""

    WAIT_FOR_CANCELLATION = 1
    """A future whose call has ``wait_for_cancellation`` is completed by the activity's own answer to a cancel."""
    CHECKED_IDENTITY = 2
    """``with_actor`` and ``with_scope`` take what they say, instead of anything without effect."""


def current_flags() -> list[int]:
    """The flags that a run started by this release records."""
    return sorted(int(flag) for flag in Flag)


def check_versions(meta: Mapping[str, Any]) -> None:
    """Refuse a history that this release cannot replay.

    Args:
        meta: The map in the STARTED event.

    Raises:
        CorruptHistoryError: The history names a Lua version, a format or a flag that this release does not have.
    """
    lua, version, flags = meta.get("lua"), meta.get("format"), meta.get("flags") or []
    if lua != LUA:
        raise CorruptHistoryError(f"the history needs Lua {lua!r}, this worker has {LUA}: leave it to another worker")
    if version != FORMAT:
        raise CorruptHistoryError(f"the history has format {version!r}, this release reads format {FORMAT}: upgrade it")
    unknown = _unknown(flags)
    if unknown:
        raise CorruptHistoryError(f"the history has flags {unknown} that this release does not know: upgrade it")


def _unknown(flags: Iterable[Any]) -> list[Any]:
    known = {int(flag) for flag in Flag}
    return [flag for flag in flags if flag not in known]
