# ruff: noqa: E501 - Lua sources read better on one line
"""The examples of the pages about processes, services and modules run as they stand there, with either pool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.embedded import EmbeddedRedis
from tests.support.fixtures import empty_database
from tests.support.pages import Page
from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until


def entries(block: str) -> list[Any]:
    """Entries of a block, which may be a whole file."""
    found = yaml.safe_load(block)
    return list(found["entries"] if isinstance(found, dict) else found)


PROCESSES, FEED, QUEUES, SECURITY = (Page(f"docs/{name}.md") for name in ("how-to/processes", "how-to/services", "reference/queues", "reference/security"))
COUNTER_ENTRIES, COUNTER, COUNTED = map(PROCESSES.block, ("name: counter", "-- counter.lua", "spawn_monitored"))
SERVICES, HEARS_CANCEL = map(FEED.block, ("process.service", "local events"))
CONSUMER, ON_ORDER, SENDS = map(QUEUES.block, ("queue.consumer", "-- on_order.lua", "with kombu.Connection"))
POLICIES = SECURITY.block("# config/security.yaml")
STORE, ENV, CONTRACT = (Page(f"docs/reference/{name}.md").block(words) for name, words in (("store", "name: carts"), ("env", "env.storage.file"), ("contract", "contract.binding")))


def module(name: str, after: str) -> tuple[str, str]:
    """The example in Lua of a module's page, and what is looked at behind it."""
    return Page(f"docs/reference/{name}.md").block(f"local {name.replace('lua-modules', 'logger')} = "), after


MODULES = {
    "store": module("store", "carts:set('bob', 1) return carts:get('ann')"),
    "env": module("env", "return { token or '', env.get('shop:port') }"),
    "contract": module("contract", "return { receipt, (future:channel():receive()):data(), (other:charge({ amount = 1 })) }"),
    "events": module("events", "return event"),
    "sql": module("sql", "return { rows, done.rows_affected, db:query('SELECT what FROM audit') }"),
    "metrics": module("metrics", "return metrics.counter_inc('orders_total', { kind = 'book' })"),
    "logger": module("lua-modules", "return 'logged'"),
    "ask": (COUNTED, "return event.result.value"),
}
BEFORE = {
    "events": "local send = require('events').send\ncoroutine.spawn(function() require('time').sleep('300ms') send('shop.eu', 'sold', '/items/7', { price = 5 }) end)\n",
    "sql": "local made = require('sql').get('shop:db')\nmade:execute('CREATE TABLE items (id INTEGER, name TEXT, price INTEGER, kind TEXT)')\nmade:execute('CREATE TABLE audit (what TEXT)')\nmade:execute(\"INSERT INTO items VALUES (7, 'lamp', 4, 'book')\")\n",
    "logger": "local err = require('errors').new('Internal', 'gone')\n",
    "contract": "local actor = require('security').new_actor('ann')\n",
}


@pytest.fixture(scope="module", params=["threads", "prefork"])
def shop(request: pytest.FixtureRequest, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("shop")
    config = folder / "config"
    config.mkdir()
    carts = [*entries(STORE), *entries(CONTRACT), *entries(CONSUMER)]
    variables = entries(ENV)
    assert variables[0]["file_path"] == "/etc/shop/settings.env"
    variables[0]["file_path"] = str(folder / "settings.env")
    functions = [
        {"name": f"page_{name}", "kind": "function.lua", "method": "main", "source": f"file://page_{name}.lua", "modules": ["store", "env", "contract", "events", "sql", "metrics", "logger", "time", "errors", "security"]}
        for name in MODULES
    ]
    for name in ("charge", "charge_card", "refund_card"):
        functions.append({"name": name, "kind": "function.lua", "method": "main", "source": f"return function(order) return {{ '{name}', require('ctx').get('merchant'), order }} end", "modules": ["ctx"]})
    database = {"name": "db", "kind": "db.sql.sqlite", "file": str(folder / "shop.sqlite")}
    (config / "shop.yaml").write_text(yaml.safe_dump({"namespace": "shop", "entries": [*carts, *variables, database, *functions]}))
    (config / "on_order.lua").write_text(ON_ORDER)
    (config / "app.yaml").write_text(COUNTER_ENTRIES)
    (config / "counter.lua").write_text(COUNTER)
    services = entries(SERVICES)
    services[2]["lifecycle"].pop("requires")  # of another application
    services[1]["modules"] = ["time"]
    (config / "services.yaml").write_text(yaml.safe_dump({"namespace": "app.services", "entries": services}))
    (config / "feed.lua").write_text("local time = require('time')\nlocal function main(options)\nlocal work = channel.new(1)\ntime.sleep(options.every)\n" + HEARS_CANCEL + "end\nreturn main\n")
    (config / "security.yaml").write_text(POLICIES.replace("namespace: app", "namespace: secured"))
    for name, (code, after) in MODULES.items():
        (config / f"page_{name}.lua").write_text(f"return function()\n{BEFORE.get(name, '')}{code}\n{after}\nend\n")
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


def test_numbers_are_kept_and_lines_written(shop: Deployment) -> None:
    assert call(shop, "metrics") is True
    assert call(shop, "logger") == "logged"
    shop.workers[0].wait_for_log("out of stock")


def test_a_plain_kombu_client_sends_an_order(shop: Deployment) -> None:
    exec(SENDS.replace("redis://...", shop.redis_url), {"kombu": __import__("kombu")})
    shop.workers[0].wait_for_log("new")


def test_a_service_runs(shop: Deployment) -> None:
    wait_until(lambda: any(service.state == "running" for service in shop.client.list_services()), deadline_s=20)
    (service,) = shop.client.list_services()
    assert (service.id, service.restarts) == ("app.services:price_feed", 0)
    shop.client.restart_service(service.id, wait=True, timeout=30)
