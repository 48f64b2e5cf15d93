"""What the API's description says of an operation, written at the method that performs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import jsonschema

__all__ = ["NAMESPACE", "RUN", "TEXT", "Operation", "operation", "operation_of"]

F = TypeVar("F", bound=Callable[..., Any])
Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
RUN: Final = ("run", "One run of the workflow. Left out: the latest.", TEXT)
NAMESPACE: Final = ("namespace", "Where it is. Left out: looked for in all.", TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        summary: What it does, in a line.
        query: Arguments of the URL: name, meaning, JSON schema.
        body: JSON schema of the members of the body; None: it has none.
        required: Members that the body must have.
        answer: What the answer is, in a line.
        status: Of an answer without an error.
        schema: JSON schema of the answer.
    """

    summary: str
    query: tuple[tuple[str, str, Schema], ...] = ()
    body: Mapping[str, Schema] | None = None
    required: tuple[str, ...] = ()
    answer: str = "Done"
    status: int = 200
    schema: Schema = field(default_factory=lambda: {"type": "object"})

    @property
    def body_schema(self) -> dict[str, Any]:
        """JSON schema of the body."""
        schema: dict[str, Any] = {
            "type": "object", "properties": dict(self.body or {}), "additionalProperties": False,
        }  # fmt: skip
        if self.required:
            schema["required"] = list(self.required)
        return schema

    def problem_of(self, value: Any) -> str:
        """What is wrong with a body; empty when it is as it should be."""
        validator = jsonschema.Draft202012Validator(self.body_schema)
        error = next(iter(sorted(validator.iter_errors(value), key=lambda e: list(map(str, e.path)))), None)
        if error is None:
            return ""
        at = ".".join(map(str, error.path))
        return f"{at}: {error.message:.300}" if at else f"{error.message:.300}"


def operation(**facts: Any) -> Callable[[F], F]:
    """Say what a method of a handler does; arguments are those of :class:`Operation`."""

    def mark(method: F) -> F:
        method.operation = Operation(**facts)  # type: ignore[attr-defined]
        return method

    return mark


def operation_of(method: Callable[..., Any]) -> Operation:
    """What was said of a method."""
    found: Operation = method.operation  # type: ignore[attr-defined]
    return found
