"""Workers of the shop and workers with the extension: brokers, pools and releases against each other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, chord, signature

from tests.interop.checks import check_outcomes, check_retries_and_routing, kinds_of, start
from tests.interop.project import FOLDER, bodies, shop, shop_worker
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.support.old_celery import python_with_celery
from tests.support.projects import Deployment, deployed
from tests.support.workers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

project, call = shop()

Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(redis_server: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deploy]:
    """Definitions deployed on a broker: ``deploy("rabbitmq")``; the store and the results are in Redis."""
    with contextlib.ExitStack() as stack:

        def make(broker: str = "redis", of: Any = project) -> Deployment:
            url = empty_database(redis_server)
            other = {"broker_url": request.getfixturevalue("rabbitmq").fresh_url()} if broker == "rabbitmq" else {}
            return stack.enter_context(deployed(of, tmp_path, url, **other))

        yield make


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_prefork_worker_of_the_shop(deploy: Deploy, broker: str, pool: str) -> None:
    """The pool is that of the side with the extension."""
    running = deploy(broker)
    running.worker(pool=pool)
    shop_worker(running, concurrency=6, options=["-B"])
    check_outcomes(running)


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_other_workers_of_the_shop(deploy: Deploy, broker: str, pool: str) -> None:
    running = deploy(broker)
    running.worker()
    shop_worker(running, pool=pool, concurrency=6)
    check_retries_and_routing(running)


@pytest.mark.parametrize(
    ("release", "broker"), [("5.3", "redis"), ("5.3", "rabbitmq"), ("5.4", "redis"), ("5.5", "redis")]
)
def test_older_releases(deploy: Deploy, release: str, broker: str, pytestconfig: pytest.Config) -> None:
    assert pytestconfig.cache is not None
    python = python_with_celery(release, pytestconfig.cache)
    running = deploy(broker)
    running.worker()
    worker = shop_worker(
        running, python=python, concurrency=6, options=["-B"], env={"PYTHONPATH": str(FOLDER)}
    )
    assert f"v{release}." in worker.log()
    check_outcomes(running, old=True)
    quiet = start(running, "quiet", "quiet-failure", True).result(timeout=30)
    assert quiet["message"].endswith("its error is not in the result backend (state PENDING)")


def test_the_shop_goes_on_as_before(deploy: Deploy) -> None:
    """Its own calls, retries and chords, beside workflows that use the same workers."""
    running = deploy()
    running.worker()
    shop_worker(running)
    app = Celery("shop-client", broker=running.redis_url, backend=running.redis_url, set_as_current=False)
    app.conf.update(task_default_queue="shop")
    with app:
        header = [signature("shop.price", args=(sku,), app=app) for sku in ("a", "b", "c")]
        activity = start(running, "price", "apple")
        assert chord(header, app=app)(signature("shop.total", app=app)).get(timeout=30) == 750
        assert app.send_task("shop.pack", args=["own", 1]).get(timeout=30) == {"retries": 1}
        assert activity.result(timeout=30) == {"result": {"sku": "apple", "cents": 250}}


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_worker_that_is_killed(deploy: Deploy, broker: str) -> None:
    """With early acknowledgement nothing is left of its task: the timeout tells, the next attempt runs elsewhere."""
    running = deploy(broker)
    running.worker()
    worker = shop_worker(running)
    policy = {"initial_interval": "100ms", "maximum_attempts": 2}
    handle = start(running, "once_slow", "killed", 120, start_to_close_timeout="3s", retry_policy=policy)
    wait_until(lambda: bodies(running, "killed") == 1)
    worker.kill()
    shop_worker(running)
    assert handle.result(timeout=60) == {"result": "done"}
    assert bodies(running, "killed") == 2


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_queue_that_both_kinds_of_workers_take_from(deploy: Deploy, broker: str, tmp_path: Path) -> None:
    """Whoever gets a message runs it, for longer than the sweep waits; nothing is sent twice."""
    running = deploy(broker, project.copy(tasks=["shop_project.tasks"]))
    env = {"SHOP_LEDGER": str(running.folder), "PYTHONPATH": f"{FOLDER}:{ROOT}"}
    running.worker(queues=["celery", "shop"], env=env, concurrency=6)
    shop_worker(running, concurrency=6)
    keys = [f"slow-{number}" for number in range(10)]
    handles = {key: start(running, "slow", key, 9) for key in keys}
    assert all("id" in result for result in kinds_of(handles).values())
    assert {key: bodies(running, key) for key in keys} == dict.fromkeys(keys, 1)


def test_a_message_that_the_broker_lost(deploy: Deploy) -> None:
    """The queue is of workers without the extension: it is not sent again, its time passes, the next attempt runs."""
    running = deploy()
    running.worker()
    worker = shop_worker(running)
    worker.pause()
    policy = {"initial_interval": "100ms", "maximum_attempts": 2}
    handle = start(running, "quiet", "lost", start_to_close_timeout="2s", retry_policy=policy)
    store = running.orchestration.runtime.store("default")
    wait_until(lambda: store.attempts.read(handle.run_id, 1), message="a message that was sent")
    with contextlib.closing(redis.Redis.from_url(running.redis_url)) as client:
        client.delete("shop", "unacked", "unacked_index")  # or the worker, which hears nothing, has it in its socket
    worker.kill()
    shop_worker(running)
    assert handle.result(timeout=60) == {"result": "quiet"}
    assert bodies(running, "lost") == 1


def test_a_report_that_the_broker_lost(deploy: Deploy) -> None:
    """The result is in the backend: the sweep finds it."""
    running = deploy()
    running.worker()
    shop_worker(running)
    wait_until(lambda: start(running, "price", "first").result(timeout=30))
    handle = start(running, "slow", "unreported", 3)
    wait_until(lambda: bodies(running, "unreported") == 1)
    with contextlib.closing(redis.Redis.from_url(running.redis_url)) as client:
        client.delete("_kombu.binding.celery")
        assert "id" in handle.result(timeout=30)["result"]
        assert bodies(running, "unreported") == 1
        # What declares queues anew is a matter of half a minute; until then the results do.
        assert start(running, "price", "after").result(timeout=30)["result"]["sku"] == "after"


def test_a_worker_with_the_extension_and_greenlets(deploy: Deploy) -> None:
    """It runs activities in Python, and refuses Lua by name."""
    of = project.copy(tasks=["shop_project.tasks"])
    double = of.function("double", "local function main(x) return 2 * x end\nreturn main")
    running = deploy("redis", of)
    env = {"SHOP_LEDGER": str(running.folder), "PYTHONPATH": f"{FOLDER}:{ROOT}"}
    greenlets = running.worker(pool="gevent", queues=["shop", "green"], env=env)
    greenlets.wait_for_log("the gevent pool can run no Lua, so it refuses shop:call, shop:double")
    running.worker(env=env)
    assert start(running, "price", "apple").result(timeout=30)["result"]["cents"] == 250
    assert start(running, "reserve", "green", "pears").result(timeout=30)["kind"] == "Internal"
    seen = start(running, "double", 2, task_queue="green").result(timeout=30)
    assert seen["kind"] == "Unavailable"
    assert seen["message"].startswith("shop:double is Lua, which the gevent pool of this worker can not run")
    assert seen["details"] == {
        "entry": double, "pool": "gevent", "_activity_id": "1", "_wrapper": "activity",
    }  # fmt: skip
    handle = running.client.start_workflow(call, "price", {}, "pear", task_queue="green")
    greenlets.wait_for_log("a run of shop:call is left to other workers")
    running.worker(queues=["green"], env=env)
    assert handle.result(timeout=60) == {"result": {"sku": "pear", "cents": 250}}


def test_without_a_result_backend_links_and_timeouts_are_all_there_is(deploy: Deploy) -> None:
    running = deploy()
    running.worker()
    shop_worker(running, env={"SHOP_RESULT_BACKEND": ""})
    handles = {
        "price": start(running, "price", "apple"),
        "reserve": start(running, "reserve", "reserve", "pears"),
        "unheard_of": start(running, "unheard_of", start_to_close_timeout="2s"),
    }
    found = kinds_of(handles)
    assert found["price"] == {"sku": "apple", "cents": 250}
    assert found["reserve"][0] == "Internal", "that it failed is told, not with what"
    assert found["unheard_of"] == ("Timeout", "start_to_close")
