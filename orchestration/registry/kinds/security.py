"""Who may do what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from orchestration.core.expressions import MissingLibraryError, compile_expression
from orchestration.core.policies import Effect, Operator, Rule, Test, compile_condition
from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import (
    Integer,
    Name,
    PositiveDurationMs,
    Reference,
    Text,
    fault,
    freeze,
    record,
    thaw,
)

__all__ = [
    "Condition",
    "Effect",
    "ExpressionRule",
    "Operator",
    "PolicyRule",
    "SecurityPolicy",
    "SecurityPolicyExpr",
    "TokenStore",
]


_INSTALL = "install the extra: pip install 'celery-orchestration[policies]'"
_NEEDS_NO_VALUE = frozenset({Operator.EXISTS, Operator.NEXISTS})


def _check_field(value: str) -> str:
    if value in {"actor.id", "action", "resource"} or value.startswith(("actor.meta.", "meta.")):
        return value
    raise fault("there is no such field", "use actor.id, actor.meta.<key>, action, resource or meta.<key>")


ConditionField = Annotated[Name, AfterValidator(_check_field)]


@record
class Condition:
    """A comparison that must hold."""

    field: ConditionField
    operator: Operator
    value: Annotated[Any, AfterValidator(freeze)] = None
    value_from: ConditionField | None = None

    @model_validator(mode="after")
    def _check_value(self) -> Condition:
        if self.value is not None and self.value_from is not None:
            raise fault("has both value and value_from", "keep one of them")
        if self.value is None and self.value_from is None and self.operator not in _NEEDS_NO_VALUE:
            raise fault(f"the operator {self.operator.value} needs a value", "add 'value:' or 'value_from:'")
        try:
            self.test()
        except ValueError as error:
            raise fault(str(error), "correct 'value:'", field="value") from None
        return self

    def test(self) -> Test:
        """The condition, ready to be asked."""
        return compile_condition(self.field, self.operator, thaw(self.value), self.value_from)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[
    tuple[Name, ...],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""Texts in which ``*`` stands for anything: one, or a list."""


@record
class PolicyRule:
    """When a policy applies, and what it says then."""

    actions: Patterns
    resources: Patterns
    effect: Effect
    conditions: tuple[Condition, ...] = ()

    def rule(self) -> Rule:
        """The policy, ready to be asked."""
        tests = tuple(condition.test() for condition in self.conditions)
        return Rule(actions=self.actions, resources=self.resources, effect=self.effect, tests=tests)


@record
class ExpressionRule:
    """The same with an expression in the place of conditions."""

    actions: Patterns
    resources: Patterns
    effect: Effect
    expression: Name

    @model_validator(mode="after")
    def _check_expression(self) -> ExpressionRule:
        try:
            compile_expression(self.expression)
        except MissingLibraryError as error:
            raise fault(str(error), _INSTALL, field="expression") from None
        except ValueError as error:
            raise fault(str(error), "correct the expression (CEL)", field="expression") from None
        return self

    def rule(self) -> Rule:
        """The policy, ready to be asked."""
        tests = (compile_expression(self.expression),)
        return Rule(actions=self.actions, resources=self.resources, effect=self.effect, tests=tests)


@record
class SecurityPolicy(Entry):
    """A policy.

    Attributes:
        groups: Ids of the groups it belongs to.
    """

    policy: PolicyRule
    groups: tuple[Reference, ...] = ()


@record
class SecurityPolicyExpr(Entry):
    """A policy with an expression."""

    policy: ExpressionRule
    groups: tuple[Reference, ...] = ()


@record
class TokenStore(Entry):
    """Where tokens are kept.

    Attributes:
        token_length: Random bytes of a token.
        default_expiration: Milliseconds that a token is good for.
        token_key: Key of the digests of tokens, and of the signatures of what is kept; see docs/reference/security.md.
    """

    store: Reference
    token_length: Integer = Field(default=32, ge=16, le=1024)
    default_expiration: PositiveDurationMs = 86_400_000
    token_key: Text = Field(default="", repr=False)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield Link(field="store", target=self.store, kinds=("store.*",), wanted="a store entry")
