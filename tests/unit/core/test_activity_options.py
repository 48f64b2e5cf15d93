"""Each option of an activity, in the call and in an entry, under both prefixes."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core import events, payload
from orchestration.core.activity_options import entry_options
from tests.support.lua_runs import Run

OPTIONS: list[tuple[str, Any, dict[str, Any]]] = [
    ("start_to_close_timeout", "1m", {"start_to_close_timeout_ms": 60_000}),
    ("schedule_to_close_timeout", 1500, {"schedule_to_close_timeout_ms": 1500}),
    ("schedule_to_start_timeout", "1.5s", {"schedule_to_start_timeout_ms": 1500}),
    ("heartbeat_timeout", "2s", {"heartbeat_timeout_ms": 2000}),
    ("id", "charge-1", {"id": "charge-1"}),
    ("task_queue", "fast", {"task_queue": "fast"}),
    ("wait_for_cancellation", True, {"wait_for_cancellation": True}),
    ("local", True, {"local": True}),
    ("retry_policy", {"initial_interval": 5}, {"retry": {"initial_interval_ms": 5}}),
    ("retry_policy", {"initialInterval": "1s"}, {"retry": {"initial_interval_ms": 1000}}),
    ("retry_policy", {"backoff_coefficient": 1.5}, {"retry": {"backoff_coefficient": 1.5}}),
    ("retry_policy", {"backoffCoefficient": 3}, {"retry": {"backoff_coefficient": 3}}),
    ("retry_policy", {"maximum_interval": "1m"}, {"retry": {"maximum_interval_ms": 60_000}}),
    ("retry_policy", {"maximumInterval": 10}, {"retry": {"maximum_interval_ms": 10}}),
    ("retry_policy", {"maximum_attempts": 3}, {"retry": {"maximum_attempts": 3}}),
    ("retry_policy", {"maximumAttempts": 0}, {"retry": {"maximum_attempts": 0}}),
    ("retry_policy", {"non_retryable_error_types": ["Invalid"]}, {"retry": {"non_retryable_error_types": ["Invalid"]}}),
    ("retry_policy", {"nonRetryableErrorTypes": ["A", "B"]}, {"retry": {"non_retryable_error_types": ["A", "B"]}}),
]

CALL = "return function(options) require('funcs').new():with_options(options):call('a:b') end"


def scheduled(options: dict[str, Any]) -> dict[str, Any]:
    run = Run(CALL)
    (command,) = run.start(options)
    assert isinstance(command, events.ScheduleActivity), run.failure
    return command.options


def ids(case: Any) -> str:
    return case if isinstance(case, str) else next(iter(case)) if isinstance(case, dict) else ""


@pytest.mark.parametrize("prefix", ["activity.", "temporal.activity."])
@pytest.mark.parametrize(("name", "given", "wanted"), OPTIONS, ids=ids)
def test_an_option_of_a_call(prefix: str, name: str, given: Any, wanted: dict[str, Any]) -> None:
    assert scheduled({prefix + name: given}) == wanted


@pytest.mark.parametrize("prefix", ["activity.", "temporal.activity."])
@pytest.mark.parametrize(("name", "given", "wanted"), OPTIONS, ids=ids)
def test_an_option_of_an_entry(prefix: str, name: str, given: Any, wanted: dict[str, Any]) -> None:
    assert entry_options({prefix + name: given}) == wanted


def test_the_canonical_prefix_wins() -> None:
    both = {"temporal.activity.task_queue": "loses", "activity.task_queue": "wins"}
    assert scheduled(both) == entry_options(both) == {"task_queue": "wins"}


@pytest.mark.parametrize("name", ["disable_eager_execution", "summary", "priority", "versioning_intent", "other"])
def test_an_option_that_is_accepted_without_effect(name: str) -> None:
    assert scheduled({f"activity.{name}": True}) == {}


def test_eager_execution_is_a_matter_of_yes_or_no() -> None:
    run = Run("""return function(options)
      local _, err = require('funcs').new():with_options(options):call('a:b')
      return err:message() end""")
    run.start({"activity.disable_eager_execution": "yes"})
    assert run.result == (
        "invalid temporal activity options for a:b: activity.disable_eager_execution must be a boolean, got string"
    )


def test_a_future_is_picked_beside_timers() -> None:
    run = Run("""return function()
      local future, limit = require('funcs').async('a:b'), require('time').after('1s')
      local picked = channel.select{ limit:case_receive(), future:response():case_receive() }
      return { picked.channel == future:response(), picked.value:data() } end""")
    run.start()
    run.complete(1, "in time")
    assert run.result == [True, "in time"]


def test_a_late_answer_of_a_future_that_was_taken_back_changes_nothing() -> None:
    run = Run("""return function()
      local future = require('funcs').async('a:b')
      future:cancel()
      require('time').sleep('1s')
      local value, err = future:result()
      return { tostring(value), err:message(), future:is_canceled() } end""")
    run.start()
    run.apply(events.ActivityCompleted(run.tick(), 1, payload.encode("late")))
    run.fire(2, 1000)
    assert run.result == ["nil", "canceled", True]
