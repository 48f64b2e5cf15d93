"""Celery tasks of the stage."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from orchestration import activity
from orchestration.errors import ApplicationError

_tokens: dict[str, str] = {}


@shared_task(name="stage.charge")
def charge(order: str, amount: int) -> dict[str, Any]:
    """Succeed at the third attempt."""
    if activity.info().attempt < 3:
        raise ApplicationError("the bank does not answer", kind="Unavailable")
    return {"receipt": f"r-{order}", "amount": amount}


@shared_task(name="stage.ship")
def ship(order: str) -> str:
    return f"parcel {order}"


@shared_task(name="stage.refuse")
def refuse() -> None:
    raise ApplicationError("no such <account> & \"co\"", kind="Declined", retryable=False)


@shared_task(name="stage.down")
def down() -> None:
    raise ApplicationError("the warehouse is closed until tomorrow", kind="Unavailable")


@shared_task(name="stage.ask")
def ask(key: str) -> None:
    """Leave the outcome to somebody who has the token."""
    _tokens[key] = activity.token()
    activity.complete_later()


@shared_task(name="stage.token")
def token(key: str) -> str:
    return _tokens[key]
