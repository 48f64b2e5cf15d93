"""Updates: requests to a workflow that change it, and have an answer."""

from __future__ import annotations

import asyncio
import threading

import pytest

from orchestration import AsyncClient
from orchestration.core import events
from orchestration.errors import (
    UpdateFailedError,
    UpdateRejectedError,
    WorkflowAlreadyStartedError,
    WorkflowClosedError,
)
from tests.support.projects import Project
from tests.support.waiting import wait_until

project = Project(tasks=["tests.fundamentals.tasks"])
add = project.celery_task("add", "shop.add")

account = project.workflow(
    "account",
    """
    local workflow = require("workflow")
    local funcs = require("funcs")
    local time = require("time")

    local function main(opening)
        local balance, closed = opening or 0, false
        workflow.query("balance", function() return balance end)
        workflow.update("deposit", function(amount)
            balance = funcs.call("app:add", balance, amount)
            return balance
        end, {
            validate = function(amount)
                if amount <= 0 then error("an amount is more than nothing", 0) end
            end,
        })
        workflow.update("withdraw", function(amount)
            if amount > balance then
                return nil, errors.new { message = "only " .. balance .. " left", kind = "Insufficient" }
            end
            balance = balance - amount
            return balance
        end)
        workflow.update("never", function() time.sleep("24h") end)
        workflow.update("close", function() closed = true return "closed with " .. balance end)
        local messages = process.listen("deposit")
        coroutine.spawn(function()
            while true do
                local amount = messages:receive()
                balance = balance + amount -- read after the wait: others change it meanwhile
            end
        end)
        workflow.wait(function() return closed end)
        return balance
    end
    return main
    """,
    modules=["workflow", "funcs", "time"],
)

relay = project.workflow(
    "relay",
    """
    local workflow = require("workflow")

    return function(runs)
        if runs > 1 then
            process.upgrade(nil, runs - 1)
        end
        local answered = false
        workflow.update("ask", function() answered = true return "run " .. runs end)
        workflow.wait(function() return answered end)
    end
    """,
    modules=["workflow"],
)


def updates_in(handle):
    return [event for event in handle.history() if isinstance(event, (events.Update, events.UpdateDone))]


def test_an_update_changes_the_workflow_and_answers(client):
    handle = client.start_workflow(account, 10)
    assert handle.update("deposit", 5) == 15, "its handler calls an activity first"
    assert handle.update("withdraw", 4) == 11
    assert handle.query("balance") == 11
    assert handle.update("close") == "closed with 11"
    assert handle.result(timeout=10) == 11


def test_a_rejected_update_leaves_no_trace_in_the_history(client):
    handle = client.start_workflow(account, 10)
    handle.query("balance")
    before = list(handle.raw_history())
    with pytest.raises(UpdateRejectedError, match="an amount is more than nothing"):
        handle.update("deposit", -1)
    with pytest.raises(UpdateRejectedError, match="registered: close, deposit, never, withdraw") as caught:
        handle.update("donate", 1)
    assert caught.value.kind == "NotFound"
    assert list(handle.raw_history()) == before
    assert handle.describe().counters["refused:update"] == 2


def test_a_rejection_is_the_same_for_the_same_update_id(client):
    handle = client.start_workflow(account, 10)
    for amount in (-1, 5):
        with pytest.raises(UpdateRejectedError, match="more than nothing"):
            handle.update("deposit", amount, update_id="mine")
    assert handle.query("balance") == 10


def test_a_failing_update_fails_its_caller_not_the_workflow(client):
    handle = client.start_workflow(account, 10)
    with pytest.raises(UpdateFailedError, match="only 10 left") as caught:
        handle.update("withdraw", 11)
    assert caught.value.kind == "Insufficient"
    assert handle.update("withdraw", 10) == 0


def test_the_same_update_id_is_carried_out_once_and_answered_alike(client):
    handle = client.start_workflow(account, 10)
    assert handle.update("deposit", 5, update_id="salary") == 15
    assert handle.update("deposit", 5, update_id="salary") == 15
    assert handle.query("balance") == 15
    assert len(updates_in(handle)) == 2


def test_callers_with_one_update_id_wait_for_one_answer(client):
    handle = client.start_workflow(account, 10)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(handle.update("deposit", 1, update_id="together", timeout=10)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [11] * 4
    assert handle.query("balance") == 11


def test_an_answer_outlives_the_workflow(client):
    handle = client.start_workflow(account, 10)
    handle.update("close", update_id="last")
    handle.result(timeout=10)
    assert handle.update("close", update_id="last") == "closed with 10"
    with pytest.raises(WorkflowClosedError, match="takes no more updates"):
        handle.update("close", update_id="later")


def test_an_update_that_waits_can_be_asked_for_again(client):
    handle = client.start_workflow(account, 10)
    with pytest.raises(TimeoutError, match="ask again with the update id 'long'"):
        handle.update("never", update_id="long", timeout=0.3)
    with pytest.raises(TimeoutError):
        handle.update("never", update_id="long", timeout=0.1)
    assert [event.update_id for event in updates_in(handle)] == ["long"]


def test_an_update_that_is_at_work_when_the_workflow_ends_is_told_so(client):
    handle = client.start_workflow(account, 10)
    failures: list[UpdateFailedError] = []

    def ask() -> None:
        with pytest.raises(UpdateFailedError) as caught:
            handle.update("never", update_id="open")
        failures.append(caught.value)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: updates_in(handle))
    handle.update("close")
    asking.join(10)
    assert failures[0].kind == "Canceled"
    assert "workflow ended before update 'never' was done: it is completed" in str(failures[0])


def test_an_unread_update_is_told_that_the_workflow_ended(running, client):
    handle = client.start_workflow(account, 10)
    handle.query("balance")
    running.workers[-1].kill()
    try:
        with pytest.raises(TimeoutError):
            handle.update("deposit", 1, update_id="unread", timeout=0.1)
        handle.terminate("enough")
        with pytest.raises(WorkflowClosedError, match="ended before it took update 'deposit': it is terminated"):
            handle.update("deposit", 1, update_id="unread")
    finally:
        running.worker()


def test_update_with_start_starts_and_asks_at_once(client):
    handle, answer = client.update_with_start(account, "withdraw", [3], args=[10], id="both")
    assert answer == 7
    first, *_ = [event for event in handle.history() if isinstance(event, (events.Signal, events.Update))]
    assert isinstance(first, events.Update)
    again, answer = client.update_with_start(account, "withdraw", [3], args=[1000], id="both")
    assert (again.run_id, answer) == (handle.run_id, 4), "the open workflow is asked, no other is started"
    with pytest.raises(WorkflowAlreadyStartedError):
        client.update_with_start(account, "withdraw", [3], id="both", id_conflict_policy="fail")


def test_update_with_start_can_be_repeated(client):
    calls = [
        client.update_with_start(account, "withdraw", [1], args=[10], id="repeated", request_id="r-1")
        for _ in range(2)
    ]
    assert [answer for _, answer in calls] == [9, 9]
    other = client.update_with_start(account, "withdraw", [1], id="repeated", update_id="r-1")
    assert other[1] == 9, "another request, the same update"
    assert client.get_workflow("repeated").query("balance") == 9


def test_an_unread_update_goes_over_to_the_run_that_follows(client):
    handle, answer = client.update_with_start(relay, "ask", args=[3], id="relay", update_id="mine", timeout=10)
    assert answer == "run 1"
    assert handle.update("ask", update_id="mine") == "run 1", "its first run knows who has answered"
    handle.result(timeout=10)


def test_update_with_start_can_be_rejected_and_has_started(client):
    with pytest.raises(UpdateRejectedError):
        client.update_with_start(account, "deposit", [0], args=[10], id="picky")
    assert client.get_workflow("picky").query("balance") == 10


def test_signal_with_start_starts_or_finds_the_workflow(client):
    first = client.signal_with_start(account, "deposit", [5], args=[10], id="signalled")
    second = client.signal_with_start(account, "deposit", [5], args=[99], id="signalled")
    assert first.run_id == second.run_id
    assert first.update("close", timeout=10) == "closed with 20"
    first.result(timeout=10)
    third = client.signal_with_start(account, "deposit", [1], args=[0], id="signalled")
    assert third.run_id != first.run_id
    with pytest.raises(ValueError, match="topic"):
        client.signal_with_start(account, "@deposit")


def test_signal_with_start_sends_once_for_its_request(client):
    for _ in range(3):
        client.signal_with_start(account, "deposit", [5], args=[10], id="once", request_id="same")
    handle = client.get_workflow("once")
    assert handle.update("close", timeout=10) == "closed with 15"


@pytest.mark.parametrize(("name", "update_id"), [("", None), ("@x", None), ("deposit", ""), ("deposit", "x" * 256)])
def test_a_bad_name_or_id_is_refused_at_once(client, name, update_id):
    with pytest.raises(ValueError, match="update"):
        client.get_workflow("any").update(name, update_id=update_id)


async def _ask(app):
    client = AsyncClient(app)
    handle, answer = await client.update_with_start(account, "withdraw", [1], args=[10], id="awaited")
    await (await client.signal_with_start(account, "deposit", [2], id="awaited")).run_id()
    return answer, await handle.update("close", timeout=10)


def test_updates_can_be_awaited(running, client):  # noqa: ARG001 - its worker
    assert asyncio.run(_ask(running.app)) == (9, "closed with 11")
