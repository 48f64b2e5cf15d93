# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Sagas: compensations in reverse, all of them, each failure told."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core import events
from orchestration.core.machine import Mode
from tests.support.lua_runs import Run, returned

HEAD = 'local workflow, time, funcs = require("workflow"), require("time"), require("funcs")\n'


def result_of(body: str) -> Any:
    return returned(body, prelude=HEAD)


def test_compensations_run_in_reverse_with_their_arguments() -> None:
    assert result_of("""
    local log, s = {}, workflow.saga()
    for i = 1, 3 do s:add(function(...) log[#log + 1] = { i, select("#", ...), (select(2, ...)) } end, nil, i * 10, nil) end
    local ok, failures = s:compensate()
    return { ok, failures == nil, log }""") == [True, True, [[3, 3, 30], [2, 3, 20], [1, 3, 10]]]


def test_a_failing_compensation_stops_no_other_and_all_are_told() -> None:
    assert result_of("""
    local log, s = {}, workflow.saga()
    s:add("refund", function() log[#log + 1] = "refund" error("no money") end)
    s:add(function() log[#log + 1] = "release" return nil, errors.new{ message = "gone", kind = "NotFound" } end)
    s:add("mail", function() log[#log + 1] = "mail" return nil, "no address" end)
    s:add("note", function() log[#log + 1] = "note" return false end)
    local ok, failures = s:compensate()
    local told = {}
    for i, f in ipairs(failures) do told[i] = { f.index, f.name or "-", f.error:kind(), f.error:message() } end
    return { ok, log, told }""") == [
        False, ["note", "mail", "release", "refund"],
        [[3, "mail", "Internal", "no address"], [2, "-", "NotFound", "gone"], [1, "refund", "Internal", "flow.lua:5: no money"]],
    ]  # fmt: skip


def test_a_second_compensate_runs_nothing_and_tells_the_same() -> None:
    assert result_of("""
    local n, s = 0, workflow.saga()
    s:add(function() n = n + 1 error("x", 0) end)
    local first, a = s:compensate()
    local second, b = s:compensate()
    return { first, second, n, #a, #b, b[1].error:message() }""") == [False, False, 1, 1, 1, "x"]


def test_compensations_may_wait_and_survive_a_replay() -> None:
    run = Run(HEAD + """return function()
      local s = workflow.saga()
      s:add(funcs.call, "app:undo", 1)
      s:add(function(d) time.sleep(d) end, "1s")
      local _, err = funcs.call("app:do")
      if err then
        local ok, failures = s:compensate()
        return { ok, failures[1].error:message() }
      end
    end""")
    run.start()
    assert isinstance(run.fail(1, "no", retryable=False)[0], events.StartTimer)
    assert isinstance(run.fire(2, 1000)[0], events.ScheduleActivity)
    run.fail(3, "undo failed")
    assert run.result == [False, "undo failed"]
    run.replayed()


def test_whoever_compensates_meanwhile_waits_for_the_same_answer() -> None:
    run = Run(HEAD + """return function()
      local s, done, n = workflow.saga(), channel.new(2), 0
      s:add(function() n = n + 1 time.sleep("1s") end)
      for _ = 1, 2 do coroutine.spawn(function() done:send((s:compensate())) end) end
      return { done:receive(), done:receive(), n }
    end""")
    run.start()
    run.fire(1, 1000)
    assert run.result == [True, True, 1]
    run.replayed()


def test_a_closed_saga_undoes_nothing() -> None:
    assert result_of("""
    local n, s = 0, workflow.saga()
    s:add(function() n = n + 1 end)
    local size = s:size()
    s:close()
    return { size, s:size(), s:compensate(), n }""") == [1, 0, True, 0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("s:close() s:add(print)", "the saga is over: it has been closed"),
        ("s:compensate() s:add(print)", "the saga is over: it has been compensated"),
        ("s:add(1)", "bad argument #1 to 'add' (function expected, got number)"),
        ('s:add("name", 1)', "bad argument #2 to 'add' (function expected, got number)"),
        ("s.add(1, print)", "bad argument #1 to 'add' (saga expected, got number)"),
    ],
)
def test_a_wrong_use_raises(body: str, message: str) -> None:
    assert message in result_of(f"local s = workflow.saga() local ok, err = pcall(function() {body} end) return err")


def test_a_saga_works_in_functions_too() -> None:
    run = Run(HEAD + "return function() local s, n = workflow.saga(), 0 s:add(function() n = 1 end) s:compensate() return n end", mode=Mode.FUNCTION)
    run.start()
    assert run.result == 1


def test_a_compensation_that_compensates_its_own_saga_is_told_so() -> None:
    """It waited for itself, for ever."""
    assert result_of("""
    local s = workflow.saga()
    s:add(function() s:compensate() end)
    local ok, failures = s:compensate()
    return { ok, failures[1].error:message() }""") == [False, "flow.lua:5: a compensation cannot wait for its own saga"]
