"""Queries: questions to a workflow, answered from its history, also when nobody serves it."""

from __future__ import annotations

import pytest

from orchestration import AsyncClient
from orchestration.errors import QueryFailedError, WorkflowNotFoundError
from tests.support.projects import Project
from tests.support.waiting import wait_until

project = Project()

order = project.workflow(
    "order",
    """
    local workflow = require("workflow")

    local function main(items)
        local state, notes = "packing", {}
        workflow.query("state", function() return state end)
        workflow.query("price", function(percent)
            local sum = 0
            for _, item in ipairs(items) do sum = sum + item.price end
            return sum * percent / 100
        end)
        workflow.query("refuse", function()
            return nil, errors.new { message = "not for you", kind = "PermissionDenied", details = { who = "you" } }
        end)
        workflow.query("meddle", function()
            pcall(process.send, process.pid(), "decision", "mine")
            state = "meddled with"
        end)
        workflow.query("spin", function() while true do end end)
        local decision = process.inbox():receive()
        state = decision:payload():data()
        return state
    end
    return main
    """,
    modules=["workflow"],
)

stuck = project.workflow(
    "stuck",
    """
    local workflow = require("workflow")

    return function()
        local state = "waiting"
        workflow.query("state", function() return state end)
        process.inbox():receive()
        state = "spinning"
        while true do end
    end
    """,
    modules=["workflow"],
)

ITEMS = [{"price": 30}, {"price": 70}]


def begun(handle):
    wait_until(lambda: handle.describe().history_length)
    return handle


def test_a_query_has_arguments_and_a_result(client):
    handle = client.start_workflow(order, ITEMS)
    assert handle.query("state") == "packing"
    assert handle.query("price", 50) == 50.0


def test_a_query_changes_nothing(client):
    handle = begun(client.start_workflow(order, ITEMS))
    before = list(handle.raw_history())
    with pytest.raises(QueryFailedError, match="refused inside the query 'meddle'") as caught:
        handle.query("meddle")
    assert caught.value.kind == "Invalid"
    assert handle.query("state") == "packing"
    assert list(handle.raw_history()) == before
    handle.signal("decision", "sent")
    assert handle.result(timeout=10) == "sent"


def test_a_query_works_on_a_workflow_that_has_ended(client):
    handle = client.start_workflow(order, ITEMS)
    handle.signal("decision", "sent")
    handle.result(timeout=10)
    assert handle.query("state") == "sent"


def test_a_query_works_on_a_parked_workflow_up_to_where_it_stands(client):
    handle = begun(client.start_workflow(stuck))  # else its first step is the one that is not kept
    handle.signal("spin")
    wait_until(lambda: handle.describe().status == "parked")
    assert handle.query("state") == "waiting"
    handle.terminate()


def test_a_query_fails_with_an_error_of_its_own(client):
    handle = client.start_workflow(order, ITEMS)
    with pytest.raises(QueryFailedError, match="not for you") as caught:
        handle.query("refuse")
    assert (caught.value.kind, caught.value.details) == ("PermissionDenied", {"who": "you"})


def test_an_unknown_query_names_those_there_are(client):
    handle = client.start_workflow(order, ITEMS)
    with pytest.raises(QueryFailedError, match="registered: meddle, price, refuse, spin, state") as caught:
        handle.query("stat")
    assert caught.value.kind == "NotFound"
    assert handle.query("@handlers") == {"queries": ["meddle", "price", "refuse", "spin", "state"], "updates": []}


def test_an_endless_query_ends_and_harms_nobody(client):
    handle = client.start_workflow(order, ITEMS)
    with pytest.raises(QueryFailedError, match="left its limits"):
        handle.query("spin")
    assert handle.describe().status == "running"


def test_a_query_needs_no_worker(running, client):
    handle = begun(client.start_workflow(order, ITEMS, id="alone"))
    running.workers[0].kill()
    try:
        assert client.get_workflow("alone").query("state") == "packing"
        unborn = client.start_workflow(order, ITEMS, id="unborn")
        with pytest.raises(QueryFailedError, match="not started yet") as caught:
            unborn.query("state", timeout=0.2)
        assert (caught.value.kind, caught.value.retryable) == ("Unavailable", True)
        ended = client.start_workflow(order, ITEMS)
        ended.terminate()
        with pytest.raises(QueryFailedError, match="the run was terminated before it began"):
            ended.query("state")
    finally:
        running.worker()
    assert unborn.query("state", timeout=20) == "packing", "the wait ends when a worker takes it"
    handle.signal("decision", "sent")
    assert handle.result(timeout=10) == "sent"


def test_there_is_no_query_of_a_workflow_that_is_not(client):
    with pytest.raises(WorkflowNotFoundError):
        client.get_workflow("nobody").query("state")


async def _ask(app):
    handle = await AsyncClient(app).start_workflow(order, ITEMS)
    return await handle.query("price", 10)


def test_a_query_can_be_awaited(running, client):  # noqa: ARG001 - its worker
    import asyncio

    assert asyncio.run(_ask(running.app)) == 10.0
