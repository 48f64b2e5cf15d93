"""Celery tasks that examples of pages call; what they were given is written into a file, for those who look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import shared_task


def _note(name: str, value: Any) -> None:
    with (Path(os.environ["ORCHESTRATION_TEST_FOLDER"]) / f"{name}.txt").open("a", encoding="utf-8") as file:
        file.write(f"{value}\n")


@shared_task(name="page.charge")
def charge(order: Any) -> Any:
    return order


@shared_task(name="page.pack")
def pack(parcel: Any) -> str:
    return f"packed {parcel}"


@shared_task(name="page.ship")
def ship(parcels: list[str]) -> list[str]:
    return parcels


@shared_task(name="page.send_invoice")
def send_invoice(order: Any) -> None:
    _note("invoices", order)


@shared_task(name="page.tell_support")
def tell_support(*_: Any) -> None:
    _note("support", "told")


@shared_task(name="leave.ask")
def ask(request: dict[str, Any]) -> None:
    """Tell a person."""


@shared_task(name="leave.remind")
def remind(request: dict[str, Any], number: int) -> None:
    """Tell the person again."""


@shared_task(name="leave.book")
def book(request: dict[str, Any]) -> None:
    _note("booked", request["who"])
