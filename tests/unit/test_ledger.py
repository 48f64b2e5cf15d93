"""The examples' ledger: the witness in many tests, so it must itself be beyond doubt."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from examples.ledger import Ledger


def test_one_key_has_one_effect(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    first = ledger.bring_about("charge", "order-1", "key-1", amount_cents=500)
    again = ledger.bring_about("charge", "order-1", "key-1", amount_cents=999)
    assert (again.id, again.amount_cents, again.asked) == (first.id, 500, 2)
    assert ledger.totals() == {"charge": (1, 500)}
    assert ledger.charged_twice() == []
    assert ledger.find(first.id) == again


def test_a_double_charge_is_seen(tmp_path: Path) -> None:
    """Without the idempotency key the same order would be charged twice: the ledger must say so."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.bring_about("charge", "order-1", "key-1", amount_cents=500)
    ledger.bring_about("charge", "order-1", "key-2", amount_cents=500)
    assert ledger.charged_twice() == ["order-1"]


def _charge_often(path: Path) -> None:
    ledger = Ledger(path)
    for number in range(25):
        ledger.record_execution("charge", f"order-{number}", f"key-{number}")
        ledger.bring_about("charge", f"order-{number}", f"key-{number}", amount_cents=100)


def test_processes_that_charge_at_once_charge_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_charge_often, args=(path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    ledger = Ledger(path)
    assert ledger.totals() == {"charge": (25, 2500)}
    assert ledger.charged_twice() == []
    assert ledger.executions() == {"charge": 100}
    assert set(ledger.executions_by_key().values()) == {4}
