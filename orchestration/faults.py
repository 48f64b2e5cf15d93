"""Named points at which a test can have the process die. They cost one comparison when no test asks for it.

``ORCHESTRATION_FAULT=after_commit:3:/path/marker`` has the process that passes ``after_commit`` for the third time (in
its own life) kill itself with SIGKILL, once: the marker file is made first, and a process that finds it goes on. A
fourth part, such as ``:SIGSTOP``, names another signal. Without a marker (``after_commit:1:``) each process that comes
so far kills itself.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

__all__ = ["FAULT_POINTS", "OUTBOX_POINTS", "SCHEDULE_POINTS", "fault"]

FAULT_POINTS = (
    "after_start",
    "before_claim",
    "after_claim",
    "after_body",
    "after_report",
    "after_lease",
    "after_advance",
    "before_commit",
    "after_commit",
    "before_complete",
    "after_complete",
    "before_finish",
    "before_fire",
    "after_fire",
)
"""Every point of a run, in the order in which a step passes them."""

SCHEDULE_POINTS = ("before_schedule", "after_schedule", "before_schedule_start", "after_schedule_start")
"""Points at which a schedule is fired: around the write of what is to be started, and around the starts."""

OUTBOX_POINTS = (
    "after_outbox_insert",
    "after_outbox_commit",
    "before_outbox_send",
    "after_outbox_send",
    "after_outbox_mark",
)
"""Points that an entry of Django's outbox passes: in its transaction, right after the commit, and when it is sent."""

_wanted = os.environ.get("ORCHESTRATION_FAULT", "")
_passed: Counter[str] = Counter()


def fault(point: str) -> None:
    """Die here if a test wants it."""
    if not _wanted:
        return
    name, count, marker, *rest = _wanted.split(":")
    if name != point:
        return
    _passed[point] += 1
    if _passed[point] != int(count):
        return
    if marker:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
    # To this thread, not to the process: a stop that another thread takes in lets this one go on for a moment.
    signal.pthread_kill(threading.get_ident(), getattr(signal, rest[0]) if rest else signal.SIGKILL)
