# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Conditions: a coroutine waits until a function of the run's state is true."""

from __future__ import annotations

import pytest

from orchestration.core import events
from tests.support.lua_runs import Run

HEAD = 'local workflow, time, funcs = require("workflow"), require("time"), require("funcs")\n'


def run_of(body: str) -> Run:
    run = Run(f"{HEAD}return function(...)\n{body}\nend")
    run.start()
    return run


TALLY = """
local count = 0
coroutine.spawn(function()
  local inbox = process.inbox()
  while true do count = count + inbox:receive():payload():data() end
end)
"""


def test_a_true_condition_does_not_wait() -> None:
    run = run_of("return workflow.wait(function() return 1 end)")
    assert run.result is True


def test_a_condition_is_looked_at_after_each_input() -> None:
    run = run_of(TALLY + "local ok = workflow.wait(function() return count >= 3 end) return { ok, count }")
    run.signal("n", 1)
    assert not run.machine.closed
    run.signal("n", 4)
    assert run.result == [True, 5]
    run.replayed()


def test_a_timeout_gives_false() -> None:
    run = run_of(TALLY + 'return workflow.wait(function() return count >= 3 end, "1m")')
    assert run.last == [events.StartTimer(1, 60_000)]
    run.signal("n", 1)
    run.fire(1, 60_000)
    assert run.result is False
    run.replayed()


def test_a_condition_in_time_takes_its_timer_back() -> None:
    run = run_of(TALLY + 'return workflow.wait(function() return count >= 3 end, "1m")')
    assert run.signal("n", 3)[0] == events.CancelTimer(1)
    assert run.result is True
    run.replayed()


def test_the_condition_is_looked_at_once_more_when_the_time_is_over() -> None:
    run = run_of("""local time = require("time")
    local deadline = os.time() + 60
    return workflow.wait(function() return os.time() >= deadline end, "1m")""")
    run.fire(1, 60_000)
    assert run.result is True


@pytest.mark.parametrize("timeout", ["0", '"0s"', "-5"])
def test_no_time_is_one_look(timeout: str) -> None:
    run = run_of(f"return workflow.wait(function() return false end, {timeout})")
    assert run.result is False
    assert len(run.history) == 2


def test_a_timeout_that_is_none_gives_an_error() -> None:
    run = run_of('local ok, err = workflow.wait(function() return false end, "soon") return { tostring(ok), err:kind(), err:message() }')
    assert run.result[:2] == ["nil", "Invalid"]
    assert run.result[2].startswith("workflow.wait: ")


def test_an_error_in_the_condition_reaches_whoever_waits() -> None:
    run = run_of(TALLY + """
    local ok, err = pcall(workflow.wait, function() if count > 0 then error("bad " .. count) end end)
    return { ok, err }""")
    run.signal("n", 2)
    assert run.result == [False, "flow.lua:10: bad 2"]
    run.replayed()


def test_a_condition_still_holds_when_its_waiter_goes_on() -> None:
    """Two wait for one thing: the first takes it, so the second waits on."""
    run = run_of("""
    local things, got = 0, {}
    for i = 1, 2 do
      coroutine.spawn(function()
        workflow.wait(function() return things > 0 end)
        things = things - 1
        got[#got + 1] = { i, things }
      end)
    end
    local inbox = process.inbox()
    while #got < 2 do
      inbox:receive()
      things = things + 1
      time.sleep("1ms")
    end
    return got""")
    run.signal("one")
    run.fire(1)
    run.signal("one")
    run.fire(2)
    assert run.result == [[1, 0], [2, 0]]
    run.replayed()


def test_one_input_can_let_several_go_on_in_order() -> None:
    run = run_of(TALLY + """
    local order, done = {}, channel.new(3)
    for i = 1, 3 do
      coroutine.spawn(function()
        workflow.wait(function() return count >= i end)
        order[#order + 1] = i
        if i == 1 then count = 1 end
        done:send(i)
      end)
    end
    for _ = 1, 3 do done:receive() end
    return order""")
    run.signal("n", 3)
    assert not run.machine.closed, "the first took the others' condition away"
    run.signal("n", 2)
    assert run.result == [1, 2, 3]
    run.replayed()


def test_waiting_is_seen_where_it_stands() -> None:
    run = run_of('workflow.wait(function() return false end, "1h")')
    (place,) = run.machine.places()
    assert (place.line, place.waits_for) == (3, "workflow.wait 1h0m0s")


def test_a_wait_works_inside_coroutines_of_the_code() -> None:
    run = run_of(TALLY + """
    local co = coroutine.wrap(function()
      local ok = workflow.wait(function() return count > 0 end)
      coroutine.yield(ok)
      return "end"
    end)
    return { co(), co() }""")
    run.signal("n", 1)
    assert run.result == [True, "end"]
    run.replayed()


def test_a_wait_with_a_timeout_can_be_taken_back() -> None:
    run = run_of("""
    coroutine.spawn(function() process.events():receive() workflow.cancel_pending() end)
    local ok, err = workflow.wait(function() return false end, "1h")
    return { tostring(ok), err:kind() }""")
    assert run.cancel()[0] == events.CancelTimer(1)
    assert run.result == ["nil", "Canceled"]
    run.replayed()
