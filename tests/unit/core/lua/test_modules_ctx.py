"""The Lua module ctx: what a call came with, the same in workflows, functions and processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestration.core.machine import Mode
from tests.support.lua import RecordingHost
from tests.support.lua_runs import Run

Ask = Callable[..., Any]
FACTS = "local v, err = ctx.get(...) return { nothing = v == nil, kind = err:kind(), retryable = err:retryable() }"


@pytest.fixture(params=list(Mode), ids=lambda mode: mode.value)
def ask(request: pytest.FixtureRequest) -> Ask:
    """What a main function of this body returns, called with these arguments and context values."""

    def ask(body: str, *args: Any, **context: Any) -> Any:
        source = f"local ctx = require('ctx') return function(...) {body} end"
        run = Run(source, modules=("ctx",), mode=request.param, host=RecordingHost())
        run.start(*args, ctx=context)
        return run.result

    return ask


@pytest.mark.parametrize("value", ["text", 5, 2.5, True, False, {"a": [1, {"b": "c"}]}, [1, 2]])
def test_get_gives_the_value_of_a_key(ask: Ask, value: Any) -> None:
    assert ask("local v, err = ctx.get('k') assert(err == nil) return v", k=value) == value


@pytest.mark.parametrize(("key", "kind"), [("", "Invalid"), ("none", "NotFound")])
def test_a_key_that_is_empty_or_missing_is_an_error_that_is_not_retryable(ask: Ask, key: str, kind: str) -> None:
    assert ask(FACTS, key, k=1) == {"nothing": True, "kind": kind, "retryable": False}


def test_a_key_that_is_no_text_raises(ask: Ask) -> None:
    assert ask("return select(2, pcall(ctx.get, 5))").endswith("bad argument #1 to 'get' (string expected, got number)")


def test_all_gives_every_value_and_an_empty_table_without_any(ask: Ask) -> None:
    assert ask("return ctx.all()", a=1, b={"c": [2]}) == {"a": 1, "b": {"c": [2]}}
    assert ask("return next(ctx.all()) == nil") is True


def test_what_code_does_to_a_value_or_to_the_module_changes_nothing(ask: Ask) -> None:
    body = """ctx.get('t').x = 9 ctx.all().t.x = 9 ctx.all().new = 1
      local ok = pcall(function() ctx.set = 1 end)
      return { ctx.get('t').x, ctx.get('new') == nil, ok, ctx.set == nil }"""
    assert ask(body, t={"x": 1}) == [1, True, False, True]
