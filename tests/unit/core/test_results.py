# ruff: noqa: E501 - tables of cases read better on one line
"""What a function, process or workflow returns, and what its caller gets: the same rule for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestration.core.machine import Mode
from tests.support.lua_runs import Run


class Host:
    def now_ms(self) -> int:
        return 1

    def random(self, n: int) -> bytes:
        return bytes(n)

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        """Nobody reads it."""


@pytest.fixture(params=[Mode.WORKFLOW, Mode.FUNCTION], ids=["workflow", "function"])
def ended(request: pytest.FixtureRequest) -> Any:
    def end(code: str) -> Run:
        run = Run(f"return function() {code} end", mode=request.param, host=Host())
        run.start()
        return run

    return end


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("", None), ("return", None), ("return nil", None), ("return 5", 5), ("return 5, nil", 5), ("return false", False),
        ("return 5, 7", 5), ("return 5, true", 5), ("return 5, {}", 5), ("return 5, channel.new()", 5),
        ("return 1, nil, 'x', errors.new('y')", 1), ("return nil, 5", None),
    ],
)  # fmt: skip
def test_the_first_value_is_the_result_and_what_is_no_error_beside_it_is_ignored(ended: Any, code: str, value: object) -> None:
    assert ended(code).result == value


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("return nil, errors.new{message = 'm', kind = 'K', retryable = true, details = {a = 1}}", {"message": "m", "kind": "K", "retryable": True, "details": {"a": 1}}),
        ("return 5, errors.new('m')", {"message": "m", "kind": ""}),
        ("return false, errors.new('m')", {"message": "m", "kind": ""}),
        ("return {}, 'text'", {"message": "text", "kind": "Internal", "retryable": False}),
        ("return false, 'why'", {"message": "why", "kind": "Internal", "retryable": False}),
        ("return 1, '', 2", {"message": "", "kind": "Internal", "retryable": False}),
    ],
)
def test_an_error_beside_the_result_is_the_outcome_and_the_value_is_dropped(ended: Any, code: str, failure: dict[str, Any]) -> None:
    found = ended(code).failure
    found.pop("stack")
    assert found == failure


@pytest.mark.parametrize(
    ("code", "text"),
    [("error('boom')", "flow.lua:1: boom"), ("local x = nil; x.y = 1", "attempt to index a nil value"), ("error('boom', 0)", "boom"), ("error({})", "(error value is a table)")],
)
def test_a_raised_error_is_internal_with_retryable_unset_and_its_text(ended: Any, code: str, text: str) -> None:
    found = ended(code).failure
    assert (found["kind"], found.get("retryable")) == ("Internal", None)
    assert text in found["message"]


def test_a_raised_error_object_keeps_its_facts(ended: Any) -> None:
    found = ended("error(errors.new{message = 'm', kind = 'K', retryable = false})").failure
    assert (found["kind"], found["message"], found["retryable"]) == ("K", "m", False)


def test_an_error_in_a_coroutine_fails_the_whole_call(ended: Any) -> None:
    assert "boom" in ended("coroutine.spawn(function() error('boom') end) return 5").failure["message"]


def test_coroutines_that_are_left_when_main_returns_are_dropped(ended: Any) -> None:
    assert ended("coroutine.spawn(function() channel.new():receive() error('never') end) return 5").result == 5


def test_what_cannot_be_encoded_fails_the_call(ended: Any) -> None:
    found = ended("return {[3] = 1}").failure
    assert (found["kind"], found["retryable"]) == ("Internal", False)
    assert found["message"].startswith("failed to encode result: cannot encode sparse array")


def test_objects_of_the_library_and_functions_become_nil_when_they_leave(ended: Any) -> None:
    code = "local t = require('time') return {print, t.now(), channel.new(), require('funcs').new(), coroutine.create(print), 1}"
    assert ended(code).result == [None, None, None, None, None, 1]


def test_integers_floats_and_binary_text_survive_and_fields_that_are_nil_are_none(ended: Any) -> None:
    found = ended("return {1, 1.0, '\\255\\0', {a = nil, b = 2}, {}}").result
    assert found == [1, 1.0, b"\xff\x00", {"b": 2}, []]
    assert [type(value) for value in found[:2]] == [int, float]
