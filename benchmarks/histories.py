"""Histories made by a machine itself, to be replayed."""

from __future__ import annotations

from pathlib import Path

from orchestration.core import events, payload
from orchestration.core.bundle import Bundle
from orchestration.core.machine import Machine
from orchestration.registry import load_registry

__all__ = ["steps_history"]


def steps_history(steps: int) -> tuple[Bundle, list[bytes]]:
    """A finished run of ``bench:steps``: its bundle and its ``2 * steps + 2`` events."""
    bundle = load_registry([Path(__file__).parent / "config"]).bundle("bench:steps")
    machine = Machine(bundle)
    meta = {
        "workflow_id": "w", "run_id": "r", "type": "bench:steps", "pid": "{a@b|w}", "task_queue": "q",
        "namespace": "default", "bundle": bundle.digest, "seed": bytes(16), "attempt": 1, "lua": "5.4", "format": 1,
        "flags": [], "ctx": {}, "tz": "UTC",
    }  # fmt: skip
    event = events.encode(events.Started(1, meta, payload.encode([steps])))
    history = [event, *machine.apply(event)]
    for seq in range(1, steps + 1):
        event = events.encode(events.ActivityCompleted(seq, seq, payload.encode(seq)))
        history += [event, *machine.apply(event)]
    return bundle, history
