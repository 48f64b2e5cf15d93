# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""The module ``workflow``: what it says and does inside of workflows, and what outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestration.core import events, payload
from orchestration.core.machine import Mode
from tests.support.lua_runs import Run, returned

W = "local w = require('workflow') "


class Host:
    def now_ms(self) -> int:
        return 1

    def random(self, n: int) -> bytes:
        return bytes(n)

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        """Nobody reads it."""


def outside(body: str) -> Any:
    run = Run(f"return function() {W}{body} end", mode=Mode.FUNCTION, host=Host())
    run.start()
    return run.result


def test_info_has_the_ids_the_type_the_queue_and_the_numbers() -> None:
    info = returned(W + "return w.info()")
    assert {key: info[key] for key in ("workflow_id", "run_id", "workflow_type", "task_queue", "namespace", "attempt")} == {
        "workflow_id": "w-1", "run_id": "r-1", "workflow_type": "app:flow", "task_queue": "orders", "namespace": "default", "attempt": 1,
    }  # fmt: skip
    assert info["history_length"] == 1
    assert info["history_size"] > 0


def test_info_and_lengths_have_no_second_value() -> None:
    assert returned(W + "return {select('#', w.info()), select('#', w.history_length()), select('#', w.history_size()), tostring(select(2, w.info()))}") == [2, 2, 2, "nil"]


def test_history_grows_with_recorded_steps() -> None:
    run = Run(f"return function() {W} local a = w.history_length() require('time').sleep('1s') return {{a, (w.history_length())}} end")
    run.start()
    run.fire(1)
    assert run.result == [1, 3]


def test_version_gives_max_first_and_then_the_recorded_number() -> None:
    assert returned(W + "return {w.version('c', 1, 3), (w.version('c', 1, 5))}") == [3, 3]


@pytest.mark.parametrize(("call", "text"), [("w.version('', 1, 2)", "change ID required"), ("w.version('c', 3, 2)", "min version is larger than max version")])
def test_version_refuses_an_empty_id_and_a_range_that_is_none(call: str, text: str) -> None:
    body = W + f"local v, e = {call} return {{v == nil, e:kind(), e:message()}}"
    assert returned(body) == [True, "Invalid", text] == outside(body)


def test_outside_workflows_there_is_no_info_no_history_and_the_newest_version() -> None:
    found = outside("local i, e = w.info() return {i == nil, e == nil, w.history_length(), w.history_size(), (w.version('c', 1, 7))}")
    assert found == [True, True, 0, 0, 7]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("w.exec('')", "workflow ID required"),
        ("w.exec('abc')", "invalid workflow ID format (namespace:name required)"),
        ("w.exec(':abc')", "invalid workflow ID format (namespace:name required)"),
        ("w.exec('ns:')", "invalid workflow ID format (namespace:name required)"),
        ("w.attrs{}", "at least one of search or memo required"),
        ("w.attrs{search = 5}", "search must be a table"),
        ("w.attrs{memo = 'x'}", "memo must be a table"),
    ],
)
def test_wrong_arguments_are_returned_errors(call: str, text: str) -> None:
    assert returned(W + f"local v, e = {call} return {{v == nil, e:kind(), e:message(), e:retryable()}}") == [True, "Invalid", text, False]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("w.exec('a:b')", "workflow.exec outside workflow context not yet supported"),
        ("w.attrs{memo = {a = 1}}", "workflow.attrs only available in workflow context"),
        ("w.cancel_pending()", "workflow.cancel_pending only available in workflow context"),
    ],
)
def test_what_needs_a_workflow_is_a_returned_error_outside(call: str, text: str) -> None:
    assert outside(f"local v, e = {call} return {{v == nil, e:kind(), e:message()}}") == [True, "Invalid", text]


def test_exec_is_a_child_on_the_own_queue_and_its_error_keeps_its_facts() -> None:
    run = Run(f"return function() {W} local v, e = w.exec('app:child', 5) return {{v == nil, e:kind(), e:retryable(), e:message()}} end")
    (command,) = run.start()
    assert command == events.StartChild(1, "app:child", "", payload.encode([5]), {})
    run.apply(events.ChildStarted(run.tick(), 1, "{a@b|c}"))
    run.apply(events.ChildEnded(run.tick(), 1, "{a@b|c}", False, payload.encode_failure("no", kind="NotFound", retryable=False)))
    assert run.result == [True, "NotFound", False, "no"]


def test_attrs_are_one_recorded_command() -> None:
    run = Run(f"return function() {W} return w.attrs{{search = {{s = 'v'}}, memo = {{m = {{1}}}}}} end")
    assert run.start()[0] == events.UpsertAttributes(1, {"s": "v"}, {"m": [1]})
    assert run.result is True
    assert returned(W + "return w.attrs{memo = {m = 1}}") is True
