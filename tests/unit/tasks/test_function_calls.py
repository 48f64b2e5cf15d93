# ruff: noqa: E501 - Lua sources read better on one line
"""Functions that call functions: what goes over, what comes back, and what is tried again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestration.errors import ApplicationError
from orchestration.registry import Registry, load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project
from tests.support.replaying import is_replaying_everything

project = Project()
MODULES = ("funcs", "time", "ctx", "json", "uuid")

FRAME = """
local funcs, time, ctx = require("funcs"), require("time"), require("ctx")
local function plain(err)
    return err and { kind = err:kind(), message = err:message(), retryable = err:retryable(), details = err:details() }
end
return function(...)
%s
end
"""


def function(name: str, body: str, **fields: Any) -> str:
    return project.function(name, FRAME % body, modules=MODULES, **fields)


project.celery_task("task", "shop.task")
project.celery_task("thrice", "shop.thrice", retry={"max_attempts": 3, "initial_delay": 1})
call = function("call", "local target, options = ... local v, e = funcs.new():with_options(options or {}):call(target, select(3, ...)) return { value = v, error = plain(e) }")
function("echo", "return ...")
function("nil_and_false", "local which = ... if which == 'false' then return false, 'why' end return nil")
function("fails", "local how = ... if how == 'raise' then error('boom') end if how == 'raise object' then error(errors.new { message = 'm', kind = 'K' }) end return nil, errors.new { message = 'gone', kind = 'NotFound', retryable = false, details = { id = 5 } }")
function("context", "return ctx.all()")
function("tries", "local v, e = funcs.call('app:task') return v, e", meta={"options": {"retry": {"max_attempts": 3, "initial_delay": 1, "retry_kinds": ["Unavailable"]}}})
function("sleeps", "time.sleep(...) return 'slept'")
function("deep", "local e = funcs.new():with_context({ b = 2, t = { 1, x = nil } }) return { async = e:async('app:context'):response():receive():data(), call = e:call('app:through'), own = ctx.all() }")
function("through", "return funcs.call('app:context')")
function("parallel", "local begun, list = time.now(), {} for i = 1, 5 do list[i] = funcs.async('app:sleeps', '100ms') end for i = 1, 5 do list[i]:response():receive() end return time.now():sub(begun):milliseconds()")
function("cancelled", "local f = funcs.async('app:task') f:cancel() local v, e = f:result() local got, open = f:response():receive() return { canceled = f:is_canceled(), error = plain(e), got = got, open = open }")
function("undeclared", "return require('yaml')")
function("address", "return { process.pid(), process.id() }")
function("mailbox", "local inbox, t = process.inbox(), process.listen('t') process.send(process.pid(), 'other', 1) process.send(process.pid(), 't', 2) return { t:receive(), inbox:receive():payload():data() }")
function("nanoseconds", "time.sleep(100) return 'awake'")
flow = project.workflow("flow", "local funcs = require('funcs') return function(target, options) local v, e = funcs.new():with_options(options or {}):call(target) return { value = v, kind = e and e:kind() } end")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(registry: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=registry, replay_everything=is_replaying_everything()) as env:
        yield env


def run(env: WorkflowEnvironment, target: str, *args: Any) -> Any:
    return env.client.call(f"app:{target}", *args, timeout=10)


def failing(times: int, kind: str = "Unavailable", retryable: bool | None = None) -> tuple[list[float], Callable[..., int]]:
    """A body that fails so often, and when it was called."""
    calls: list[float] = []

    def body(*_: Any) -> int:
        calls.append(time.monotonic())
        if len(calls) <= times:
            raise ApplicationError("not yet", kind=kind, retryable=retryable)
        return len(calls)

    return calls, body


# Calls and results.


def test_a_call_gives_the_first_result_or_an_error_with_all_its_facts(env: WorkflowEnvironment) -> None:
    assert run(env, "call", "app:echo", {}, 1, 2) == {"value": 1}
    assert run(env, "call", "app:nil_and_false") == [], "an empty table"
    assert run(env, "call", "app:nil_and_false", {}, "false")["error"] == {"kind": "Internal", "message": "why", "retryable": False}
    error = {"kind": "NotFound", "message": "gone", "retryable": False, "details": {"id": 5}}
    assert run(env, "call", "app:fails") == {"error": error}


def test_a_raised_error_is_internal_and_unset_and_an_error_object_keeps_its_facts(env: WorkflowEnvironment) -> None:
    error = run(env, "call", "app:fails", {}, "raise")["error"]
    assert (error["kind"], error.get("retryable")) == ("Internal", None)
    assert error["message"].endswith(": boom")
    assert run(env, "call", "app:fails", {}, "raise object")["error"] == {"kind": "K", "message": "m"}


def test_a_function_that_is_not_there_is_not_found(env: WorkflowEnvironment) -> None:
    error = run(env, "call", "app:nowhere")["error"]
    assert (error["kind"], error["retryable"], error["details"]) == ("NotFound", False, {"target": "app:nowhere"})
    assert error["message"].startswith("no handler registered for target")


def test_values_are_copied_and_binary_text_passes(env: WorkflowEnvironment) -> None:
    value = {"a": [1, 1.5, None, True], "b": b"\xff\x00", "c": {}}
    assert run(env, "call", "app:echo", {}, value) == {"value": {**value, "c": {}}}


def test_a_function_has_an_address_and_an_id_of_its_own(env: WorkflowEnvironment) -> None:
    first, second = run(env, "address"), run(env, "address")
    assert re.fullmatch(r"\{[0-9a-f]{12}@app:address\|0x[0-9a-f]{5}\}", first[0])
    assert first[0] != second[0]
    assert first[1] == "app:address"


def test_a_function_has_a_mailbox(env: WorkflowEnvironment) -> None:
    assert run(env, "mailbox") == [2, 1]


def test_a_module_that_is_not_declared_is_named_in_the_error(env: WorkflowEnvironment) -> None:
    assert "yaml" in run(env, "call", "app:undeclared")["error"]["message"]


def test_numbers_given_to_sleep_are_nanoseconds(env: WorkflowEnvironment) -> None:
    begun = time.monotonic()
    assert run(env, "nanoseconds") == "awake"
    assert time.monotonic() - begun < 1


def test_async_calls_run_in_parallel(env: WorkflowEnvironment) -> None:
    assert 100 <= run(env, "parallel") < 400


def test_a_cancelled_future_outside_workflows_closes_and_does_not_stop_the_callee(env: WorkflowEnvironment) -> None:
    calls, body = failing(0)
    env.activity("app:task", body)
    found = run(env, "cancelled")
    assert found == {"canceled": True, "error": {"kind": "Canceled", "message": "canceled", "retryable": False}, "open": False}
    deadline = time.monotonic() + 5
    while not calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert calls


def test_context_goes_any_depth_and_cannot_be_changed_by_the_callee(env: WorkflowEnvironment) -> None:
    found = run(env, "deep")
    assert found == {"async": {"b": 2, "t": [1]}, "call": {"b": 2, "t": [1]}, "own": []}


# Trying again.


def test_a_call_is_tried_again_as_the_entry_or_the_call_says(env: WorkflowEnvironment) -> None:
    calls, body = failing(2)
    env.activity("app:thrice", body)
    assert run(env, "call", "app:thrice") == {"value": 3}
    assert len(calls) == 3
    calls, body = failing(2)
    env.activity("app:thrice", body)
    assert run(env, "call", "app:thrice", {"retry": {"max_attempts": 2, "initial_delay": 1}})["error"]["kind"] == "Unavailable"
    assert len(calls) == 2


def test_without_a_policy_a_call_is_not_tried_again(env: WorkflowEnvironment) -> None:
    for options in ({}, {"retry": {"max_attempts": 1}}, {"retry": "often"}, {"activity.retry_policy": {"maximum_attempts": 5}}):
        calls, body = failing(9)
        env.activity("app:task", body)
        assert run(env, "call", "app:task", options)["error"]["kind"] == "Unavailable"
        assert len(calls) == 1


def test_wrong_options_of_a_call_are_returned_errors(env: WorkflowEnvironment) -> None:
    for options, text in (
        ({"retry": {"max_attempts": "three"}}, "retry.max_attempts must be a number"),
        ({"timeout": "soon"}, "timeout is not a duration"),
    ):
        error = run(env, "call", "app:echo", options)["error"]
        assert (error["kind"], error["retryable"]) == ("Invalid", False)
        assert text in error["message"]


def test_a_functions_own_policy_acts_inside_each_attempt_of_an_activity(env: WorkflowEnvironment) -> None:
    calls, body = failing(2)
    env.activity("app:task", body)
    handle = env.start(flow, "app:tries", {"activity.retry_policy": {"maximum_attempts": 1}})
    assert handle.result() == {"value": 3}
    assert len(calls) == 3


def test_a_retry_policy_of_a_call_is_nothing_to_a_workflow(env: WorkflowEnvironment) -> None:
    calls, body = failing(9)
    env.activity("app:task", body)
    options = {"retry": {"max_attempts": 5, "initial_delay": 1}, "activity.retry_policy": {"maximum_attempts": 1}}
    assert env.start(flow, "app:task", options).result() == {"kind": "Unavailable"}
    assert len(calls) == 1


def test_a_call_has_a_timeout(env: WorkflowEnvironment) -> None:
    begun = time.monotonic()
    error = run(env, "call", "app:sleeps", {"timeout": 50}, "2s")["error"]
    assert time.monotonic() - begun < 1.5
    assert (error["kind"], error["retryable"]) == ("Timeout", False)
    assert run(env, "call", "app:sleeps", {"timeout": "5s"}, "1ms") == {"value": "slept"}


def test_a_call_is_not_tried_again_after_its_timeout(env: WorkflowEnvironment) -> None:
    calls, body = failing(99)
    env.activity("app:task", body)
    options = {"timeout": "80ms", "retry": {"max_attempts": 99, "initial_delay": 20, "backoff_factor": 1}}
    assert run(env, "call", "app:task", options)["error"]["kind"] in ("Unavailable", "Timeout")
    time.sleep(0.15)
    assert 2 <= len(calls) <= 6
