"""``workflow.cancel_pending()``: what waits is taken back, each in its own way."""

from __future__ import annotations

import pytest

from orchestration.core import events, payload
from tests.support.lua_runs import Run

FRAME = """
local time, funcs, workflow = require("time"), require("funcs"), require("workflow")
return function()
    local out = {}
    local function branch(fn) coroutine.spawn(function() fn(out) end) end
    %s
    process.events():receive()
    out.taken_back = workflow.cancel_pending()
    time.sleep("1s")
    return out
end
"""


def cancelled(body: str, *prepare: events.Event) -> Run:
    """A run that has taken back what this waits for, and sleeps a second."""
    run = Run(FRAME % body)
    run.start()
    for event in prepare:
        run.apply(event)
    run.cancel("enough")
    return run


def finish(run: Run) -> dict:
    (timer,) = [item for item in map(events.decode, run.history) if isinstance(item, events.StartTimer)][-1:]
    run.fire(timer.seq)
    run.replayed()
    return run.result


def test_a_call_and_a_sleep_return_a_canceled_error() -> None:
    run = cancelled("""
        branch(function(o) local _, err = funcs.call("app:x") o.call = { err:kind(), err:retryable() } end)
        branch(function(o) local _, err = time.sleep("1h") o.sleep = err:kind() end)
    """)
    assert [type(item).__name__ for item in run.last[:2]] == ["CancelActivity", "CancelTimer"]
    assert finish(run) == {"call": ["Canceled", False], "sleep": "Canceled", "taken_back": 2}


def test_channels_of_futures_and_timers_close() -> None:
    run = cancelled("""
        local future = funcs.async("app:x")
        local timer, after, ticker = time.timer("1h"), time.after("2h"), time.ticker("3h")
        for name, ch in pairs({ future = future:response(), timer = timer:channel(), after = after, ticker = ticker:channel() }) do
            branch(function(o) local value, ok = ch:receive() o[name] = { value == nil, ok } end)
        end
    """)  # noqa: E501 - Lua reads better on one line
    closed = [True, False]
    assert finish(run) == {"future": closed, "timer": closed, "after": closed, "ticker": closed, "taken_back": 4}


def test_a_child_is_asked_to_end_and_answered_for_when_it_has() -> None:
    started = events.ChildStarted(1_700_000_000_010, 1, "{a@b|c}")
    run = cancelled('branch(function(o) local _, err = process.exec("app:c", "w") o.child = err:kind() end)', started)
    (request,) = [item for item in run.last if isinstance(item, events.CancelExternal)]
    assert (request.pid, request.terminate) == ("{a@b|c}", False)
    run.done(request.seq)
    failure = payload.encode_failure("stopped", kind="Canceled")
    run.apply(events.ChildEnded(run.tick(), 1, "{a@b|c}", False, failure))
    assert finish(run)["child"] == "Canceled"


@pytest.mark.parametrize("verb", ["exec", "spawn"])
def test_a_child_that_has_not_started_yet_is_asked_to_end_when_it_has(verb: str) -> None:
    run = cancelled(f'branch(function(o) process.{verb}("app:c", "w") end)')
    assert not [item for item in run.last if isinstance(item, events.CancelExternal)]
    commands = run.apply(events.ChildStarted(run.tick(), 1, "{a@b|c}"))
    assert [item.pid for item in commands if isinstance(item, events.CancelExternal)] == ["{a@b|c}"]


def test_a_timer_that_was_taken_back_cannot_be_set_again() -> None:
    run = Run("""
        local time, workflow = require("time"), require("workflow")
        return function()
            local timer = time.timer("1h")
            workflow.cancel_pending()
            return select(2, pcall(timer.reset, timer, "1s"))
        end
    """)
    run.start()
    assert "the timer was canceled" in run.result


def test_nothing_to_take_back_is_nothing() -> None:
    run = Run('return function() return (require("workflow").cancel_pending()) end')
    run.start()
    assert run.result == 0
