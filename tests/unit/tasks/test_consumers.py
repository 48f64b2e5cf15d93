# ruff: noqa: E501 - Lua sources read better on one line
"""Queue consumers without a server: what they read, which a worker serves, and how they settle over any transport."""

from __future__ import annotations

import json
import logging
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgpack
import pytest
from celery import Celery

from orchestration.errors import EntryNotFoundError
from orchestration.registry import Registry, load_registry
from orchestration.settings import Settings
from orchestration.tasks.consumers import serving
from orchestration.tasks.consumers.bodies import UndecodableError, decode, encode
from orchestration.tasks.consumers.consumer import Consumers
from orchestration.tasks.consumers.delivery import Delivery
from orchestration.tasks.consumers.leases import attempts_of
from orchestration.tasks.consumers.queues import BoundQueue
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project
from tests.support.waiting import wait_until

HEARD: list[Any] = []


def hear(*values: Any) -> None:
    HEARD.append(values)
    if values == ("fail",):
        raise ValueError("not this one")


project = Project()
project.entry("driver", "queue.driver.celery")
work = project.entry("work", "queue.queue", driver="app:driver", dead_letter={"queue": "app:dead", "max_attempts": 2})
dead = project.entry("dead", "queue.queue", driver="app:driver", driver_options={"memory": {"max_length": 2}})
project.entry("hear", "function.python", callable=f"{__name__}:hear")
project.entry("first", "queue.consumer", queue=work, func="app:hear", lifecycle={"auto_start": True})
project.entry("second", "queue.consumer", queue=dead, func="app:hear")
project.function("fill", "local queue = require('queue') return function() local e for i = 1, 3 do local ok ok, e = queue.publish('app:dead', i) end return { kind = e:kind(), text = e:message(), again = e:retryable() } end", modules=("queue",))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


def message(body: Any, content_type: str | None, content_encoding: str = "utf-8", **headers: Any) -> Any:
    return types.SimpleNamespace(
        body=body, content_type=content_type, content_encoding=content_encoding, headers=headers, errors=[]
    )


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        ("json/plain", {"a": [1, 1.5, None, "ä", True]}),
        ("application/msgpack", {"a": [1, 1.5, None, "ä", b"\xff"]}),
        ("yaml/plain", {"a": [1, "ä", {"b": False}]}),
        ("text/plain", "zwölf"),
        ("application/octet-stream", b"\xff\x00"),
    ],
)
def test_what_a_codec_writes_is_read_as_it_was(codec: str, value: Any) -> None:
    body, content_type, content_encoding = encode(codec, value)
    assert decode(message(body, content_type, content_encoding)) == [value]


@pytest.mark.parametrize(
    ("codec", "value"), [("json/plain", b"\xff"), ("json/plain", float("nan")), ("text/plain", {}), ("application/octet-stream", 5)]
)
def test_a_value_that_a_codec_cannot_carry_is_refused(codec: str, value: Any) -> None:
    with pytest.raises(ValueError, match=codec):
        encode(codec, value)


def test_content_types_of_others_are_understood() -> None:
    assert decode(message(b'{"a": 1}', "application/vnd.order+json; charset=utf-8")) == [{"a": 1}]
    assert decode(message(msgpack.packb([1]), "application/msgpack", "binary")) == [[1]]
    assert decode(message(b"a: 1", "application/yaml")) == [{"a": 1}]
    assert decode(message(b"\x01", None, "binary")) == [b"\x01"]


def test_of_a_task_the_arguments_are_read() -> None:
    def task(args: Any, kwargs: Any) -> Any:
        return decode(message(json.dumps([args, kwargs, {}]).encode(), "application/json", task="t", id="1"))

    assert task([1, 2], {}) == [1, 2]
    assert task([1], {"a": 2}) == [1, {"a": 2}]
    assert decode(message(b"[[1], {}, {}]", "application/json")) == [[[1], {}, {}]]


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "application/xml", "application/json", "application/x-yaml"])
def test_what_cannot_be_read_is_one_error_and_runs_nothing(content_type: str) -> None:
    with pytest.raises(UndecodableError):
        decode(message(b"!!python/object/apply:os.system ['true'] {", content_type))


def test_attempts_are_counted_by_us_and_by_brokers() -> None:
    assert attempts_of({}) == 0
    assert attempts_of({"x_attempts": 2, "x-delivery-count": 1}) == 3
    assert attempts_of({"x_attempts": "many", "x-delivery-count": -1}) == 0


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("auto", ["app:first"]), ("none", []), ("", []), ("app:second", ["app:second"]), ("other:*", []),
        ("*", ["app:first", "app:second"]), ("app:f*, app:second", ["app:first", "app:second"]),
    ],
)  # fmt: skip
def test_a_setting_says_which_consumers_a_worker_serves(registry: Registry, setting: str, found: list[str]) -> None:
    settings = Settings.from_celery({"orchestration_consumers": setting}, env={})
    assert [entry.id for entry in serving.served(registry, settings)] == found


def worker(app: Celery, pool: str) -> Any:
    return types.SimpleNamespace(app=app, pool_cls=pool)


@pytest.fixture
def env(registry: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=registry) as env:
        with env.app.connection_for_write() as connection:  # queues in memory are those of the OS process
            for name in ("work", "dead"):
                connection.default_channel.queue_declare(name)
                connection.default_channel.queue_purge(name)
        yield env


@pytest.mark.parametrize("pool", ["celery.concurrency.gevent", "celery.concurrency.eventlet"])
def test_a_worker_without_threads_refuses_consumers_in_a_clear_error(
    env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture, pool: str
) -> None:
    step = serving.ConsumersStep(types.SimpleNamespace())
    with caplog.at_level(logging.ERROR):
        step.start(worker(env.app, pool))
    assert "start one with --pool threads or prefork for app:first" in caplog.text
    step.stop(None)


def test_a_consumer_is_refused_a_queue_that_its_worker_takes_tasks_from(
    env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    env.app.amqp.queues.select_add("work")
    with caplog.at_level(logging.ERROR):
        serving.ConsumersStep(types.SimpleNamespace()).start(worker(env.app, "threads"))
    assert "takes Celery tasks from the same queue, 'work'; give app:work another queue_name" in caplog.text


def test_messages_are_settled_over_any_transport(env: WorkflowEnvironment) -> None:
    """The one in memory, which knows nothing of leases."""
    HEARD.clear()
    runtime = env._parts.runtime
    consumers = Consumers(runtime, serving.served(env.registry, Settings(consumers="*")))
    queue = BoundQueue.of(runtime, work)
    for value in ("one", "fail"):
        body, content_type, content_encoding = encode("json/plain", value)
        queue.publish(body, content_type=content_type, content_encoding=content_encoding, headers={"own": 1})
    consumers.start()
    try:
        wait_until(lambda: len(HEARD) >= 4, deadline_s=10)
        assert HEARD[:4] == [("one",), ("fail",), ("fail",), ("fail",)], "twice from its queue, once as a dead letter"
    finally:
        assert consumers.stop(timeout_s=5)
    assert queue.info()["message_count"] == 0


def test_a_copy_of_a_message_is_as_its_sender_made_it() -> None:
    """With the properties as RabbitMQ's client gives them."""
    sent: list[Any] = []
    properties = {
        "application_headers": {"own": 1}, "content_type": "application/json", "delivery_mode": 2, "priority": 4,
        "correlation_id": "c", "message_id": "m", "expiration": "1500", "user_id": "guest", "type": "order",
    }  # fmt: skip
    received = types.SimpleNamespace(
        body=b"1", content_type="application/json", content_encoding="utf-8", properties=properties, delivery_tag=1,
        headers={"own": 1, "x-delivery-count": 2, "redelivered": True}, ack=lambda: sent.append("ack"),
    )  # fmt: skip
    queue = types.SimpleNamespace(
        entry=types.SimpleNamespace(id="app:q", dead_letter=types.SimpleNamespace(max_attempts=0)),
        publish=lambda body, **options: sent.append((body, options)),
    )
    delivery = Delivery(received, cast("Any", queue))
    assert delivery.headers == {
        "own": 1, "x-delivery-count": 2, "x_attempts": 2, "redelivered": True, "priority": 4, "correlation_id": "c",
        "message_type": "order",
    }  # fmt: skip
    delivery.finish(ValueError("no"))
    assert sent == [
        (b"1", {"content_type": "application/json", "content_encoding": "utf-8", "headers": {"own": 1, "x_attempts": 3},
                "priority": 4, "correlation_id": "c", "message_id": "m", "expiration": 1.5, "type": "order"}),
        "ack",
    ]  # fmt: skip


def test_a_queue_that_is_full_refuses(env: WorkflowEnvironment) -> None:
    assert env.client.call("app:fill", timeout=10) == {
        "kind": "Internal", "text": "app:dead is full: it has 2 messages", "again": True,
    }  # fmt: skip


def test_stopping_before_anything_came_is_quick(env: WorkflowEnvironment, tmp_path: Path) -> None:
    consumers = Consumers(env._parts.runtime, serving.served(env.registry, env._parts.runtime.settings))
    consumers.start()
    assert consumers.stop(timeout_s=5)


@pytest.mark.parametrize(
    ("queue_id", "text"),
    [
        ("app:wrok", "no entry has the id 'app:wrok': did you mean"),
        ("app:hear", "no entry has the id 'app:hear': it is a function.python, not a queue.queue"),
    ],
)
def test_a_queue_that_is_none_is_named_once(env: WorkflowEnvironment, queue_id: str, text: str) -> None:
    with pytest.raises(EntryNotFoundError, match=text):
        BoundQueue.of(env._parts.runtime, queue_id)
