"""The ordinary Celery tasks that these pages call."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from orchestration.errors import ApplicationError

journal: list[str] = []


@shared_task(name="shop.add")
def add(left: int, right: int) -> int:
    return left + right


@shared_task(name="shop.charge")
def charge(order: dict[str, Any]) -> dict[str, Any]:
    if order["amount"] > 1000:
        raise ApplicationError(
            "the card was declined", kind="PaymentDeclined", retryable=False, details={"limit": 1000}
        )
    return {"id": f"payment-{order['id']}", "amount": order["amount"]}


@shared_task(name="shop.note")
def note(text: str) -> str:
    """Write a line that a later :func:`read_notes` of the same worker gives back."""
    journal.append(text)
    return text


@shared_task(name="shop.read_notes")
def read_notes() -> list[str]:
    return list(journal)


@shared_task(name="shop.ship")
def ship(order: dict[str, Any]) -> str:
    if order.get("address") == "nowhere":
        raise LookupError("no such place")
    return f"parcel-{order['id']}"


@shared_task(name="shop.status")
def status(payment_id: str) -> str:
    return "failed" if payment_id.endswith("-bad") else "settled"


def shout(text: str) -> str:
    """A plain Python function, no task at all."""
    if not text:
        raise ApplicationError("nothing to shout", kind="Invalid", retryable=False, details={"field": "text"})
    return text.upper()
