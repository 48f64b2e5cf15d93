"""What the workflow has done: ordinary Celery tasks. Each may run twice, and does the same then."""

from __future__ import annotations

from celery import shared_task

from purchases.models import Purchase


@shared_task(name="purchases.remind")
def remind(purchase: int, number: int) -> None:
    """Remind the managers; here, only the number of reminders is written down."""
    Purchase.objects.filter(pk=purchase).update(reminders=number)


@shared_task(name="purchases.order")
def order(purchase: int) -> str:
    """Order what was approved."""
    Purchase.objects.filter(pk=purchase).update(state=Purchase.State.ORDERED)
    return f"PO-{purchase:05}"


@shared_task(name="purchases.reject")
def reject(purchase: int) -> None:
    """Tell who asked that it was rejected."""
    Purchase.objects.filter(pk=purchase).update(state=Purchase.State.REJECTED)
