"""Results and failures as they are printed."""

from __future__ import annotations

from typing import Any

from orchestration.cli.exits import Exit
from orchestration.cli.output import note, print_json
from orchestration.cli.values import as_json
from orchestration.errors import ApplicationError

__all__ = ["failure_facts", "failure_line", "print_failure", "print_result"]


def failure_facts(error: ApplicationError) -> dict[str, Any]:
    """A failure for programs."""
    facts = {"message": error.message, "kind": error.kind, "retryable": error.retryable, "details": error.details}
    return {name: value for name, value in facts.items() if value is not None}


def failure_line(error: ApplicationError) -> str:
    """A failure for people, on one line."""
    text = f"{error.kind}: {error.message}" if error.kind else error.message
    details = {name: value for name, value in (error.details or {}).items() if not name.startswith("_")}  # the engine's
    return f"{text}; details: {as_json(details)}" if details else text


def print_result(value: Any, *, facts: dict[str, Any] | None) -> Exit:
    """Print a result: bare for people, with ``facts`` about its run for programs."""
    print_json(value if facts is None else {**facts, "result": value})
    return Exit.OK


def print_failure(error: ApplicationError, what: str, *, facts: dict[str, Any] | None) -> Exit:
    """Print a failure: one line on stderr for people, an object on stdout for programs."""
    if facts is None:
        note(f"error: {what}: {failure_line(error)}")
    else:
        print_json({**facts, "failure": failure_facts(error)})
    return Exit.FAILED
