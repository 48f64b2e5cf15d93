# ruff: noqa: E501 - Lua sources read better on one line
"""The examples of the pages about processes, services and modules run as they stand there, with either pool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.embedded import EmbeddedRedis
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until
from tests.support.workers import ROOT

_FENCED = re.compile(r"^```(?:yaml|lua|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def block(page: str, words: str) -> str:
    """The block of a page with these words in it."""
    found = [one for one in _FENCED.findall((ROOT / "docs" / page).read_text("utf-8")) if words in one]
    assert found, f"{page} has no block with {words!r}"
    return found[0]


def entries(page: str, words: str) -> list[Any]:
    """Entries of a block, which may be a whole file."""
    found = yaml.safe_load(block(page, words))
    return list(found["entries"] if isinstance(found, dict) else found)


COUNTER, FEED, STORE, ENV, CONTRACT = "how-to/processes.md", "how-to/services.md", "reference/store.md", "reference/env.md", "reference/contract.md"
QUEUES, SQL, EVENTS, METRICS, HTTP = (f"reference/{name}.md" for name in ("queues", "sql", "events", "metrics", "http_client"))
LOGGER, SECURITY = "reference/lua-modules.md", "reference/security.md"
MODULES = {
    "store": (STORE, "local store", "carts:set('bob', 1) return carts:get('ann')"),
    "env": (ENV, "local env", "return { token or '', env.get('shop:port') }"),
    "contract": (CONTRACT, "local contract", "return { receipt, (future:channel():receive()):data(), (other:charge({ amount = 1 })) }"),
    "events": (EVENTS, "local events", "return event"),
    "sql": (SQL, "local sql = ", "return { rows, done.rows_affected, db:query('SELECT what FROM audit') }"),
    "metrics": (METRICS, "local metrics", "return metrics.counter_inc('orders_total', { kind = 'book' })"),
    "logger": (LOGGER, "local logger", "return 'logged'"),
    "http": (HTTP, "local http", "return err and err:kind() or 'done'"),
    "ask": (COUNTER, "spawn_monitored", "return event.result.value"),
}
BEFORE = {
    "events": "local send = require('events').send\ncoroutine.spawn(function() require('time').sleep('300ms') send('shop.eu', 'sold', '/items/7', { price = 5 }) end)\n",
    "sql": "local made = require('sql').get('shop:db')\nmade:execute('CREATE TABLE items (id INTEGER, name TEXT, price INTEGER, kind TEXT)')\nmade:execute('CREATE TABLE audit (what TEXT)')\nmade:execute(\"INSERT INTO items VALUES (7, 'lamp', 4, 'book')\")\n",
    "logger": "local err = require('errors').new('Internal', 'gone')\n",
    "http": "local token = 't'\n",
    "contract": "local actor = require('security').new_actor('ann')\n",
}


@pytest.fixture(scope="module", params=["threads", "prefork"])
def shop(request: pytest.FixtureRequest, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("shop")
    config = folder / "config"
    config.mkdir()
    carts = [*entries(STORE, "carts"), *entries(CONTRACT, "contract.binding"), *entries(QUEUES, "queue.consumer")]
    variables = entries(ENV, "env.storage.file")
    assert variables[0]["file_path"] == "/etc/shop/settings.env"
    variables[0]["file_path"] = str(folder / "settings.env")
    functions = [
        {"name": f"page_{name}", "kind": "function.lua", "method": "main", "source": f"file://page_{name}.lua", "modules": ["store", "env", "contract", "events", "sql", "metrics", "logger", "http_client", "time", "errors", "security"]}
        for name in MODULES
    ]
    for name in ("charge", "charge_card", "refund_card"):
        functions.append({"name": name, "kind": "function.lua", "method": "main", "source": f"return function(order) return {{ '{name}', require('ctx').get('merchant'), order }} end", "modules": ["ctx"]})
    database = {"name": "db", "kind": "db.sql.sqlite", "file": str(folder / "shop.sqlite")}
    (config / "shop.yaml").write_text(yaml.safe_dump({"namespace": "shop", "entries": [*carts, *variables, database, *functions]}))
    (config / "on_order.lua").write_text(block(QUEUES, "-- on_order.lua"))
    (config / "app.yaml").write_text("namespace: app\n" + block(COUNTER, "name: counter").replace("namespace: app\n", ""))
    (config / "counter.lua").write_text(block(COUNTER, "-- counter.lua"))
    services = entries(FEED, "process.service")
    services[2]["lifecycle"].pop("requires")  # of another application
    services[1]["modules"] = ["time"]
    (config / "services.yaml").write_text(yaml.safe_dump({"namespace": "app.services", "entries": services}))
    (config / "feed.lua").write_text("local time = require('time')\nlocal function main(options)\nlocal work = channel.new(1)\ntime.sleep(options.every)\n" + block(FEED, "local events") + "end\nreturn main\n")
    (config / "security.yaml").write_text(block(SECURITY, "# config/security.yaml").replace("namespace: app", "namespace: secured"))
    for name, (page, words, after) in MODULES.items():
        (config / f"page_{name}.lua").write_text(f"return function()\n{BEFORE.get(name, '')}{block(page, words)}\n{after}\nend\n")
    with deployed(Project(pool=request.param), folder, empty_database(redis_server)) as deployment:
        deployment.worker()
        yield deployment


def call(shop: Deployment, name: str) -> Any:
    return shop.client.call(f"shop:page_{name}", timeout=30)


def test_the_counter_counts(shop: Deployment) -> None:
    assert {call(shop, "ask") for _ in range(30)} == {15}


def test_a_store_keeps_a_cart(shop: Deployment) -> None:
    assert call(shop, "store") == {"items": ["book", "pen"]}


def test_a_variable_is_set_in_its_file_and_another_has_its_default(shop: Deployment) -> None:
    call(shop, "env")
    assert call(shop, "env") == ["…", "8080"]


def test_a_contract_is_kept_by_its_binding(shop: Deployment) -> None:
    assert call(shop, "contract") == [
        ["charge_card", "m-17", {"customer": "ann", "amount": 20}], ["refund_card", "m-17", {"customer": "ann", "amount": 5}],
        ["charge_card", "m-18", {"amount": 1}],
    ]  # fmt: skip


def test_an_event_is_heard(shop: Deployment) -> None:
    assert call(shop, "events") == {"system": "shop.eu", "kind": "sold", "path": "/items/7", "data": {"price": 5}}


def test_a_database_answers(shop: Deployment) -> None:
    assert call(shop, "sql") == [[{"id": 7, "name": "lamp"}], 1, [{"what": "sale"}]]


def test_numbers_are_kept_lines_written_and_requests_sent(shop: Deployment) -> None:
    assert call(shop, "metrics") is True
    assert call(shop, "logger") == "logged"
    shop.workers[0].wait_for_log("out of stock")
    assert call(shop, "http") in ("done", "Unavailable", "Timeout")


def test_a_plain_kombu_client_sends_an_order(shop: Deployment) -> None:
    code = block(QUEUES, "with kombu.Connection")
    exec(code.replace("redis://...", shop.redis_url), {"kombu": __import__("kombu")})
    shop.workers[0].wait_for_log("new")


def test_a_service_runs(shop: Deployment) -> None:
    wait_until(lambda: any(service.state == "running" for service in shop.client.list_services()), deadline_s=20)
    (service,) = shop.client.list_services()
    assert (service.id, service.restarts) == ("app.services:price_feed", 0)
    shop.client.restart_service(service.id, wait=True, timeout=30)
