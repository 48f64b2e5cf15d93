"""The page that this project implements: its Lua and YAML run as they are written there (``page/``).

The page leaves some names open; they are given here: code that uses ``payment`` gets it as an argument of ``main``,
entries that are only mentioned are added beside those that are shown.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from orchestration.errors import WorkflowFailedError
from tests.support import wait_until
from tests.support.projects import Project

PAGE = Path(__file__).parent / "page"


def page(name):
    return (PAGE / name).read_text("utf-8")


def with_free_variables(name, names):
    return f"local function main({names})\n{page(name)}end\nreturn {{ main = main }}\n"


project = Project(tasks=["tests.fundamentals.page_tasks"])
for namespace, file in (("app", "worker"), ("app", "process"), ("app.workflows", "workflow")):
    entries = indent(page(f"{file}.yaml"), "  ")
    project.file(f"{file}.yaml", f'version: "1.0"\nnamespace: {namespace}\nentries:\n{entries}')
project.file("order_processor.lua", with_free_variables("order.lua", "payment"))
project.file("session_handler.lua", "return { main = function() end }")
project.entry("temporal_client", "temporal.client", address="localhost:7233")
project.entry("processes", "process.host")
for task in (
    "api:charge_card", "api:check_status", "api:refund", "inventory:reserve", "inventory:release", "payments:charge",
    "payments:refund", "shipping:create", "approvals:submit", "orders:fulfill", "notifications:send_rejection",
):  # fmt: skip
    area, _, name = task.partition(":")
    project.entry(name, "function.celery", namespace=f"app.{area}", task=f"page.{area}.{name}")
project.entry("journal", "function.celery", task="page.journal")
order_today = project.workflow(
    "order_today", with_free_variables("order.lua", "payment").replace('"24h"', '"200ms"'), modules=["funcs", "time"]
)
saga = project.workflow("saga", with_free_variables("saga.lua", "items, amount, order"), modules=["funcs"])
approval = project.workflow("approval", with_free_variables("approval.lua", "request"), modules=["funcs"])
start = project.function("start", with_free_variables("start.lua", "order_data"), modules=[])


def journal(client, subject):
    """What the activities of the page were called with, in order."""
    return [line for line, about in client.call("app:journal", timeout=10) if about == subject]


def test_the_order_sleeps_a_day(client):
    handle = client.start_workflow("app.workflows:order_processor", {"id": "p1"}, id="p1")
    wait_until(lambda: [place.line for place in handle.describe().places] == [5], message="the order asleep")
    (place,) = handle.describe().places
    assert "24h" in place.waits_for
    assert handle.describe().task_queue == "orders"
    assert journal(client, "p1") == ["api.charge_card"]
    handle.terminate()


@pytest.mark.parametrize(("payment", "last"), [("good", []), ("bad", ["api.refund"])])
def test_the_order_checks_and_refunds_after_its_sleep(client, payment, last):
    assert client.start_workflow(order_today, {"id": payment}).result(timeout=10) is None
    assert journal(client, payment) == ["api.charge_card", "api.check_status", *last]


@pytest.mark.parametrize(
    ("order", "error", "steps"),
    [
        ("s-fine", None, ["inventory.reserve", "payments.charge", "shipping.create"]),
        ("s-sold-out", "inventory.reserve failed", ["inventory.reserve"]),
        (
            "s-poor", "payments.charge failed",
            ["inventory.reserve", "payments.charge", "inventory.release"],
        ),
        (
            "s-far", "shipping.create failed",
            ["inventory.reserve", "payments.charge", "shipping.create", "payments.refund", "inventory.release"],
        ),
    ],
)  # fmt: skip
def test_the_saga_compensates(client, order, error, steps):
    handle = client.start_workflow(saga, order, order, order)
    if error is None:
        assert handle.result(timeout=10) == {name: {"id": order} for name in ("inventory", "payment", "shipping")}
    else:
        with pytest.raises(WorkflowFailedError, match=error):
            handle.result(timeout=10)
    assert journal(client, order) == steps


@pytest.mark.parametrize(
    ("approved", "step"), [(True, "orders.fulfill"), (False, "notifications.send_rejection")], ids=["yes", "no"]
)
def test_the_approval_waits_for_a_signal(client, approved, step):
    subject = f"a-{approved}"
    handle = client.start_workflow(approval, {"order_id": subject})
    wait_until(lambda: journal(client, subject) == ["approvals.submit"], message="the request laid before a person")
    handle.signal("decision", {"approved": approved})
    assert handle.result(timeout=10) is None
    assert journal(client, subject) == ["approvals.submit", step]


def test_a_workflow_is_spawned_and_sent_to_by_a_function(client):
    client.call(start, {"id": "spawned"}, timeout=10)
    wait_until(lambda: journal(client, "spawned") == ["api.charge_card"], message="the spawned order")
    orders = client.list_workflows(type="app.workflows:order_processor", status="open")
    handles = [client.get_workflow(order.workflow_id) for order in orders]

    def was_sent_to(handle):
        return "update" in [getattr(event, "topic", "") for event in handle.history()]

    # The message is with the order when the function has ended, and in its history after the step that takes it up.
    handle = wait_until(lambda: next(filter(was_sent_to, handles), None), message="the order that was sent to")
    assert handle.describe().task_queue == "orders"
    handle.terminate()
