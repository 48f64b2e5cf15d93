"""The web process, or a worker, dies at every point of the outbox: each run starts once, or never if nothing was
committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery

from orchestration import Client, Orchestration
from orchestration.faults import OUTBOX_POINTS
from tests.support import wait_until
from tests.support.workers import ROOT
from tests.web.postgres import postgres_server
from tests.web.site import Shop

_SENDING = ("before_outbox_send", "after_outbox_send", "after_outbox_mark")
"""Points that a worker passes too."""

DATABASES = ["sqlite", "postgres"]


class Tables:
    """What is in the project's database, read beside it."""

    def __init__(self, folder: Path, postgres: str) -> None:
        self._folder = folder
        self._postgres = postgres

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        if self._postgres:
            import psycopg

            with psycopg.connect(host=self._postgres, user="shop", dbname="shop") as connection:
                return connection.execute(query).fetchall()  # type: ignore[call-overload]
        connection = sqlite3.connect(self._folder / "shop.sqlite3", timeout=20)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def pending(self) -> int:
        return int(self.rows("SELECT count(*) FROM orchestration_outboxentry WHERE state = 'pending'")[0][0])

    def notes(self) -> list[tuple[Any, ...]]:
        return self.rows('SELECT "order", count(*) FROM orders_note GROUP BY "order" ORDER BY "order"')

    def orders(self) -> list[str]:
        return sorted(row[0] for row in self.rows("SELECT name FROM orders_order"))


@pytest.fixture(scope="module", params=DATABASES)
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with postgres_server() as folder:
        yield folder


@pytest.fixture
def site(postgres: str, redis_url: str, tmp_path: Path) -> Iterator[Shop]:
    env = {"SHOP_POSTGRES": postgres, "SHOP_OUTBOX": "default"} if postgres else {"SHOP_OUTBOX": "default"}
    shop = Shop(tmp_path, redis_url, env)
    assert (done := shop.manage("migrate", "-v0")).returncode == 0, done.stderr
    if postgres:
        flushed = shop.manage("flush", "--no-input", "-v0")
        assert flushed.returncode == 0, flushed.stderr
    try:
        yield shop
    finally:
        shop.close()


def check_one_run_each(shop: Shop, tables: Tables, names: list[str]) -> None:
    """Every order of the table has had its workflow once, and its signals in order."""
    wait_until(lambda: tables.pending() == 0, deadline_s=60)
    assert tables.orders() == sorted(names)
    app = Celery("reader", broker=shop.redis_url, backend=shop.redis_url, set_as_current=False)
    orchestration = Orchestration(app, config=ROOT / "tests/web/shop/orders/workflows")
    try:
        client = Client(app)
        for name in names:
            assert client.get_workflow(f"order-{name}").result(timeout=60) == f"fulfilled {name}"
            assert client.get_workflow(f"signals-{name}").result(timeout=60) == {"found": [0, 1, 2]}
        assert len(client.list_workflows()) == 2 * len(names)
    finally:
        orchestration.runtime.close()
        app.close()
    assert tables.notes() == [(name, 1) for name in sorted(names)]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("point", OUTBOX_POINTS)
def test_the_web_process_dies(site: Shop, postgres: str, tmp_path: Path, point: str, count: int) -> None:
    if count > 1 and point == "after_outbox_mark":
        pytest.skip("passed once or twice in a request")
    tables = Tables(tmp_path, postgres)
    marker = tmp_path / "killed"
    web = site.web(env={"ORCHESTRATION_FAULT": f"{point}:{count}:{marker}"})
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"{web.url}/orders/one", timeout=60)
    assert web.process.wait(30) == -9
    assert marker.exists()
    site.worker()
    again = site.web()
    assert httpx.post(f"{again.url}/orders/two?fail=1", timeout=60).status_code == 409
    assert httpx.post(f"{again.url}/orders/three", timeout=60).status_code == 200
    is_committed = point != "after_outbox_insert"
    check_one_run_each(site, tables, ["one", "three"] if is_committed else ["three"])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", _SENDING)
def test_a_worker_dies(site: Shop, postgres: str, tmp_path: Path, point: str) -> None:
    tables = Tables(tmp_path, postgres)
    marker = tmp_path / "killed"
    web = site.web(env={"SHOP_IMMEDIATE": "0"})
    count = 1 if point == "after_outbox_mark" else 4
    first = site.worker(env={"ORCHESTRATION_FAULT": f"{point}:{count}:{marker}"})
    names = ["one", "three", "two"]
    for name in names:
        assert httpx.post(f"{web.url}/orders/{name}", timeout=60).status_code == 200
    wait_until(marker.exists, deadline_s=60)
    first.wait_until_gone(deadline_s=30)
    site.worker()
    check_one_run_each(site, tables, names)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_web_processes_and_workers_at_once(site: Shop, postgres: str, tmp_path: Path) -> None:
    """Everybody sends everything: rows that another has locked are passed over, what is sent twice is taken once."""
    tables = Tables(tmp_path, postgres)
    webs = [site.web(), site.web(env={"SHOP_IMMEDIATE": "0"})]
    for _ in range(2):
        site.worker(wait=False)
    names = [f"n{number:02}" for number in range(12)]
    for number, name in enumerate(names):
        assert httpx.post(f"{webs[number % 2].url}/orders/{name}", timeout=60).status_code == 200
    check_one_run_each(site, tables, names)
