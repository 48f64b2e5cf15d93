"""A saga: when a step fails, the steps before it are undone, last first."""

from __future__ import annotations

import pytest

from orchestration.errors import WorkflowFailedError
from tests.support.projects import Project

project = Project(tasks=["tests.fundamentals.tasks"])
for name in ("note", "read_notes"):
    project.celery_task(name, f"shop.{name}")
project.celery_task("ship", "shop.ship", **{"activity.retry_policy": {"maximum_attempts": 1}})

trip = project.workflow(
    "trip",
    """
    local funcs = require("funcs")

    local function main(order)
        local undo = {}

        local function step(name)
            funcs.call("app:note", order.id .. " " .. name)
            table.insert(undo, function() funcs.call("app:note", order.id .. " undo " .. name) end)
        end

        step("reserve")
        step("charge")
        local parcel, err = funcs.call("app:ship", order)
        if err then
            for i = #undo, 1, -1 do
                undo[i]()
            end
            return nil, err
        end
        return parcel
    end
    return main
    """,
    modules=["funcs"],
)


def notes(client, order_id):
    return [text for text in client.call("app:read_notes", timeout=10) if text.startswith(order_id)]


def test_all_goes_well(client):
    assert client.start_workflow(trip, {"id": "A"}).result(timeout=10) == "parcel-A"
    assert notes(client, "A") == ["A reserve", "A charge"]


def test_a_failure_undoes_in_reverse_order(client):
    with pytest.raises(WorkflowFailedError, match="no such place"):
        client.start_workflow(trip, {"id": "B", "address": "nowhere"}).result(timeout=10)
    assert notes(client, "B") == ["B reserve", "B charge", "B undo charge", "B undo reserve"]
