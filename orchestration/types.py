"""Ids, payload aliases and the limits that layers hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

__all__ = ["Digest", "EntryId", "Limits", "Payload", "Pid", "RunId", "WorkflowId"]

EntryId = NewType("EntryId", str)
"""Name of a definition: ``namespace:name``."""

WorkflowId = NewType("WorkflowId", str)
"""Name a caller gives to a workflow; several runs, one after the other, may carry it."""

RunId = NewType("RunId", str)
"""One execution of a workflow, unique for ever."""

Pid = NewType("Pid", str)
"""Address of anything that takes messages: ``{node@host|unique}``."""

Digest = NewType("Digest", str)
"""SHA-256 of a code bundle, in hexadecimal."""

Payload = NewType("Payload", bytes)
"""One value in the encoding of :mod:`orchestration.core.payload`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one Lua world may use.

    Attributes:
        memory_bytes: Most memory of the world, its code included.
        instructions: Most virtual machine instructions (and metered library work) for one input.
        payload_bytes: Largest single value that may cross the border.
    """

    memory_bytes: int = 64 * 1024 * 1024
    instructions: int = 200_000_000
    payload_bytes: int = 2 * 1024 * 1024
