# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Calls, futures, executors and their options."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core import events, payload
from orchestration.core.flags import Flag
from orchestration.core.machine import Mode
from tests.support.lua import RecordingHost
from tests.support.lua_runs import Run, returned

FUNCS = "local funcs = require('funcs') "
IN_BOTH_MODES = pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "function ID required"),
        ("abc", "namespace required in function ID"),
        (":abc", "namespace required in function ID"),
        ("ns:", "name required in function ID"),
    ],
)
@pytest.mark.parametrize("verb", ["call", "async"])
def test_targets_are_checked_in_order(verb: str, target: str, message: str) -> None:
    body = f"local v, e = funcs.{verb}(...) return {{tostring(v), e:message(), e:kind(), e:retryable()}}"
    assert returned(FUNCS + body, target) == ["nil", message, "Invalid", False]


def test_a_target_that_is_no_text_raises() -> None:
    text = returned(FUNCS + "return select(2, pcall(funcs.call, 5))")
    assert text.endswith("bad argument #1 to 'call' (string expected, got number)")


def test_arguments_keep_their_places() -> None:
    run = Run("return function() require('funcs').call('a:b', nil, 1, nil) end")
    (command,) = run.start()
    assert isinstance(command, events.ScheduleActivity)
    assert payload.decode(command.args) == [None, 1, None]


def test_arguments_that_cannot_be_carried_are_returned_errors() -> None:
    assert "sparse" in returned(FUNCS + "local v, e = funcs.call('a:b', {[3] = 1}) return e:message()")


def test_a_failure_keeps_kind_details_and_message_and_names_its_activity() -> None:
    run = Run("""return function() local v, e = require('funcs').call('a:b')
      return {tostring(v), e:kind(), e:message(), e:retryable(), e:details(), errors.is(e, 'NotFound')} end""")
    run.start()
    failure = payload.encode_failure("gone", kind="NotFound", retryable=False, details={"id": 5})
    run.apply(events.ActivityFailed(run.tick(), 1, failure, {"activity_id": "x-1", "retry_state": "non_retryable"}))
    details = {"id": 5, "_wrapper": "activity", "_activity_id": "x-1", "_retry_state": "non_retryable"}
    assert run.result == ["nil", "NotFound", "gone", False, details, True]


@IN_BOTH_MODES
def test_a_future_delivers_a_payload_and_closes(mode: Mode) -> None:
    run = Run("""return function()
      local f = require('funcs').async('a:b')
      local before = {f:is_complete(), tostring(f:result()), f:response() == f:channel()}
      local p, ok = f:response():receive()
      local _, again = f:response():receive()
      return {before, p:data(), ok, again, f:is_complete(), f:is_canceled(), f:result():data(), tostring(f:error()), (select(2, f:error()))} end""", mode=mode, host=RecordingHost())
    run.start()
    run.complete(1, {"x": 1})
    assert run.result == [[False, "nil", True], {"x": 1}, True, False, True, False, {"x": 1}, "nil", False]


@IN_BOTH_MODES
def test_a_failed_future_delivers_its_error_and_keeps_the_kind(mode: Mode) -> None:
    run = Run("""return function()
      local f = require('funcs').async('a:b')
      local e, ok = f:channel():receive()
      local v, again = f:result()
      local same, failed = f:error()
      return {e:kind(), ok, tostring(v), again == e, same == e, failed} end""", mode=mode, host=RecordingHost())
    run.start()
    run.fail(1, "no", "Conflict")
    assert run.result == ["Conflict", True, "nil", True, True, True]


@IN_BOTH_MODES
def test_a_future_that_was_cancelled_stays_so_though_its_result_is_there(mode: Mode) -> None:
    run = Run("""return function()
      local f = require('funcs').async('a:b')
      local p = f:channel():receive()
      local ok, none = f:cancel()
      local v, e = f:result()
      return {p:data(), ok, none == nil, f:is_canceled(), tostring(v), e:kind(), e:message(), e:retryable(), f:error() == nil} end""", mode=mode, host=RecordingHost())
    run.start()
    run.complete(1, "there")
    assert run.result == ["there", True, True, True, "nil", "Canceled", "canceled", False, True]


def test_cancelling_a_future_asks_the_activity_to_stop() -> None:
    run = Run("""return function()
      local f = require('funcs').async('a:b')
      f:cancel() f:cancel()
      local v, e = f:result()
      local got, ok = f:response():receive()
      return {f:is_canceled(), tostring(v), e:kind(), e:message(), e:retryable(), tostring(got), ok} end""")
    run.start()
    assert run.last[:2] == [events.ScheduleActivity(1, "a:b", payload.EMPTY_ARRAY, {}), events.CancelActivity(1)]
    assert run.result == [True, "nil", "Canceled", "canceled", False, "nil", False]


WAITS = """return function()
      local f = require('funcs').new():with_options{["activity.wait_for_cancellation"] = true}:async('a:b')
      f:cancel() f:cancel()
      local pending = {f:is_canceled(), f:is_complete(), tostring(f:result()), (select(2, f:error()))}
      local got, ok = f:response():receive()
      local p, e = f:result()
      return {pending, ok, tostring(p and p:data()), tostring(e and e:kind()), f:is_complete(), (select(2, f:error()))} end"""


def test_a_future_that_waits_for_cancellation_is_completed_by_the_activitys_answer() -> None:
    run = Run(WAITS)
    run.start(flags=[Flag.WAIT_FOR_CANCELLATION])
    assert run.last[1:] == [events.CancelActivity(1, wait=True)]
    run.fail(1, "operation canceled", "Canceled", False)
    assert run.result == [[True, False, "nil", False], True, "nil", "Canceled", True, True]
    run = Run(WAITS)
    run.start(flags=[Flag.WAIT_FOR_CANCELLATION])
    run.complete(1, "done all the same")
    assert run.result == [[True, False, "nil", False], True, "done all the same", "nil", True, False]


def test_a_run_of_before_waits_for_no_cancellation() -> None:
    run = Run(WAITS)
    run.start(flags=[])
    assert run.last[1] == events.CancelActivity(1)
    assert run.result == [[True, True, "nil", False], False, "nil", "Canceled", True, False]


@IN_BOTH_MODES
def test_results_are_recorded_when_nobody_listens(mode: Mode) -> None:
    run = Run("""return function()
      local funcs = require('funcs')
      local a, b = funcs.async('a:a'), funcs.async('a:b')
      local r = channel.select{ a:response():case_receive(), b:response():case_receive() }
      return {r.channel == b:response(), r.value:data(), a:is_complete(), funcs.call('a:c'), a:result():data()} end""", mode=mode, host=RecordingHost())
    run.start()
    run.complete(2, "b")
    run.complete(1, "a")
    run.complete(3, "c")
    assert run.result == [True, "b", False, "c", "a"]


def options_of(code: str, **changes: Any) -> dict[str, Any]:
    run = Run(f"return function() local e = require('funcs').new(){code} e:call('a:b') end")
    (command,) = run.start(**changes)
    assert isinstance(command, events.ScheduleActivity), run.failure
    return command.options


def test_options_are_normalised() -> None:
    assert options_of("""
      :with_options{
        ["activity.start_to_close_timeout"] = "1m30s", ["temporal.activity.heartbeat_timeout"] = 1500,
        ["temporal.activity.task_queue"] = "loses", ["activity.task_queue"] = "wins", ["activity.id"] = "x",
        ["activity.wait_for_cancellation"] = true, ["activity.schedule_to_close_timeout"] = "1.0005s", other = 1,
        ["activity.schedule_to_start_timeout"] = 0.2,
        ["temporal.activity.retry_policy"] = {
          initialInterval = "2s", backoff_coefficient = 1.5, maximum_interval = 60000, maximumAttempts = 3,
          non_retryable_error_types = {"Invalid", "X"},
        },
      }""") == {
        "start_to_close_timeout_ms": 90_000,
        "heartbeat_timeout_ms": 1500,
        "task_queue": "wins",
        "id": "x",
        "wait_for_cancellation": True,
        "schedule_to_close_timeout_ms": 1001,
        "schedule_to_start_timeout_ms": 1,
        "retry": {
            "initial_interval_ms": 2000,
            "backoff_coefficient": 1.5,
            "maximum_interval_ms": 60_000,
            "maximum_attempts": 3,
            "non_retryable_error_types": ["Invalid", "X"],
        },
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ('["activity.task_queue"] = ""', "activity.task_queue cannot be empty"),
        ('["activity.id"] = 5', "activity.id must be a string, got number"),
        ('["activity.start_to_close_timeout"] = {}', "activity.start_to_close_timeout must be a duration, got table"),
        ('["activity.start_to_close_timeout"] = "soon"', 'activity.start_to_close_timeout has invalid value "soon"'),
        ('["activity.start_to_close_timeout"] = -1', 'activity.start_to_close_timeout has invalid value "-1"'),
        ('["activity.retry_policy"] = 5', "activity.retry_policy must be a table, got number"),
        (
            '["activity.retry_policy"] = {maximum_attempts = 1.5}',
            "activity.retry_policy.maximum_attempts must be an integer",
        ),
        ('["activity.retry_policy"] = {backoffCoefficient = 0.5}', "backoff_coefficient must be at least 1"),
        ('["activity.wait_for_cancellation"] = 1', "must be a boolean, got number"),
    ],
)
def test_invalid_options_are_returned_errors(options: str, text: str) -> None:
    body = (
        f"local v, e = funcs.new():with_options{{{options}}}:call('a:b') return {{tostring(v), e:kind(), e:message()}}"
    )
    nil, kind, message = returned(FUNCS + body)
    assert (nil, kind) == ("nil", "Invalid")
    assert message.startswith("invalid temporal activity options for a:b: ")
    assert text in message


def test_options_replace_and_contexts_accumulate_over_what_is_inherited() -> None:
    code = ":with_options{['activity.id']='x'}:with_context{a = 1, b = 2, f = print}:with_context{b = 3}:with_options{}"
    assert options_of(code, ctx={"b": 0, "c": "in"}) == {"ctx": {"a": 1, "b": 3, "c": "in"}}
    assert options_of("", ctx={"c": "in"}) == {"ctx": {"c": "in"}}
    assert options_of("") == {}


def test_executors_do_not_change() -> None:
    body = "local e = funcs.new() local d = e:with_options{['activity.task_queue'] = ''} return {e:call('a:b', 1), d:call('a:b', 1) == nil}"
    assert returned(FUNCS + body) == [1, True]


@pytest.mark.parametrize("method", ["actor", "scope"])
def test_security_identities_must_be_given(method: str) -> None:
    text = returned(FUNCS + f"return select(2, pcall(function() funcs.new():with_{method}(nil) end))")
    assert text.endswith(f"{method} cannot be nil")


def test_functions_hand_on_their_options_as_they_are() -> None:
    run = Run(
        "return function() require('funcs').new():with_options{retry = {max_attempts = 2}, timeout = 5}:call('a:b') end",
        mode=Mode.FUNCTION,
        host=None,
    )
    run.machine.host = type("H", (), {"random": lambda _s, n: bytes(n), "now_ms": lambda _s: 1})()
    (command,) = run.start()
    assert isinstance(command, events.ScheduleActivity)
    assert command.options == {"options": {"retry": {"max_attempts": 2}, "timeout": 5}}


def test_context_is_read_with_ctx() -> None:
    run = Run("""return function() local ctx = require('ctx')
      local v, e = ctx.get('none') local _, empty = ctx.get('')
      ctx.all().a = 5 ctx.get('t').x = 9
      return {ctx.get('a'), ctx.get('t'), ctx.all(), e:kind(), empty:kind()} end""")
    run.start(ctx={"a": 1, "t": {"x": 1}})
    assert run.result == [1, {"x": 1}, {"a": 1, "t": {"x": 1}}, "NotFound", "Invalid"]
