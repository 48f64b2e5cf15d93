# ruff: noqa: E501 - tables of cases read better on one line
"""Options of starts and of activities as Lua code writes them, and what a start makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core import events, payload
from orchestration.core.activity_options import entry_options
from orchestration.tasks.start_options import request_options
from tests.support.lua_runs import Run, returned

RETRY = "{initialInterval = '2s', maximum_attempts = 3, non_retryable_error_types = {'K'}}"
READ = [
    ("id", "'x'", {"id": "x"}),
    ("task_queue", "'q'", {"task_queue": "q"}),
    ("execution_timeout", "'1h30m'", {"execution_timeout_ms": 5_400_000}),
    ("run_timeout", "1.5", {"run_timeout_ms": 2}),
    ("task_timeout", "'10s'", {"task_timeout_ms": 10_000}),
    ("id_conflict_policy", "'fail'", {"id_conflict_policy": "fail"}),
    ("id_reuse_policy", "'reject_duplicate'", {"id_reuse_policy": "reject_duplicate"}),
    ("execution_error_when_already_started", "false", {"execution_error_when_already_started": False}),
    ("retry_policy", RETRY, {"retry": {"initial_interval_ms": 2000, "maximum_attempts": 3, "non_retryable_error_types": ["K"]}}),
    ("cron_schedule", "'@daily'", {"cron_schedule": "@daily"}),
    ("memo", "{a = {1}}", {"memo": {"a": [1]}}),
    ("search_attributes", "{s = 'v', n = 1, b = true}", {"search_attributes": {"s": "v", "n": 1, "b": True}}),
    ("enable_eager_start", "true", {}),
    ("start_delay", "250", {"start_delay_ms": 250}),
    ("cancel_grace", "'5s'", {"cancel_grace_ms": 5000}),
    ("summary", "'a line'", {"summary": "a line"}),
    ("details", "'more'", {"details": "more"}),
    ("namespace", "'default'", {"namespace": "default"}),
    ("wait_for_cancellation", "true", {"wait_for_cancellation": True}),
    ("parent_close_policy", "'abandon'", {"parent_close_policy": "abandon"}),
]


def options_of(table: str) -> dict[str, Any]:
    run = Run(f"return function() process.with_options{{{table}}}:spawn('a:b', 'q') end")
    (command,) = run.start()
    assert isinstance(command, events.StartChild), run.failure
    return command.options


@pytest.mark.parametrize("prefix", ["workflow.", "temporal.workflow."])
@pytest.mark.parametrize(("key", "value", "read"), READ, ids=[key for key, *_ in READ])
def test_each_start_option_is_read_under_both_prefixes(prefix: str, key: str, value: str, read: dict[str, Any]) -> None:
    assert options_of(f"['{prefix}{key}'] = {value}") == read


def test_the_key_without_temporal_wins() -> None:
    assert options_of("['temporal.workflow.id'] = 'loses', ['workflow.id'] = 'wins'") == {"id": "wins"}


def test_older_names_of_summary_and_details_are_read() -> None:
    older = "['temporal.workflow.static_summary'] = 's', ['temporal.workflow.static_details'] = 'd'"
    assert options_of(older) == {"summary": "s", "details": "d"}


def test_options_without_effect_and_unknown_ones_are_ignored() -> None:
    ignored = "['workflow.priority'] = {key = 1}, ['workflow.versioning_override'] = {}, ['workflow.versioning_intent'] = 5, other = 1, ['workflow.tiem'] = 'x'"
    assert options_of(ignored) == {}


WRONG = [
    ("id", "5", "must be a string, got number"),
    ("id", "''", "cannot be empty"),
    ("task_queue", "true", "must be a string, got boolean"),
    ("task_queue", "''", "cannot be empty"),
    ("execution_timeout", "'soon'", 'has invalid value "soon"'),
    ("run_timeout", "-1", 'has invalid value "-1"'),
    ("task_timeout", "{}", "must be a duration, got table"),
    ("id_conflict_policy", "5", "must be a string, got number"),
    ("id_conflict_policy", "'maybe'", 'has invalid value "maybe"'),
    ("id_reuse_policy", "''", 'has invalid value ""'),
    ("execution_error_when_already_started", "1", "must be a boolean, got number"),
    ("retry_policy", "'often'", "must be a table, got string"),
    ("retry_policy", "{maximumAttempts = 'x'}", "retry_policy.maximum_attempts must be an integer, got string"),
    ("retry_policy", "{maximum_attempts = -1}", "retry_policy.maximum_attempts must not be negative"),
    ("retry_policy", "{initial_interval = true}", "retry_policy.initial_interval must be a duration, got boolean"),
    ("cron_schedule", "5", "must be a string, got number"),
    ("memo", "5", "must be a table, got number"),
    ("search_attributes", "channel.new()", "must be a table, got userdata"),
    ("enable_eager_start", "'yes'", "must be a boolean, got string"),
    ("start_delay", "0/0", "has invalid value"),
    ("summary", "{}", "must be a string, got table"),
    ("details", "5", "must be a string, got number"),
    ("namespace", "5", "must be a string, got number"),
    ("wait_for_cancellation", "5", "must be a boolean, got number"),
    ("parent_close_policy", "'keep'", 'has invalid value "keep"'),
]


@pytest.mark.parametrize("prefix", ["workflow.", "temporal.workflow."])
@pytest.mark.parametrize(("key", "value", "text"), WRONG, ids=[f"{key} {value}" for key, value, _ in WRONG])
def test_each_start_option_of_the_wrong_type_is_a_returned_error(prefix: str, key: str, value: str, text: str) -> None:
    body = f"local v, e = process.with_options{{['{prefix}{key}'] = {value}}}:spawn('a:b', 'q') return {{v == nil, e:kind(), e:message(), e:retryable()}}"
    nil, kind, message, retryable = returned(body)
    assert (nil, kind, retryable) == (True, "Invalid", False)
    assert message.startswith(f"workflow.{key}")
    assert text in message


@pytest.mark.parametrize("verb", ["spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored", "exec"])
def test_every_way_of_starting_returns_wrong_options(verb: str) -> None:
    assert returned(f"return select(2, process.with_options{{['workflow.id'] = ''}}:{verb}('a:b', 'q')):message()") == "workflow.id cannot be empty"


@pytest.mark.parametrize(
    ("key", "word", "read"),
    [
        ("id_conflict_policy", "FAIL", "fail"),
        ("id_conflict_policy", "Use-Existing", "use_existing"),
        ("id_conflict_policy", "WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING", "terminate_existing"),
        ("id_reuse_policy", "allow-duplicate", "allow_duplicate"),
        ("id_reuse_policy", "WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY", "allow_duplicate_failed_only"),
        ("id_reuse_policy", "workflow-id-reuse-policy-reject-duplicate", "reject_duplicate"),
        ("id_reuse_policy", "TERMINATE_IF_RUNNING", "terminate_if_running"),
        ("parent_close_policy", "Terminate", "terminate"),
        ("parent_close_policy", "PARENT_CLOSE_POLICY_REQUEST_CANCEL", "request_cancel"),
        ("parent_close_policy", "aBandon", "abandon"),
    ],
)
def test_enums_are_read_in_any_case_with_hyphens_and_in_their_long_form(key: str, word: str, read: str) -> None:
    assert options_of(f"['workflow.{key}'] = '{word}'") == {key: read}


# What a start makes of them.


@pytest.mark.parametrize(
    ("given", "conflict"),
    [
        ({}, "fail"),  # an id that was made: an error, if it should be there
        ({"id": "x"}, "use_existing"),
        ({"name": "x"}, "use_existing"),
        ({"id": "x", "execution_error_when_already_started": True}, "fail"),
        ({"execution_error_when_already_started": False}, "use_existing"),
        ({"id": "x", "id_conflict_policy": "terminate_existing"}, "terminate_existing"),
        ({"id_conflict_policy": "use_existing"}, "use_existing"),
        ({"id": "x", "execution_error_when_already_started": False, "id_conflict_policy": "fail"}, "fail"),
    ],
)
def test_the_default_of_the_conflict_policy_depends_on_whether_the_id_was_given(
    given: dict[str, Any], conflict: str
) -> None:
    assert request_options(given)["conflict"] == conflict


def test_a_closed_workflows_id_may_be_used_again_by_default() -> None:
    assert request_options({})["reuse"] == "allow_duplicate"


def test_a_workflow_has_no_retry_policy_schedule_or_timeouts_by_default() -> None:
    found = request_options({})
    assert found["retry"] is None
    assert found["cron"] == ""
    assert {found[key] for key in ("run_timeout_ms", "execution_timeout_ms", "delay_ms")} == {0}


def test_startup_messages_keep_their_order_and_values() -> None:
    found = request_options({"messages": [["a", [1, None]], ["b", {}]]})
    assert found["signals"] == [("a", payload.encode([1, None])), ("b", payload.encode([]))]


# Options of activities.


@pytest.mark.parametrize("prefix", ["activity.", "temporal.activity."])
def test_an_entrys_activity_options_are_read_under_both_prefixes(prefix: str) -> None:
    given = {
        f"{prefix}start_to_close_timeout": "5s", f"{prefix}heartbeat_timeout": 250, f"{prefix}task_queue": "q",
        f"{prefix}retry_policy": {"initialInterval": "1s", "maximum_attempts": 2}, "retry": {"max_attempts": 3},
    }  # fmt: skip
    assert entry_options(given) == {
        "start_to_close_timeout_ms": 5000, "heartbeat_timeout_ms": 250, "task_queue": "q",
        "retry": {"initial_interval_ms": 1000, "maximum_attempts": 2},
    }  # fmt: skip


def test_an_entrys_canonical_activity_key_wins() -> None:
    assert entry_options({"activity.task_queue": "wins", "temporal.activity.task_queue": "loses"}) == {"task_queue": "wins"}


def test_activity_options_without_effect_and_unknown_ones_are_ignored() -> None:
    code = "['activity.summary'] = 's', ['activity.priority'] = {}, ['activity.versioning_intent'] = 1, ['activity.disable_eager_execution'] = true, network = 'n', other = 1"
    run = Run(f"return function() require('funcs').new():with_options{{{code}}}:call('a:b') end")
    (command,) = run.start()
    assert isinstance(command, events.ScheduleActivity)
    assert command.options == {}
