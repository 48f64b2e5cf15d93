"""The three examples of ``config/``, as a user runs them: real Redis, a real worker, the public client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from examples.ledger import Ledger
from orchestration import Client, Orchestration
from orchestration.errors import WorkflowFailedError
from tests.support import WorkerProcess, wait_until
from tests.support.workers import ROOT

ORDER = "app.workflows:order_processor"
SAGA = "app.workflows:order_saga"
APPROVAL = "app.workflows:approval"


@pytest.fixture
def client(redis_url: str, worker: Callable[..., WorkerProcess]) -> Iterator[Client]:
    """A client beside a worker with the threads pool."""
    worker(pool="threads", concurrency=4)
    with Celery("shop-client", broker=redis_url, backend=redis_url, set_as_current=False) as app:
        Orchestration(app, config=str(ROOT / "config"))
        yield Client(app)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """The ledger that the workers of this test write."""
    return Ledger(tmp_path / "ledger.sqlite")


def failure(handle: Any) -> WorkflowFailedError:
    with pytest.raises(WorkflowFailedError) as caught:
        handle.result(timeout=30)
    return caught.value


def test_order(client: Client, ledger: Ledger) -> None:
    def start(number: int, card: str) -> Any:
        order = {"id": f"o-{number}", "amount": 100 * number, "card": card, "delay": "300ms"}
        return client.start_workflow(ORDER, order, id=f"o-{number}")

    good, disputed, flaky, declined = (
        start(number, card) for number, card in enumerate(("good", "disputed", "flaky", "declined"), 1)
    )
    assert good.result(timeout=30)["status"] == "fulfilled"
    assert flaky.result(timeout=30)["status"] == "fulfilled"
    refunded = disputed.result(timeout=30)
    assert refunded["status"] == "refunded"
    assert refunded["refund_id"].startswith("refund-")
    error = failure(declined)
    assert (error.kind, error.message, error.retryable) == ("PaymentDeclined", "the card was declined", False)
    assert ledger.totals() == {"charge": (3, 600), "refund": (1, 200), "fulfilment": (2, 0)}
    assert ledger.charged_twice() == []
    assert ledger.executions()["charge_card"] == 5  # the flaky card's first try is the fifth


def test_order_waits_a_day_by_default(client: Client, ledger: Ledger) -> None:
    handle = client.start_workflow(ORDER, {"id": "o-1", "amount": 100}, id="o-1")
    wait_until(lambda: ledger.effects(kind="charge"), message="the charge")
    source = (ROOT / "config/workflows/order_processor.lua").read_text("utf-8").splitlines()
    line = 1 + next(number for number, text in enumerate(source) if "time.sleep" in text)
    wait_until(lambda: [place.line for place in handle.describe().places] == [line], message="asleep")
    handle.terminate("the test is over")


def test_saga_undoes_in_reverse_order(client: Client, ledger: Ledger) -> None:
    def start(name: str, item: str = "chair", **more: str) -> Any:
        order = {"id": name, "items": [{"name": item, "price": 250, "quantity": 2}], "address": "Madrid", **more}
        return client.start_workflow(SAGA, order, id=name)

    shipped, no_goods = start("shipped"), start("no-goods", item="unobtainium")
    no_money, no_carrier = start("no-money", card="declined"), start("no-carrier", address="nowhere")
    result = shipped.result(timeout=30)
    assert (result["status"], result["total"]) == ("shipped", "5.00")
    error = failure(no_goods)  # a table with `error`, nothing to undo
    assert (error.kind, error.message) == ("StepFailed", "out of stock: unobtainium")
    assert (error.details or {})["undone"] == []
    error = failure(no_money)  # raised: `nil, err`
    assert error.kind == "PaymentDeclined"
    assert (error.details or {})["undone"] == ["app.inventory:release"]
    error = failure(no_carrier)
    assert error.message == "no carrier goes to nowhere"
    assert (error.details or {})["undone"] == ["app.payments:refund", "app.inventory:release"]
    assert {kind: count for kind, (count, _) in ledger.totals().items()} == {
        "reserve": 3, "charge": 2, "shipment": 1, "refund": 1, "release": 2,
    }  # fmt: skip


def test_approval(client: Client, ledger: Ledger) -> None:
    def start(name: str, **more: Any) -> Any:
        return client.start_workflow(APPROVAL, {"order_id": name, **more}, id=name)

    granted, refused, forgotten = start("granted"), start("refused"), start("forgotten", remind_after="200ms")
    reminded = start("reminded", remind_after="200ms", reminders=1000)
    granted.signal("decision", {"approved": True, "by": "Ana"})
    refused.signal("decision", {"approved": False, "by": "Bruno"})
    assert granted.result(timeout=30) == {"order_id": "granted", "status": "fulfilled", "reminders": 0, "by": "Ana"}
    assert refused.result(timeout=30)["status"] == "rejected"
    assert forgotten.result(timeout=30) == {
        "order_id": "forgotten", "status": "rejected", "reminders": 3, "by": "nobody",
    }  # fmt: skip
    wait_until(lambda: ledger.effects(kind="reminder", subject="reminded"), message="a reminder")
    reminded.signal("decision", {"approved": True, "by": "Carla"})
    result = reminded.result(timeout=30)
    assert result["status"] == "fulfilled"
    assert result["reminders"] >= 1
    totals = ledger.totals()
    assert (totals["fulfilment"][0], totals["rejection"][0], totals["request"][0]) == (2, 2, 4)
