"""What can be asked of a run besides its history: queries, and whether an update may come in.

Queries and validators may write to the variables they see, so both are asked on a machine that is thrown away: one
that was made by replay and is closed afterwards. Limits that they leave make no difference to the run.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.core import payload
from orchestration.core.machine import Machine
from orchestration.errors import MemoryLimitError, OrchestrationError, StepLimitError

__all__ = ["Admission", "Answer", "Handlers", "admit", "ask", "handlers", "validate"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler came to.

    Attributes:
        ok: It has a result.
        value: The result, encoded; else the failure.
    """

    ok: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class Admission:
    """What an update meets.

    Attributes:
        status: ``plain`` (it may come in), ``validated`` (its validator decides), ``unknown`` (no handler).
        failure: With ``unknown``: the failure, which lists the handlers there are.
    """

    status: str
    failure: bytes = payload.NIL


@dataclass(frozen=True, slots=True)
class Handlers:
    """Names that a run has registered, in order."""

    queries: tuple[str, ...]
    updates: tuple[str, ...]


def ask(machine: Machine, name: str, args: bytes) -> Answer:
    """Call a query handler.

    Args:
        machine: To be thrown away afterwards.
        name: Name of the query; ``@handlers`` and ``@places`` are always there.
        args: Its arguments, an encoded array.

    Returns:
        Its result, or its failure: of kind ``NotFound`` when there is none of this name, ``Invalid`` when it did what a
        query may not.
    """
    try:
        ok, value = machine.ask("ask", name, args)
    except (MemoryLimitError, StepLimitError) as error:
        return Answer(False, _limit(f"the query {name!r}", error))
    return Answer(bool(ok), value)


def admit(machine: Machine, name: str) -> Admission:
    """Whether an update may come in; changes nothing of the machine."""
    status, *failure = machine.ask("admit", name)
    return Admission(status.decode(), failure[0] if failure else payload.NIL)


def validate(machine: Machine, name: str, args: bytes) -> bytes | None:
    """Ask the validator of an update.

    Args:
        machine: To be thrown away afterwards.
        name: Name of the update.
        args: Its arguments, an encoded array.

    Returns:
        The failure it refuses with; None when the update may come in.
    """
    try:
        answer = machine.ask("validate", name, args)
    except (MemoryLimitError, StepLimitError) as error:
        return _limit(f"the validator of {name!r}", error)
    return answer[0] if answer else None


def handlers(machine: Machine) -> Handlers:
    """The names that a run has registered; changes nothing of the machine."""
    found = payload.decode(machine.ask("handlers")[0])
    return Handlers(tuple(found["queries"]), tuple(found["updates"]))


def _limit(what: str, error: OrchestrationError) -> bytes:
    return payload.encode_failure(f"{what} left its limits: {error}", kind="Internal", retryable=False)
