# ruff: noqa: E501 - tables of cases read better on one line
"""What cannot be asked of a client is refused with one clear error, and nothing of it is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.client import Client, RetryPolicy, WorkflowHandle
from orchestration.core import events
from orchestration.core.schedule import ScheduleAction, SchedulePolicy, ScheduleSpec
from orchestration.testing import WorkflowEnvironment

ENTRIES = """version: "1.0"
namespace: app
entries:
  - {name: account, kind: workflow.lua, source: file://account.lua, method: main, modules: [workflow]}
"""
CODE = """
local workflow = require("workflow")
return { main = function()
  workflow.query("balance", function() return 1 end)
  workflow.update("add", function(n) return n end)
  workflow.wait(function() return false end)
end }
"""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkflowEnvironment]:
    folder: Path = tmp_path_factory.mktemp("project") / "config"
    folder.mkdir()
    (folder / "app.yaml").write_text(ENTRIES)
    (folder / "account.lua").write_text(CODE)
    with WorkflowEnvironment(folder) as made:
        yield made


@pytest.fixture(scope="module")
def handle(env: WorkflowEnvironment) -> WorkflowHandle:
    started = env.start("app:account", id="account-1")
    env.run()
    return started


STARTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"id": ""}, ValueError, "a workflow id has 1 to 255 bytes"),
    ({"id": 5}, TypeError, "a workflow id is text, not 5"),
    ({"id": "a\nb"}, ValueError, "control character"),
    ({"request_id": ""}, ValueError, "a request id is not empty"),
    ({"request_id": 5}, TypeError, "a request id is text"),
    ({"request_id": "x" * 300}, ValueError, "a request id has at most 255 bytes"),
    ({"request_id": "\ud800"}, ValueError, "no valid Unicode"),
    ({"id_conflict_policy": None}, TypeError, "a policy is text"),
    ({"id_reuse_policy": "sometimes"}, ValueError, "'sometimes' is unknown"),
    ({"task_queue": ""}, ValueError, "a task queue is not empty"),
    ({"task_queue": 5}, TypeError, "a task queue is text"),
    *[({name: 5}, TypeError, f"{name} is a timedelta, not 5") for name in ("run_timeout", "execution_timeout", "cancel_grace", "start_delay")],
    *[({name: timedelta.max}, ValueError, f"{name} is at most 100,000 days") for name in ("run_timeout", "execution_timeout", "cancel_grace", "start_delay")],
    *[({name: timedelta(seconds=-1)}, ValueError, f"{name} is not negative") for name in ("run_timeout", "execution_timeout", "cancel_grace", "start_delay")],
    ({"retry_policy": {"maximum_attempts": 3}}, TypeError, "retry_policy is a RetryPolicy"),
    ({"cron_schedule": 5}, TypeError, "a cron schedule is text"),
    ({"cron_schedule": "soon"}, ValueError, "soon"),
    ({"search": [1]}, TypeError, "search is a map"),
    ({"search": {5: 1}}, Exception, "5"),
    ({"search": {"a": math.nan}}, ValueError, "NaN"),
    ({"memo": "text"}, TypeError, "memo is a map"),
    ({"memo": {"a": object()}}, Exception, "cannot be carried"),
    ({"context": {"a": object()}}, Exception, "cannot be carried"),
    ({"context": {5: 1}}, Exception, "5"),
    ({"context": [1]}, TypeError, "context is a map"),
    ({"summary": 5}, TypeError, "a summary is text"),
    ({"details": object()}, TypeError, "details is text"),
    ({"signals": ["x"]}, TypeError, "a signal is a pair"),
    ({"signals": {"a": [1]}}, TypeError, "signals are a list"),
    ({"signals": [("@a", [])]}, ValueError, "does not begin with '@'"),
    ({"signals": [("", [])]}, ValueError, "a topic is not empty"),
    ({"signals": [(5, [])]}, TypeError, "a topic is text"),
    ({"signals": [("a", "abc")]}, TypeError, "the payloads of signal 'a' are a list"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "text"), STARTS)
def test_a_start_with_a_bad_option_starts_nothing(
    env: WorkflowEnvironment, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """A context key that was no text was stored, and no worker could read that run's start any more."""
    before = env.client.count_workflows()
    with pytest.raises(error, match=text):
        env.client.start_workflow("app:account", **options)
    assert env.client.count_workflows() == before


@pytest.mark.parametrize("name", ["", 5, None])
def test_a_workflow_type_is_text(env: WorkflowEnvironment, name: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="a workflow type is"):
        env.client.start_workflow(name)


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"backoff_coefficient": math.nan}, ValueError, "backoff_coefficient"),
        ({"backoff_coefficient": math.inf}, ValueError, "backoff_coefficient"),
        ({"backoff_coefficient": "2"}, TypeError, "backoff_coefficient is a number"),
        ({"maximum_attempts": 1.5}, TypeError, "maximum_attempts is a whole number"),
        ({"maximum_attempts": -1}, ValueError, "maximum_attempts"),
        ({"initial_interval": timedelta(seconds=-1)}, ValueError, "initial_interval is not negative"),
        ({"initial_interval": 5}, TypeError, "initial_interval is a timedelta"),
        ({"maximum_interval": timedelta.max}, ValueError, "maximum_interval is at most"),
        ({"non_retryable_error_types": "Declined"}, TypeError, "a list of texts"),
        ({"non_retryable_error_types": [5]}, TypeError, "a list of texts"),
    ],
)
def test_a_retry_policy_that_cannot_be_is_refused_where_it_is_made(
    values: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        RetryPolicy(**values)


CALLS: list[tuple[Callable[[WorkflowHandle], Any], type[Exception], str]] = [
    (lambda h: h.signal(5), TypeError, "a topic is text"),
    (lambda h: h.signal("\ud800"), ValueError, "a topic is no valid Unicode"),
    (lambda h: h.signal("x" * 2000), ValueError, "a topic has at most 1024 bytes"),
    (lambda h: h.signal("a", request_id=5), TypeError, "a request id is text"),
    (lambda h: h.signal("a", request_id=""), ValueError, "a request id is not empty"),
    (lambda h: h.query(None), TypeError, "the name of a query is text"),
    (lambda h: h.query(""), ValueError, "the name of a query is not empty"),
    (lambda h: h.query("balance", timeout=math.nan), ValueError, "NaN"),
    (lambda h: h.query("balance", timeout="5"), TypeError, "a timeout is seconds"),
    (lambda h: h.update(5), TypeError, "the name of an update is text"),
    (lambda h: h.update("@x"), ValueError, "does not begin with '@'"),
    (lambda h: h.update("add", 1, update_id=5), TypeError, "an update id is text"),
    (lambda h: h.update("add", 1, update_id=""), ValueError, "an update id is not empty"),
    (lambda h: h.update("add", 1, timeout=math.nan), ValueError, "NaN"),
    (lambda h: h.update("add", 1, timeout="5"), TypeError, "a timeout is seconds"),
    (lambda h: h.cancel(5), TypeError, "a reason is text"),
    (lambda h: h.cancel("x" * 100_000), ValueError, "a reason has at most 65536 bytes"),
    (lambda h: h.terminate(None), TypeError, "a reason is text"),
    (lambda h: h.pause(5), TypeError, "a note is text"),
    (lambda h: h.pause("", by=object()), TypeError, "the name of who pauses is text"),
    (lambda h: h.preview(None), TypeError, "an event is given by its number"),
    (lambda h: h.reset(True), TypeError, "an event is given by its number"),
    (lambda h: h.reset(1, 5), TypeError, "a reason is text"),
    (lambda h: h.fork(1.5), TypeError, "an event is given by its number"),
    (lambda h: h.fork(id=""), ValueError, "a workflow id has 1 to 255 bytes"),
    (lambda h: h.fork(edit=5), TypeError, "an edit is the number"),
    (lambda h: h.fork(edit=("1", 2)), TypeError, "an edit is the number"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), CALLS)
def test_a_bad_argument_changes_nothing_of_a_run(
    env: WorkflowEnvironment, handle: WorkflowHandle, call: Callable[[WorkflowHandle], Any], error: type[Exception], text: str
) -> None:
    """``update(..., timeout="5")`` sent the update before it failed, and ``cancel(5)`` cancelled."""
    with pytest.raises(error, match=text):
        call(handle)
    env.run()
    assert [type(event) for event in handle.history()] == [events.Started]
    assert handle.describe().status == "running"
    assert env.client.count_workflows()["open"] == 1


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda c: c.get_workflow(5), TypeError, "a workflow id is text"),
        (lambda c: c.get_workflow("\ud800"), ValueError, "no valid Unicode"),
        (lambda c: c.send(None, "a"), TypeError, "an address is text"),
        (lambda c: c.call(5), TypeError, "a function id is text"),
        (lambda c: c.signal_with_start("app:account", "a", "abc"), TypeError, "are a list of values"),
        (lambda c: c.signal_with_start("app:account", 5), TypeError, "a topic is text"),
        (lambda c: c.update_with_start("app:account", "add", "abc"), TypeError, "the arguments of an update are a list"),
        (lambda c: c.update_with_start("app:account", "add", [1], timeout="5"), TypeError, "a timeout is seconds"),
        (lambda c: c.list_workflows(limit="x"), ValueError, "a limit is a whole number"),
        (lambda c: c.list_workflows(limit=0), ValueError, "a limit is a whole number from 1 on, not 0"),
        (lambda c: c.list_workflows(page_size="x"), TypeError, "the size of a page is a whole number"),
        (lambda c: c.list_workflows(cursor=5), TypeError, "its cursor text"),
        (lambda c: c.list_workflows(5), TypeError, "where is text or a list of conditions"),
        (lambda c: c.list_workflows([5]), TypeError, "5 is no condition"),
        (lambda c: c.list_workflows(started_after=timedelta.max), ValueError, "ago is no time"),
    ],
)  # fmt: skip
def test_a_bad_argument_of_the_client_is_told_and_starts_nothing(
    env: WorkflowEnvironment, handle: WorkflowHandle, call: Callable[[Client], Any], error: type[Exception], text: str
) -> None:
    before = env.client.count_workflows()
    with pytest.raises(error, match=text):
        call(env.client)
    assert env.client.count_workflows() == before


HOUR = timedelta(hours=1)
EVERY, ACCOUNT = ScheduleSpec(interval=HOUR), ScheduleAction(workflow_type="app:account")
SPECS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cron": 5}, TypeError, "`cron` is a cron expression or a list"),
    ({"cron": [5]}, TypeError, "a cron expression is text"),
    ({"cron": "* * * * *", "time_zone": 5}, TypeError, "`time_zone` is text"),
    ({"cron": "* * * * *", "time_zone": ""}, ValueError, "`time_zone` is not empty"),
    ({"interval": 5}, TypeError, "`interval` is a timedelta"),
    ({"interval": timedelta.max}, ValueError, "`interval` is at most"),
    ({"interval": HOUR, "jitter": 5}, TypeError, "`jitter` is a timedelta"),
    ({"interval": HOUR, "jitter": -HOUR}, ValueError, "`jitter` is not negative"),
    ({"interval": HOUR, "offset": "x"}, TypeError, "`offset` is a timedelta"),
    ({"interval": HOUR, "start_at": "2020"}, TypeError, "`start_at` is a datetime"),
    ({"interval": HOUR, "max_actions": 1.5}, TypeError, "max_actions is a whole number"),
    ({"interval": HOUR, "max_actions": 2**70}, ValueError, "max_actions"),
]
ACTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"workflow_type": 5}, TypeError, "the type of an action's workflow is text"),
    ({"args": 5}, TypeError, "`args` is a list"),
    ({"run_timeout": 5}, TypeError, "`run_timeout` is a timedelta"),
    ({"run_timeout": timedelta.max}, ValueError, "`run_timeout` is at most"),
    ({"retry_policy": {"attempts": 3}}, ValueError, "`retry_policy` is a RetryPolicy"),
    ({"retry_policy": 5}, TypeError, "`retry_policy` is a RetryPolicy"),
    ({"search": [1]}, TypeError, "`search` is a map"),
    ({"memo": "x"}, TypeError, "`memo` is a map"),
    ({"context": 5}, TypeError, "`context` is a map"),
    ({"summary": 5}, TypeError, "`summary` is text"),
    ({"task_queue": ""}, ValueError, "`task_queue` is not empty"),
    ({"task_queue": 5}, TypeError, "`task_queue` is text"),
    ({"workflow_id_prefix": 5}, TypeError, "a workflow id prefix is text"),
    ({"workflow_id_prefix": "a\n"}, ValueError, "no control characters"),
]


@pytest.mark.parametrize(("values", "error", "text"), SPECS)
def test_when_a_schedule_is_due_is_checked_where_it_is_said(values: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ScheduleSpec(**values)


@pytest.mark.parametrize(("values", "error", "text"), ACTIONS)
def test_what_a_schedule_starts_is_checked_where_it_is_said(values: dict[str, Any], error: type[Exception], text: str) -> None:
    """A memo that was no map was stored, and the schedule could start nothing, twice a second, for ever."""
    with pytest.raises(error, match=text):
        ScheduleAction(**{"workflow_type": "app:account", **values})


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda c: c.create_schedule(5, spec=EVERY, action=ACCOUNT), TypeError, "a schedule id is text"),
        (lambda c: c.create_schedule("s", spec=5, action=ACCOUNT), TypeError, "`spec` is a ScheduleSpec"),
        (lambda c: c.create_schedule("s", spec=EVERY, action=None), TypeError, "`action` is a ScheduleAction"),
        (lambda c: c.create_schedule("s", spec=EVERY, action=ACCOUNT, policy=5), TypeError, "`policy` is a SchedulePolicy"),
        (lambda c: c.create_schedule("s", spec=EVERY, action=ACCOUNT, note=5), TypeError, "a note is text"),
        (lambda c: c.get_schedule(5), TypeError, "a schedule id is text"),
        (lambda c: c.get_schedule("s").pause(5), TypeError, "a note is text"),
        (lambda c: c.get_schedule("s").update(spec=5), TypeError, "`spec` is a ScheduleSpec"),
        (lambda c: c.get_schedule("s").backfill(5, 6), TypeError, "`start` is a datetime"),
        (lambda c: c.list_schedules(prefix=5), TypeError, "`prefix` is text"),
        (lambda c: c.list_schedules(limit="x"), TypeError, "`limit` is a whole number"),
        (lambda c: c.list_schedules(limit=0), ValueError, "a limit is at least 1"),
        (lambda c: SchedulePolicy(catchup_window=5), TypeError, "the catch-up window is a timedelta"),
        (lambda c: SchedulePolicy(pause_on_failure=1), TypeError, "`pause_on_failure` is True or False"),
    ],
)  # fmt: skip
def test_a_bad_argument_about_schedules_makes_none(
    env: WorkflowEnvironment, call: Callable[[Client], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call(env.client)
    assert env.client.list_schedules() == []
