"""The shop's books, in one SQLite file: what was run, and what it brought about.

It stands for the outside world (a payment provider, a warehouse). Every run of a task's body is written down, and
every effect has an idempotency key of which there can be only one: a second charge with the same key finds the first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["LEDGER_VARIABLE", "Effect", "Ledger", "open_ledger"]

LEDGER_VARIABLE: Final = "ORCHESTRATION_EXAMPLES_LEDGER"
"""Environment variable with the path of the ledger."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS executions (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    activity TEXT NOT NULL,
    subject TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    pid INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS executions_key ON executions (idempotency_key);
CREATE TABLE IF NOT EXISTS effects (
    idempotency_key TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    note TEXT NOT NULL,
    at REAL NOT NULL,
    asked INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS effects_subject ON effects (kind, subject);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something that happened in the outside world.

    Attributes:
        id: The outside world's name for it, such as the number of a payment.
        kind: ``charge``, ``refund``, ``reserve`` and so on.
        subject: What it belongs to: an order, a request, another effect.
        amount_cents: Money moved, 0 for none.
        note: One word more, such as how the payment will end.
        asked: How often it was asked for; it happened once all the same.
    """

    id: str
    kind: str
    subject: str
    amount_cents: int
    note: str
    asked: int


class Ledger:
    """The books. Cheap to make; each call opens the file, does one transaction and closes it.

    Args:
        path: The SQLite file, made if missing. It must be on a file system that all workers share.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction(immediate=False) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    def record_execution(self, activity: str, subject: str, key: str) -> int:
        """Write down that a task's body runs; returns how often it has run under this key, this time included."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO executions (at, activity, subject, idempotency_key, pid) VALUES (?, ?, ?, ?, ?)",
                (time.time(), activity, subject, key, os.getpid()),
            )
            row = connection.execute("SELECT count(*) FROM executions WHERE idempotency_key = ?", (key,)).fetchone()
            return int(row[0])

    def bring_about(self, kind: str, subject: str, key: str, *, amount_cents: int = 0, note: str = "") -> Effect:
        """Make an effect happen, unless one with this key has happened: then it is returned as it is."""
        effect_id = f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO effects (idempotency_key, id, kind, subject, amount_cents, note, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (idempotency_key) DO UPDATE SET asked = asked + 1",
                (key, effect_id, kind, subject, amount_cents, note, time.time()),
            )
            row = connection.execute(
                "SELECT id, kind, subject, amount_cents, note, asked FROM effects WHERE idempotency_key = ?", (key,)
            ).fetchone()
            return _effect(row)

    def find(self, effect_id: str) -> Effect | None:
        """Look an effect up by its id."""
        return next(iter(self.effects(effect_id=effect_id)), None)

    def effects(self, *, kind: str = "", subject: str = "", effect_id: str = "") -> list[Effect]:
        """List effects, oldest first; empty text means any."""
        with self._transaction(immediate=False) as connection:
            rows = connection.execute(
                "SELECT id, kind, subject, amount_cents, note, asked FROM effects"
                " WHERE ? IN ('', kind) AND ? IN ('', subject) AND ? IN ('', id) ORDER BY at, id",
                (kind, subject, effect_id),
            ).fetchall()
            return [_effect(row) for row in rows]

    def executions(self) -> dict[str, int]:
        """How often each activity's body has run."""
        return self._pairs("SELECT activity, count(*) FROM executions GROUP BY activity ORDER BY activity")

    def executions_by_key(self) -> dict[str, int]:
        """How often a body has run under each idempotency key."""
        return self._pairs("SELECT idempotency_key, count(*) FROM executions GROUP BY idempotency_key")

    def totals(self) -> dict[str, tuple[int, int]]:
        """Number of effects and sum of money in cents for each kind."""
        with self._transaction(immediate=False) as connection:
            rows = connection.execute(
                "SELECT kind, count(*), sum(amount_cents) FROM effects GROUP BY kind ORDER BY kind"
            ).fetchall()
            return {kind: (count, cents) for kind, count, cents in rows}

    def charged_twice(self) -> list[str]:
        """Subjects with more than one charge: must stay empty."""
        query = "SELECT subject, count(*) FROM effects WHERE kind = 'charge' GROUP BY subject HAVING count(*) > 1"
        return list(self._pairs(query))

    def _pairs(self, query: str) -> dict[str, int]:
        with self._transaction(immediate=False) as connection:
            return {str(name): int(count) for name, count in connection.execute(query)}

    @contextlib.contextmanager
    def _transaction(self, *, immediate: bool = True) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            if not immediate:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        finally:
            connection.close()


def _effect(row: tuple[str, str, str, int, str, int]) -> Effect:
    effect_id, kind, subject, amount_cents, note, asked = row
    return Effect(id=effect_id, kind=kind, subject=subject, amount_cents=amount_cents, note=note, asked=asked)


def open_ledger() -> Ledger:
    """Open the ledger that ``ORCHESTRATION_EXAMPLES_LEDGER`` names, else ``.demo/ledger.sqlite`` in this folder."""
    return Ledger(os.environ.get(LEDGER_VARIABLE) or Path(__file__).parents[1] / ".demo" / "ledger.sqlite")
