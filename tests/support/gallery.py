"""Runs of every kind that the pages about workflows have to show, small and large."""

from __future__ import annotations

from functools import partial

from celery import shared_task

from orchestration.client import Client, WorkflowHandle
from orchestration.errors import ApplicationError
from tests.support.projects import Project
from tests.support.waiting import wait_until

__all__ = ["MARKUP", "gallery", "hang_gallery"]

MARKUP = "<script>window.broken=1</script><img src=x onerror=window.broken=2>'\"&{{ 1 }}"
"""Text that a page must show as text."""


@shared_task(name="gallery.reserve")
def reserve(order: dict[str, object]) -> dict[str, object]:
    """Work that goes well."""
    return {"reserved": order.get("items", [])}


@shared_task(name="gallery.charge")
def charge(order: dict[str, object]) -> str:
    """Work that fails as the order says."""
    if order.get("card") == "declined":
        raise ApplicationError("the card was declined", kind="Declined", retryable=False)
    if order.get("card") == "broken":
        raise ApplicationError("the bank does not answer", kind="Unavailable", retryable=True)
    if order.get("card") == "markup":
        raise ApplicationError(MARKUP, kind=MARKUP, retryable=False)
    return "paid"


def gallery(*, with_processes: bool = False) -> Project:
    """The definitions; with a service and its host if that is wanted."""
    project = Project("shop", tasks=["tests.support.gallery"])
    project.celery_task("reserve", "gallery.reserve")
    project.celery_task("charge", "gallery.charge")
    project.workflow("label", 'local function main(order) return "label of " .. order.id end\nreturn { main = main }')
    project.workflow(
        "order",
        '''
        -- order: reserve the goods, charge for them, ship them when the warehouse says so
        local funcs = require("funcs")
        local process = require("process")
        local time = require("time")
        local workflow = require("workflow")

        local function main(order)
            workflow.attrs { search = { customer = order.customer, amount = order.amount } }
            funcs.call("shop:reserve", order)

            local paid, err = funcs.new():with_options({
                ["activity.retry_policy"] = {
                    maximum_attempts = order.tries or 4, initial_interval = order.pause or 50,
                },
            }):call("shop:charge", order)
            if err then
                return nil, err
            end
            time.sleep(order.rest or "20ms")

            local label = workflow.exec("shop:label", order)
            if order.wait then
                -- nothing more is done before the warehouse has packed it
                local packed = process.listen("packed")
                local answer = packed:receive()
                return { label = label, packed = answer }
            end
            return { label = label, paid = paid }
        end

        return { main = main }
        ''',
        modules=["funcs", "time", "workflow", "process"],
    )
    project.workflow(
        "import",
        '''
        local funcs = require("funcs")
        local function main(rows)
            for row = 1, rows do funcs.call("shop:reserve", { items = { row } }) end
            return rows
        end
        return { main = main }
        ''',
    )
    project.workflow(
        "broken",
        '''
        local function main()
            local rows = {}
            for row = 1, 1e9 do rows[row] = row end
        end
        return { main = main }
        ''',
    )
    project.workflow(
        "approval",
        '''
        local process = require("process")
        local function main(what)
            local decided = process.listen("decided")
            return decided:receive()
        end
        return { main = main }
        ''',
        modules=["process"],
    )
    if with_processes:
        project.host("processes")
        project.process(
            "feed",
            '''
            local process = require("process")
            local function main()
                while true do process.inbox():receive() end
            end
            return { main = main }
            ''',
            modules=["process"],
        )
        lifecycle = {"auto_start": True}
        project.entry(
            "prices", "process.service", process="shop:feed", host="shop:processes", lifecycle=lifecycle
        )
    return project


def order(number: int, **facts: object) -> dict[str, object]:
    """An order."""
    customers = ("Ana", "Bo", "Chen", "Dara")
    return {
        "id": f"order-{number}", "customer": customers[number % 4], "amount": 40 + 17 * number,
        "items": ["lamp", "chair"][: 1 + number % 2], **facts,
    }  # fmt: skip


def hang_gallery(client: Client, *, markup: bool = True) -> dict[str, WorkflowHandle]:
    """Start a few runs of every kind and wait until each stands where it should.

    Args:
        client: Starts them.
        markup: Some have markup where others have text.
    """
    text = MARKUP if markup else "not this time"
    start = client.start_workflow
    runs = {
        "done": start("shop:order", order(1), id="order-1", summary="two lamps"),
        "waits": start("shop:order", order(2, wait=True), id="order-2"),
        "declined": start("shop:order", order(3, card="declined"), id="order-3"),
        "retries": start("shop:order", order(4, card="broken", tries=20, pause="1h"), id="order-4"),
        "sleeps": start("shop:order", order(5, rest="24h"), id="order-5"),
        "markup": start(
            "shop:order", order(6, card="markup" if markup else "declined", note=text),
            id=text if markup else "order-6", summary=text,
        ),
        "parked": start("shop:broken", 1, id="import-of-march"),
        "paused": start("shop:approval", {"what": "a holiday"}, id="approval-7"),
        "cancelled": start("shop:approval", {"what": text}, id="approval-8", memo={text: text}),
    }  # fmt: skip
    expected = {"done": "completed", "declined": "failed", "markup": "failed", "parked": "parked"}

    def stands(name: str) -> bool:
        seen = runs[name].describe()
        if name == "retries":
            return any(activity.state == "backoff" for activity in seen.pending)
        return seen.status == expected[name] if name in expected else bool(seen.places)

    for name in runs:
        wait_until(partial(stands, name), deadline_s=60, message=name)
    runs["paused"].pause("the boss is away", by="ann")
    runs["cancelled"].terminate(text)
    return runs
