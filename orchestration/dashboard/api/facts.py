"""What the API says of things: the facts of the client's descriptions, as JSON objects."""

from __future__ import annotations

import dataclasses
from typing import Any

from orchestration.client import Description, WorkflowHandle
from orchestration.core.export import explain_event

__all__ = ["event_facts", "outcome_of", "run_facts", "run_facts_of_list"]

_NOT_LISTED = ("pending", "memo", "summary", "details")


def run_facts(seen: Description, outcome: dict[str, Any]) -> dict[str, Any]:
    """A run."""
    return {**dataclasses.asdict(seen), **outcome}


def run_facts_of_list(seen: Description) -> dict[str, Any]:
    """A run as a list has it: what is not read for lists is left out."""
    facts = dataclasses.asdict(seen)
    for name in _NOT_LISTED:
        del facts[name]
    return facts


def outcome_of(handle: WorkflowHandle, seen: Description) -> dict[str, Any]:
    """How a run has ended, by itself: ``result``, ``failure`` or ``reason``; nothing while it is open."""
    if not seen.closed_ms or not seen.history_length:
        return {}
    last = next(iter(handle.raw_history(start=seen.history_length - 1)), None)
    facts = explain_event(last)[2] if last is not None else {}
    return {name: facts[name] for name in ("result", "failure", "reason", "timeout_type") if name in facts}


def event_facts(number: int, raw: bytes) -> dict[str, Any]:
    """An event."""
    name, time_ms, facts = explain_event(raw)
    return {"number": number, "event": name, **({"time_ms": time_ms} if time_ms else {}), **facts}
