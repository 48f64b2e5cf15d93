# ruff: noqa: E501 - tables of cases read better on one line
"""What policies say: patterns, conditions, how several come to one answer."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core.policies import Access, Decision, Effect, Operator, Rule, compile_condition, conclude, fits

ANN = {"id": "ann", "meta": {"role": "admin", "level": 5, "tags": ["a", "b"], "on": True, "team": {"name": "x"}, "a.b": 1}}


def access(**changes: Any) -> Access:
    fields: dict[str, Any] = {"action": "doc.read", "resource": "doc:7", "actor": ANN, "meta": {"n": 2.5, "owner": "ann"}}
    return Access(**{**fields, **changes})


def holds(name: str, operator: str, value: Any = None, value_from: str | None = None, **changes: Any) -> bool:
    return compile_condition(name, Operator(operator), value, value_from)(access(**changes))


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True), ("*", "a:b.c", True), ("doc:*", "doc:", True), ("doc:*", "document:1", False),
        ("*.read", "doc.read", True), ("*.read", "doc.read.all", False), ("a*b*c", "a--b--c", True),
        ("a*b*c", "abc", True), ("a*b*c", "acb", False), ("ab*ba", "aba", False), ("a**b", "ab", True),
        ("a.b", "axb", False), ("a?", "ab", False), ("[a]", "a", False), ("", "", True), ("", "a", False),
        ("*a*a*", "a", False), ("*aa", "aaa", True),
    ],
)  # fmt: skip
def test_a_star_stands_for_any_characters_and_nothing_else_is_special(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


def test_many_stars_take_no_long_time() -> None:
    assert not fits("*a" * 200 + "b", "a" * 20_000)


@pytest.mark.parametrize(
    ("name", "operator", "value", "expected"),
    [
        ("actor.id", "eq", "ann", True), ("actor.id", "ne", "ann", False), ("action", "eq", "doc.read", True),
        ("resource", "in", ["doc:7"], True), ("resource", "nin", ["doc:7"], False),
        ("actor.meta.level", "eq", 5.0, True), ("actor.meta.level", "eq", "5", False),
        ("actor.meta.on", "eq", True, True), ("actor.meta.on", "eq", 1, False), ("actor.meta.on", "in", [1], False),
        ("actor.meta.level", "lt", 5.5, True), ("actor.meta.level", "gte", 5, True), ("actor.meta.level", "gt", 5, False),
        ("actor.meta.level", "lte", 4, False), ("actor.meta.role", "lt", "b", True), ("actor.meta.role", "lt", 9, False),
        ("actor.meta.on", "lt", 9, False), ("meta.n", "gt", 2, True),
        ("actor.meta.tags", "contains", "a", True), ("actor.meta.tags", "ncontains", "c", True),
        ("actor.meta.role", "contains", "dmi", True), ("actor.meta.team", "contains", "name", True),
        ("actor.meta.level", "contains", 5, False), ("actor.meta.tags", "eq", ["a", "b"], True),
        ("actor.meta.tags", "eq", ["b", "a"], False), ("actor.meta.team", "eq", {"name": "x"}, True),
        ("actor.meta.team.name", "eq", "x", True), ("actor.meta.a.b", "eq", 1, True),
        ("resource", "matches", "^doc:[0-9]+$", True), ("resource", "matches", "[0-9]", True),
        ("resource", "nmatches", "^x", True), ("actor.meta.level", "matches", "5", False),
        ("actor.meta.level", "nmatches", "5", True),
    ],
)  # fmt: skip
def test_each_operator_compares_values_of_their_types(name: str, operator: str, value: Any, expected: bool) -> None:
    assert holds(name, operator, value) is expected


@pytest.mark.parametrize("name", ["meta.gone", "actor.meta.gone", "actor.meta.role.deeper", "actor.meta.tags.0"])
def test_a_field_that_is_missing_satisfies_the_negations_alone(name: str) -> None:
    given: dict[str, Any] = {"in": ["a"], "nin": ["a"], "lt": 1, "gt": 1, "lte": 1, "gte": 1}
    found = {
        operator.value for operator in Operator if holds(name, operator.value, given.get(operator.value, "a"))
    }
    assert found == {"ne", "nin", "ncontains", "nmatches", "nexists"}


def test_a_field_that_is_there_exists_whatever_its_value() -> None:
    assert holds("actor.meta.role", "exists")
    assert not holds("actor.meta.role", "nexists")
    assert holds("meta.x", "exists", meta={"x": None})
    assert not holds("actor.id", "exists", actor=None)


def test_a_value_can_come_from_another_field() -> None:
    assert holds("meta.owner", "eq", value_from="actor.id")
    assert not holds("meta.owner", "eq", value_from="actor.id", meta={"owner": "bob"})
    assert not holds("meta.gone", "eq", value_from="actor.meta.gone")
    assert holds("actor.id", "in", value_from="meta.list", meta={"list": ["ann"]})
    assert not holds("actor.id", "in", value_from="meta.list", meta={"list": "ann"})
    assert holds("resource", "matches", value_from="meta.re", meta={"re": "^doc"})


def test_nan_is_equal_to_nothing_and_in_no_order() -> None:
    nan = {"n": float("nan")}
    assert not any(holds("meta.n", how, 1.0, meta=nan) for how in ("eq", "lt", "gt", "lte", "gte"))


@pytest.mark.parametrize(
    ("operator", "value", "text"),
    [
        ("in", "ann", "needs a list"), ("nin", 5, "needs a list"), ("lt", [1], "numbers or texts"),
        ("gt", True, "numbers or texts"), ("gte", float("nan"), "numbers or texts"), ("matches", 5, "regular expression"),
        ("matches", "(", "missing"), ("nmatches", "(?=a)", "invalid"), ("matches", "a" * 9000, "pattern"),
    ],
)  # fmt: skip
def test_a_value_that_the_operator_cannot_use_is_refused_at_once(operator: str, value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        compile_condition("actor.id", Operator(operator), value)


def test_expressions_that_would_backtrack_take_no_long_time() -> None:
    assert not holds("meta.t", "matches", "^(a+)+$", meta={"t": "a" * 5000 + "b"})


def rule(effect: str, *tests: Any, actions: tuple[str, ...] = ("*",), resources: tuple[str, ...] = ("*",)) -> Rule:
    return Rule(actions=actions, resources=resources, effect=Effect(effect), tests=tests)


def test_a_policy_applies_when_action_resource_and_all_conditions_fit() -> None:
    yes, no = compile_condition("actor.id", Operator.EQ, "ann"), compile_condition("actor.id", Operator.EQ, "bob")
    assert rule("allow", yes).decide(access()) is Decision.ALLOW
    assert rule("deny", yes, yes).decide(access()) is Decision.DENY
    assert rule("allow", yes, no).decide(access()) is Decision.UNDEFINED
    assert rule("allow", actions=("x", "doc.*")).decide(access()) is Decision.ALLOW
    assert rule("allow", actions=("x",)).decide(access()) is Decision.UNDEFINED
    assert rule("allow", resources=("x",)).decide(access()) is Decision.UNDEFINED


def test_a_condition_that_cannot_be_tested_opens_nothing() -> None:
    bad = compile_condition("resource", Operator.MATCHES, None, "meta.re")
    asked = access(meta={"re": "("})
    notes: list[str] = []
    assert rule("allow", bad).decide(asked, notes.append) is Decision.UNDEFINED
    assert rule("deny", bad).decide(asked, notes.append) is Decision.DENY
    assert len(notes) == 2


def test_deny_goes_before_allow_before_undefined() -> None:
    allow, deny, nothing = Decision.ALLOW, Decision.DENY, Decision.UNDEFINED
    assert conclude([nothing, allow, deny]) is deny
    assert conclude([allow, nothing]) is allow
    assert conclude([nothing]) is conclude([]) is nothing
