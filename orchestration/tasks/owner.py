"""Which process this is, and whether another one still lives.

An owner is named by its host (boot id and pid namespace), its pid and its start time, never by the name of a Celery
node: names are reused, and a prefork child dies without its parent.
"""

from __future__ import annotations

import os
import uuid
from functools import cache
from pathlib import Path

__all__ = ["is_dead_here", "owner_of", "this_owner"]


@cache
def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return f"{uuid.getnode():012x}.0"
    return f"{boot}.{namespace}"


def _start_time(pid: int) -> str | None:
    """Start of a process in clock ticks since boot; None when there is none, or only its corpse."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def owner_of(pid: int) -> str:
    """Name of a process on this host."""
    return f"{_host()}:{pid}:{_start_time(pid) or 0}"


_known: dict[int, str] = {}


def this_owner() -> str:
    """Name of this process."""
    pid = os.getpid()
    name = _known.get(pid)
    if name is None:
        _known.clear()
        name = _known[pid] = owner_of(pid)
    return name


def is_dead_here(owner: str) -> bool:
    """Whether a process of this host is gone for certain; False for one of another host."""
    host, pid, start = owner.split(":")
    return host == _host() and Path("/proc/self/stat").exists() and _start_time(int(pid)) != start
