"""What policies say: rules of patterns and conditions, and how several of them come to one answer. Pure.

A policy applies when one of its action patterns and one of its resource patterns fit and its test holds; it then says
``allow`` or ``deny``. Of several, any deny denies, else any allow allows, else nothing is decided, which is no
permission.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from orchestration.core.lua.host import HostError
from orchestration.core.lua.hostlib.regexp import Pattern, compile_pattern

__all__ = [
    "Access",
    "Decision",
    "Effect",
    "Operator",
    "PolicyFaultError",
    "Rule",
    "Test",
    "compile_condition",
    "conclude",
    "fits",
]


class Effect(Enum):
    """What a policy says when it applies."""

    ALLOW = "allow"
    """The access is granted, unless another policy denies it."""
    DENY = "deny"
    """The access is refused."""


class Operator(Enum):
    """How a condition compares its field with its value."""

    EQ = "eq"
    """Equal."""
    NE = "ne"
    """Not equal."""
    LT = "lt"
    """Less."""
    GT = "gt"
    """Greater."""
    LTE = "lte"
    """Less or equal."""
    GTE = "gte"
    """Greater or equal."""
    IN = "in"
    """One of a list."""
    NIN = "nin"
    """None of a list."""
    EXISTS = "exists"
    """The field is there."""
    NEXISTS = "nexists"
    """The field is not there."""
    CONTAINS = "contains"
    """The field has the value in it."""
    NCONTAINS = "ncontains"
    """The field does not have the value in it."""
    MATCHES = "matches"
    """The field matches a regular expression."""
    NMATCHES = "nmatches"
    """The field does not match a regular expression."""


class Decision(Enum):
    """What policies say of one access."""

    ALLOW = "allow"
    """It is granted."""
    DENY = "deny"
    """It is refused."""
    UNDEFINED = "undefined"
    """They say nothing of it."""


class PolicyFaultError(Exception):
    """A test could not be made: its policy must not open anything by that."""


class _Missing(Enum):
    MISSING = 0


_MISSING: Final = _Missing.MISSING
_MOST_DEEP: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who wants to do what.

    Attributes:
        action: Such as ``funcs.call``.
        resource: What it is done to.
        actor: ``{"id": text, "meta": {...}}``; None: nobody.
        meta: More facts.
    """

    action: str
    resource: str
    actor: Mapping[str, Any] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        """A field by its name in a condition; a mark that equals nothing when it is not there."""
        if name == "action":
            return self.action
        if name == "resource":
            return self.resource
        head, _, rest = name.partition(".")
        if head == "meta":
            return _within(self.meta, rest)
        if self.actor is None:
            return _MISSING
        if name == "actor.id":
            return self.actor.get("id", _MISSING)
        return _within(self.actor.get("meta"), rest.partition(".")[2])

    def plain(self) -> dict[str, Any]:
        """The same as plain maps, for expressions. Without an actor, ``actor.id`` is an empty text."""
        actor = self.actor or {}
        return {
            "action": self.action, "resource": self.resource, "meta": dict(self.meta),
            "actor": {"id": actor.get("id", ""), "meta": actor.get("meta") or {}},
        }  # fmt: skip


Test = Callable[[Access], bool]
"""Whether the conditions of a policy hold.

Raises:
    PolicyFaultError: That cannot be told.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy, ready to be asked.

    Attributes:
        actions: Patterns, one of which must fit.
        resources: The same.
        effect: What it says then.
        tests: All must hold.
    """

    actions: Sequence[str]
    resources: Sequence[str]
    effect: Effect
    tests: Sequence[Test] = ()

    def decide(self, access: Access, note: Callable[[str], None] = lambda _why: None) -> Decision:
        """What the policy says of an access.

        A test that cannot be made opens nothing: a policy that allows says nothing then, and one that denies denies.

        Args:
            access: Who wants to do what.
            note: Told why a test could not be made.
        """
        if not any(fits(pattern, access.action) for pattern in self.actions):
            return Decision.UNDEFINED
        if not any(fits(pattern, access.resource) for pattern in self.resources):
            return Decision.UNDEFINED
        try:
            if not all(test(access) for test in self.tests):
                return Decision.UNDEFINED
        except PolicyFaultError as error:
            note(str(error))
            return Decision.DENY if self.effect is Effect.DENY else Decision.UNDEFINED
        return Decision(self.effect.value)


def conclude(decisions: Iterable[Decision]) -> Decision:
    """Several policies' answers as one: deny before allow before undefined."""
    found = Decision.UNDEFINED
    for decision in decisions:
        if decision is Decision.DENY:
            return decision
        if decision is Decision.ALLOW:
            found = decision
    return found


def fits(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern says, from end to end; ``*`` stands for any characters, or none."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    if not text.startswith(first):
        return False
    *middle, last = rest
    at, end = len(first), len(text) - len(last)
    if end < at or not text.endswith(last):
        return False
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def compile_condition(name: str, operator: Operator, value: Any = None, value_from: str | None = None) -> Test:
    """A condition as a test.

    A field that is not there equals nothing, is in nothing and matches nothing: the operators that begin with ``n``
    hold for it (but ``nexists``, which is about that alone), the others do not. Values of unlike types are never equal,
    less or greater; whole numbers and fractions are alike, booleans and numbers are not.

    Args:
        name: Field to be looked at.
        operator: How.
        value: What to compare with; a list for ``in`` and ``nin``, an RE2 expression for ``matches`` and ``nmatches``.
        value_from: Another field to compare with instead.

    Raises:
        ValueError: The operator does not take this value.
    """
    if operator in (Operator.EXISTS, Operator.NEXISTS):
        wanted = operator is Operator.EXISTS
        return lambda access: (access.value(name) is not _MISSING) is wanted
    if value_from is None:
        value = _checked(operator, value)
    compare = _COMPARE[operator]

    def test(access: Access) -> bool:
        other = value if value_from is None else access.value(value_from)
        return compare(access.value(name), other)

    return test


def _within(value: Any, path: str) -> Any:
    """Follow a dotted path; a key that has dots itself goes before its parts."""
    for _ in range(_MOST_DEEP):
        if not isinstance(value, Mapping):
            return _MISSING
        if path in value:
            return value[path]
        head, dot, path = path.partition(".")
        if not dot or head not in value:
            return _MISSING
        value = value[head]
    return _MISSING


def _checked(operator: Operator, value: Any) -> Any:
    """The value of a condition, prepared."""
    if operator in (Operator.IN, Operator.NIN) and not isinstance(value, (list, tuple)):
        raise ValueError(f"the operator {operator.value} needs a list")
    if operator in (Operator.LT, Operator.GT, Operator.LTE, Operator.GTE) and _order(value) is None:
        raise ValueError(f"the operator {operator.value} compares numbers or texts")
    if operator in (Operator.MATCHES, Operator.NMATCHES):
        if not isinstance(value, str):
            raise ValueError(f"the operator {operator.value} needs a regular expression, as a text")
        try:
            return Pattern(value.encode())
        except HostError as error:
            raise ValueError(error.message) from error
    return value


def _order(value: Any) -> str | None:
    """The sort of things that a value is less or greater than; None: of nothing."""
    if isinstance(value, bool) or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else None


def _equal(one: Any, other: Any) -> bool:
    if one is _MISSING or other is _MISSING or isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(one: Any, other: Any) -> bool:
        sort = _order(one)
        return sort is not None and sort == _order(other) and compare(one, other)

    return test


def _in(one: Any, other: Any) -> bool:
    return isinstance(other, (list, tuple)) and any(_equal(one, item) for item in other)


def _contains(one: Any, other: Any) -> bool:
    if isinstance(one, str):
        return isinstance(other, str) and other in one
    if isinstance(one, (list, tuple)):
        return _in(other, one)
    return isinstance(one, Mapping) and isinstance(other, str) and other in one


def _matches(one: Any, other: Any) -> bool:
    if not isinstance(one, str) or not isinstance(other, (str, Pattern)):
        return False
    try:
        pattern = other if isinstance(other, Pattern) else compile_pattern(other.encode("utf-8", "surrogateescape"))
        return pattern.first(one.encode("utf-8", "surrogateescape")) is not None
    except HostError as error:
        raise PolicyFaultError(error.message) from error


def _not(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda one, other: not compare(one, other)


_COMPARE: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQ: _equal,
    Operator.NE: _not(_equal),
    Operator.LT: _ordered(lambda one, other: one < other),
    Operator.GT: _ordered(lambda one, other: one > other),
    Operator.LTE: _ordered(lambda one, other: one <= other),
    Operator.GTE: _ordered(lambda one, other: one >= other),
    Operator.IN: _in,
    Operator.NIN: _not(_in),
    Operator.CONTAINS: _contains,
    Operator.NCONTAINS: _not(_contains),
    Operator.MATCHES: _matches,
    Operator.NMATCHES: _not(_matches),
}
