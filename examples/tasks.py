"""The shop's Celery tasks: nothing in them knows about workflows but the idempotency key.

How they end depends on their input alone, so that demonstrations and tests know what to expect:

========================  ===========================================================================
``card: declined``        the charge fails for good
``card: flaky``           the first try of the charge fails, the next goes through
``card: disputed``        the charge goes through, its later check says ``failed``
``item: unobtainium``     the warehouse answers ``{"error": ...}``
``address: nowhere``      the carrier answers ``{"error": ...}``
========================  ===========================================================================
"""

from __future__ import annotations

import os
import time
from typing import Any

from celery import current_task, shared_task

from examples.ledger import Effect, open_ledger
from orchestration import activity
from orchestration.errors import ApplicationError

__all__ = [
    "charge", "charge_card", "check_status", "create_shipment", "fulfill", "refund", "release", "remind", "reserve",
    "send_rejection", "submit",
]  # fmt: skip


@shared_task(name="shop.charge_card")
def charge_card(payment: dict[str, Any]) -> dict[str, Any]:
    """Charge a card once; ``payment`` has ``id``, ``amount`` in cents and ``card``."""
    return _charge("charge_card", payment["id"], payment["amount"], payment.get("card", "good"))


@shared_task(name="shop.charge")
def charge(order_id: str, amount: int, card: str = "good") -> dict[str, Any]:
    """Charge a card once, as part of the saga."""
    return _charge("charge", order_id, amount, card)


@shared_task(name="shop.check_status")
def check_status(payment_id: str) -> str:
    """Say how a payment ended: ``settled`` or ``failed``."""
    _begin("check_status", payment_id)
    payment = open_ledger().find(payment_id)
    if payment is None:
        raise ApplicationError(f"no payment has the number {payment_id}", kind="NotFound", retryable=False)
    return "failed" if payment.note == "disputed" else "settled"


@shared_task(name="shop.refund")
def refund(payment_id: str) -> dict[str, Any]:
    """Give the money of a payment back."""
    key, _ = _begin("refund", payment_id)
    payment = open_ledger().find(payment_id)
    if payment is None:
        raise ApplicationError(f"no payment has the number {payment_id}", kind="NotFound", retryable=False)
    return _answer(open_ledger().bring_about("refund", payment_id, key, amount_cents=payment.amount_cents))


@shared_task(name="shop.reserve")
def reserve(order_id: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Put goods aside; what cannot be had is told in a table with ``error``, not as an exception."""
    key, _ = _begin("reserve", order_id)
    missing = [item["name"] for item in items if item["name"] == "unobtainium"]
    if missing:
        return {"error": f"out of stock: {', '.join(missing)}"}
    return _answer(open_ledger().bring_about("reserve", order_id, key))


@shared_task(name="shop.release")
def release(reservation_id: str) -> dict[str, Any]:
    """Undo :func:`reserve`."""
    key, _ = _begin("release", reservation_id)
    return _answer(open_ledger().bring_about("release", reservation_id, key))


@shared_task(name="shop.create_shipment")
def create_shipment(order_id: str, address: str) -> dict[str, Any]:
    """Hand a parcel to the carrier; an address that nobody goes to is told in a table with ``error``."""
    key, _ = _begin("create_shipment", order_id)
    if address == "nowhere":
        return {"error": "no carrier goes to nowhere"}
    return _answer(open_ledger().bring_about("shipment", order_id, key))


@shared_task(name="shop.submit")
def submit(request: dict[str, Any]) -> dict[str, Any]:
    """Lay a request before those who decide."""
    key, _ = _begin("submit", request["order_id"])
    return _answer(open_ledger().bring_about("request", request["order_id"], key))


@shared_task(name="shop.fulfill")
def fulfill(order_id: str) -> dict[str, Any]:
    """Send the goods of an order."""
    key, _ = _begin("fulfill", order_id)
    return _answer(open_ledger().bring_about("fulfilment", order_id, key))


def send_rejection(request: dict[str, Any]) -> dict[str, Any]:
    """Tell the requester no. A plain function: the entry of kind ``function.python`` makes a task of it."""
    key, _ = _begin("send_rejection", request["order_id"])
    return _answer(open_ledger().bring_about("rejection", request["order_id"], key))


def remind(request: dict[str, Any], number: int) -> dict[str, Any]:
    """Remind those who decide; ``number`` counts from 1."""
    key, _ = _begin("remind", request["order_id"])
    return _answer(open_ledger().bring_about("reminder", request["order_id"], key, note=f"number {number}"))


def _charge(name: str, order_id: str, amount: int, card: str) -> dict[str, Any]:
    key, run = _begin(name, order_id)
    if card == "declined":
        raise ApplicationError("the card was declined", kind="PaymentDeclined", retryable=False, details={"card": card})
    if card == "flaky" and run == 1:
        raise ApplicationError("the payment provider is busy", kind="Unavailable", retryable=True)
    payment = open_ledger().bring_about("charge", order_id, key, amount_cents=amount, note=card)
    _work()  # a worker that dies here has charged and not said so
    return {**_answer(payment), "amount": payment.amount_cents}


def _begin(name: str, subject: str) -> tuple[str, int]:
    """Write the execution down; returns its idempotency key and how often it has run under it."""
    # The same for every attempt of one activity. Called as a plain Celery task, the task's id takes its place.
    key = activity.info().idempotency_key if activity.in_activity() else str(current_task.request.id)
    run = open_ledger().record_execution(name, subject, key)
    _work()
    return key, run


def _work() -> None:
    """Take as long as the outside world would: ``ORCHESTRATION_EXAMPLES_WORK_MS``, default 0."""
    time.sleep(int(os.environ.get("ORCHESTRATION_EXAMPLES_WORK_MS") or 0) / 1000)


def _answer(effect: Effect) -> dict[str, Any]:
    return {"id": effect.id, "kind": effect.kind}
