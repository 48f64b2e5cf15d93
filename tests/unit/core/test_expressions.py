"""Expressions of policies."""

from __future__ import annotations

import builtins
import time
from typing import Any

import pytest

from orchestration.core.expressions import MissingLibraryError, compile_expression
from orchestration.core.policies import Access, PolicyFaultError

ANN = {"id": "ann", "meta": {"role": "admin", "level": 5, "tags": ["a", "b"]}}


def holds(source: str, actor: Any = ANN, **meta: Any) -> bool:
    return compile_expression(source)(Access(action="doc.read", resource="doc:7", actor=actor, meta=meta))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('actor.id == "ann" && resource.startsWith("doc:")', True),
        ('actor.meta.role in ["admin", "owner"]', True),
        ("actor.meta.level < 5.5 && !(actor.meta.level > 5)", True),
        ('has(actor.meta.team) && actor.meta.team == "x"', False),
        ('actor.meta.tags.exists(tag, tag == "b")', True),
        ('resource.matches("^doc:[0-9]+$")', True),
        ("meta.owner == actor.id", True),
        ('action == "doc.read" ? true : false', True),
        ('actor.meta["role"] == ".all(" || ".map(x" == ".exists("', False),
    ],
)
def test_an_expression_sees_actor_action_resource_and_meta(source: str, expected: bool) -> None:
    assert holds(source, owner="ann") is expected


def test_without_an_actor_the_id_is_empty() -> None:
    assert holds('actor.id == ""', actor=None)


@pytest.mark.parametrize(
    "source", ["actor.meta.gone == 1", "actor.meta.level", '"x" < 1', "1 / 0 == 1", "meta.re.matches('(')"]
)
def test_what_cannot_be_evaluated_is_a_fault_and_no_answer(source: str) -> None:
    with pytest.raises(PolicyFaultError):
        holds(source, re="x")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("actor.id ==", "parse"), ("user.id == 'ann'", "there is no user"), ("__import__('os')", "there is no __imp"),
        ("meta.f(1)", "there is no f"), ("meta.x.format([1]) == ''", "there is no format"),
        ("[1].all(x, [2].all(y, x < y))", "at most one"), ("true" + " || true" * 1000, "bytes"),
        ("(" * 500 + "true" + ")" * 500, "parse"),
    ],
)  # fmt: skip
def test_an_expression_that_cannot_be_had_is_refused_at_once(source: str, text: str) -> None:
    with pytest.raises((ValueError, PolicyFaultError), match=text):
        holds(source)


def test_values_that_would_take_long_are_refused() -> None:
    begun = time.monotonic()
    deep = [[[list(range(900))] for _ in range(2)]]
    for meta in ({"list": list(range(5000))}, {"text": "x" * 100_000}, {"deep": deep}):
        with pytest.raises(PolicyFaultError, match="more than"):
            holds("size(meta) == 1", **meta)
    assert not holds('meta.text.matches("^(a+)+$")', text="a" * 60_000 + "b")
    assert time.monotonic() - begun < 20


def test_without_the_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "cel":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingLibraryError):
        compile_expression("true")
