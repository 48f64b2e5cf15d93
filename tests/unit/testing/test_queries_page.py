"""The examples of docs/how-to/queries-and-updates.md and of docs/reference/lua-workflow.md do what the pages say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from orchestration.core import events
from orchestration.errors import (
    ApplicationError,
    QueryFailedError,
    UpdateFailedError,
    UpdateRejectedError,
    WorkflowFailedError,
)
from orchestration.testing import WorkflowEnvironment
from tests.support.pages import Page
from tests.support.projects import Project
from tests.support.replaying import is_replaying_everything

ACCOUNT = Page("docs/how-to/queries-and-updates.md").block('workflow.query("balance"')
SAGA = Page("docs/reference/lua-workflow.md").block("local saga")


@pytest.fixture
def env(tmp_path: Path) -> Iterator[WorkflowEnvironment]:
    project = Project()
    for name in ("pay_out", "charge", "refund", "ship", "alert"):
        project.celery_task(name, f"bank.{name}")
    project.workflow("account", ACCOUNT)
    head = 'local workflow, funcs = require("workflow"), require("funcs")\nreturn function(order)\n'
    project.workflow("order", f"{head}{SAGA}return payment.id\nend")
    with WorkflowEnvironment(project.write(tmp_path), replay_everything=is_replaying_everything()) as made:
        yield made


def test_an_account_is_asked_and_changed(env: WorkflowEnvironment) -> None:
    pay_out = Mock(return_value=None)
    env.activity("app:pay_out", pay_out)
    handle = env.start("app:account", 100)
    assert handle.query("balance") == 100
    assert handle.update("withdraw", 30, update_id="invoice-12") == 70
    assert handle.update("withdraw", 30, update_id="invoice-12") == 70
    assert pay_out.call_count == 1
    with pytest.raises(UpdateRejectedError, match="Insufficient: only 70 left"):
        handle.update("withdraw", 500)
    pay_out.side_effect = ApplicationError("the bank is closed", kind="Closed", retryable=False)
    with pytest.raises(UpdateFailedError, match="Closed: the bank is closed"):
        handle.update("withdraw", 20)
    assert handle.query("balance") == 70
    assert handle.update("close") == 70
    assert handle.result() == 70


def test_an_account_is_started_and_asked_in_one_step(env: WorkflowEnvironment) -> None:
    env.activity("app:pay_out", Mock(return_value=None))
    options = {"args": [100], "id": "account-7"}
    first, left = env.client.update_with_start("app:account", "withdraw", [30], **options)
    second, less = env.client.update_with_start("app:account", "withdraw", [30], **options)
    assert (left, less, first.run_id) == (70, 40, second.run_id)


def test_a_query_of_a_history_that_cannot_be_replayed_says_so(env: WorkflowEnvironment) -> None:
    handle = env.start("app:account", 100)
    env.run()
    store = handle._runtime.store(handle.namespace)
    key = store.keyspace.of_run(handle.run_id).history(handle.run_id)
    store.connection.call("RPUSH", key, events.encode(events.TimerFired(1, 5)))
    store.connection.call("HSET", store.keyspace.of_run(handle.run_id).record(handle.run_id), "length", 2)
    with pytest.raises(QueryFailedError, match="cannot be replayed: non-deterministic replay at event 2") as caught:
        handle.query("balance")
    assert caught.value.kind == "Conflict"


def test_an_order_is_undone(env: WorkflowEnvironment) -> None:
    env.activity("app:charge", lambda order: {"id": "p-1"})
    ship = env.activity("app:ship", Mock(return_value=None))
    refund, alert = (env.activity(name, Mock(return_value=None)) for name in ("app:refund", "app:alert"))
    assert env.start("app:order", {}).result() == "p-1"
    assert not refund.called
    ship.side_effect = ApplicationError("no lorry", kind="Lost", retryable=False)
    with pytest.raises(WorkflowFailedError, match="no lorry"):
        env.start("app:order", {}).result()
    refund.assert_called_once_with("p-1")
    refund.side_effect = ApplicationError("no money", kind="Broke", retryable=False)
    with pytest.raises(WorkflowFailedError, match="no lorry"):
        env.start("app:order", {}).result()
    alert.assert_called_once_with("refund", "no money")
