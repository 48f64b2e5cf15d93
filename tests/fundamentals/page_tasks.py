"""The activities that the page calls: they write down that they were called, and fail by the name of their subject."""

from __future__ import annotations

from typing import Any

from celery import shared_task

_journal: list[tuple[str, str]] = []

_FAILING = {"inventory.reserve": "s-sold-out", "payments.charge": "s-poor", "shipping.create": "s-far"}


def _subject(given: Any) -> str:
    if isinstance(given, dict):
        return str(given.get("id") or given.get("order_id"))
    return str(given)


def _activity(name: str) -> None:
    @shared_task(name=f"page.{name}")
    def run(given: Any) -> Any:
        subject = _subject(given)
        _journal.append((name, subject))
        if name == "api.check_status":
            return "failed" if subject == "bad" else "settled"
        if _FAILING.get(name) == subject:
            return {"error": f"{name} failed"}
        return {"id": subject}


for _name in (
    "api.charge_card", "api.check_status", "api.refund", "inventory.reserve", "inventory.release", "payments.charge",
    "payments.refund", "shipping.create", "approvals.submit", "orders.fulfill", "notifications.send_rejection",
):  # fmt: skip
    _activity(_name)


@shared_task(name="page.journal")
def journal() -> list[tuple[str, str]]:
    return list(_journal)
