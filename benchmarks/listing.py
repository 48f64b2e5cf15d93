"""Fills a store with runs, through the scripts that write them, and times pages of lists."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from orchestration.embedded import EmbeddedRedis
from orchestration.store.connection import RedisConnection
from orchestration.store.keys import Keyspace
from orchestration.store.query import Condition
from orchestration.store.scripts import Script
from orchestration.store.store import Store
from orchestration.store.where import parse_where

__all__ = ["PAGES", "Pages", "fill", "listing", "pages_of"]

DIGEST = "d" * 64
TYPES = ("shop:order", "shop:refund", "bank:transfer", "bank:audit")
PAGES = {
    "all": "",
    "one status in a hundred": 'status = "failed"',
    "half of all": 'status = "open" and type != "bank:audit"',
    "one entry of four": 'type = "shop:refund"',
    "one customer in twenty": 'customer = "c7"',
    "a range of one in twenty": "amount >= 500 and amount < 550",
    "a range of one in twenty and another of half": "amount >= 500 and amount < 550 and weight < 0.5",
    "the same and a status, no run": 'amount >= 500 and amount < 550 and status = "timed_out"',
    "one in twenty and one in a hundred": 'customer = "c7" and status = "failed"',
    "a prefix of ids, one in ten": 'id prefix "order-1"',
}
"""Conditions that are measured, by what they select of the runs of :func:`fill`."""


class _Piped(RedisConnection):
    """Collects scripts and sends them many at a time."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._pipe: Any = self._client.pipeline(transaction=False)
        self.sent = 0

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        """Collect a script that starts or ends a run; the reply is not waited for."""
        if script.name not in ("start_run", "end_run"):
            return super().run(script, keys, args)
        if self.sent == 0:
            super().call("SCRIPT", "LOAD", script.source)
        self._pipe.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
        self.sent += 1
        if self.sent % 500 == 0:
            self.flush()
        return [b"started"] if script.name == "start_run" else [b"ended"]

    def flush(self) -> None:
        """Send what has been collected."""
        self._pipe.execute()


def fill(url: str, number: int, *, shards: int = 8) -> Store:
    """Start so many runs, end a few in each hundred, and return the store.

    Args:
        url: Of an empty Redis.
        number: Of runs.
        shards: Of the store.
    """
    dice = random.Random(number)
    piped = _Piped(url)
    keyspace = Keyspace("orc", "default", shards)
    writer = Store(piped, keyspace)
    ids: list[tuple[str, str]] = []
    script = {"digest": DIGEST, "bundle": b"code", "inputs": [b"\x92\x01\xc4\x00"]}
    for count in range(number):
        workflow_id = f"order-{count}"
        run_id = writer.runs.new_id(workflow_id)
        search = {
            "customer": f"c{dice.randrange(20)}", "amount": dice.randrange(1000), "weight": dice.random(),
        }  # fmt: skip
        writer.runs.start(
            run_id, workflow_id, request_id=f"r{count}", fields={"type": TYPES[count % 4]},
            extra={}, search=search, **script,
        )  # fmt: skip
        if count % 100 in (3, 50, 51, 52, 53):
            ids.append((run_id, "failed" if count % 100 == 3 else "completed"))
    piped.flush()
    piped.close()
    store = Store(RedisConnection(url), keyspace)
    store.open()
    for run_id, status in ids[: number // 20]:
        store.runs.end(run_id, status=status, code=75, details=[])
    return store


@dataclass(frozen=True)
class Pages:
    """What a walk through the pages of a list took.

    Attributes:
        name: What was asked for.
        selected: Number of runs found.
        milliseconds: Of each page, in order.
    """

    name: str
    selected: int
    milliseconds: tuple[float, ...]


def pages_of(store: Store, name: str, conditions: Sequence[Condition], *, most: int = 20) -> Pages:
    """Walk through the pages of fifty runs, as :meth:`Client.list_workflows` does, records included."""
    cursor, found, times = "", 0, []
    while len(times) < most:
        begin = time.perf_counter()
        page = store.visibility.page(conditions, page_size=50, cursor=cursor)
        store.runs.shown([run_id for run_id, _ in page.runs])
        times.append((time.perf_counter() - begin) * 1000)
        found += len(page.runs)
        cursor = page.cursor
        if not cursor:
            break
    return Pages(name, found, tuple(times))


def listing(number: int = 100_000) -> None:
    """Print what pages of lists of so many runs take."""
    with EmbeddedRedis() as server:
        begin = time.perf_counter()
        store = fill(server.url, number)
        seconds = time.perf_counter() - begin
        print(f"{number} runs written in {seconds:.1f} s, {_bytes_each(server.url, number)} bytes each")
        for pages in _measured(store):
            times = sorted(pages.milliseconds)
            median, longest = times[len(times) // 2], times[-1]
            found = f"{len(times)} pages, {pages.selected} runs"
            print(f"{pages.name}: {found}, median {median:.1f} ms, longest {longest:.1f} ms")


def _measured(store: Store) -> Iterator[Pages]:
    for name, where in PAGES.items():
        yield pages_of(store, name, parse_where(where))


def _bytes_each(url: str, number: int) -> int:
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        return int(client.info("memory")["used_memory"]) // number
