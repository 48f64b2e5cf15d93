"""Errors are values: a call gives ``result, err``, and a workflow ends with one by returning ``nil, err``."""

from __future__ import annotations

import pytest

from orchestration.errors import ApplicationError, WorkflowCancelledError, WorkflowFailedError, WorkflowTerminatedError
from tests.support.projects import Project

project = Project(tasks=["tests.fundamentals.tasks"])
project.celery_task("charge", "shop.charge")

pay = project.workflow(
    "pay",
    """
    local funcs = require("funcs")

    local function main(order)
        local payment, err = funcs.call("app:charge", order)
        if err then
            return nil, err
        end
        return payment.id
    end
    return main
    """,
    modules=["funcs"],
)

look_at = project.workflow(
    "look_at",
    """
    local funcs = require("funcs")

    local function main(order)
        local _, err = funcs.call("app:charge", order)
        return {
            message = err:message(), kind = err:kind(), retryable = err:retryable(), limit = err:details().limit,
            is_declined = err:kind() == "PaymentDeclined",
        }
    end
    return main
    """,
    modules=["funcs"],
)

own_error = project.workflow(
    "own_error",
    """
    local function main(how)
        if how == "text" then return nil, "out of stock" end
        if how == "object" then
            return nil, errors.new {
                message = "out of stock", kind = "Unavailable", retryable = true, details = { item = "chair" },
            }
        end
        error("the code is broken")
    end
    return main
    """,
    modules=[],
)

obedient = project.workflow(
    "obedient",
    """
    local function main()
        local event = process.events():receive()
        return nil, errors.new { message = "asked to stop: " .. event.reason, kind = errors.CANCELED }
    end
    return main
    """,
    modules=[],
)


def failure(handle):
    with pytest.raises(WorkflowFailedError) as caught:
        handle.result(timeout=10)
    return caught.value


def test_an_activitys_error_reaches_the_code_with_its_facts(client):
    seen = client.start_workflow(look_at, {"id": "1", "amount": 5000}).result(timeout=10)
    assert seen == {
        "message": "the card was declined", "kind": "PaymentDeclined", "retryable": False, "limit": 1000,
        "is_declined": True,
    }  # fmt: skip


def test_an_error_passed_on_ends_the_workflow_with_it(client):
    assert client.start_workflow(pay, {"id": "1", "amount": 500}).result(timeout=10) == "payment-1"
    error = failure(client.start_workflow(pay, {"id": "2", "amount": 5000}))
    assert (error.message, error.kind, error.retryable) == ("the card was declined", "PaymentDeclined", False)
    assert error.details["limit"] == 1000


def test_celery_sees_the_same_error(running):
    result = running.app.send_task(pay, args=[{"id": "3", "amount": 5000}])
    with pytest.raises(ApplicationError) as caught:
        result.get(timeout=10)
    assert result.state == "FAILURE"
    assert (caught.value.message, caught.value.kind) == ("the card was declined", "PaymentDeclined")


def test_a_text_is_an_error_too(client):
    error = failure(client.start_workflow(own_error, "text"))
    assert (error.message, error.kind, error.retryable) == ("out of stock", "Internal", False)


def test_an_error_object_carries_kind_retryable_and_details(client):
    error = failure(client.start_workflow(own_error, "object"))
    assert (error.message, error.kind, error.retryable) == ("out of stock", "Unavailable", True)
    assert error.details == {"item": "chair"}


def test_a_raised_error_names_the_line(client):
    error = failure(client.start_workflow(own_error, "raise"))
    assert error.kind == "Internal"
    assert "own_error.lua:8: the code is broken" in error.message


def test_a_cancel_is_a_request(client):
    handle = client.start_workflow(obedient)
    handle.cancel("changed my mind")
    with pytest.raises(WorkflowCancelledError, match="asked to stop: changed my mind"):
        handle.result(timeout=10)


def test_a_terminate_is_none(client):
    handle = client.start_workflow(obedient)
    handle.terminate("enough")
    with pytest.raises(WorkflowTerminatedError, match="workflow terminated") as caught:
        handle.result(timeout=10)
    assert caught.value.details == {"reason": "enough"}
