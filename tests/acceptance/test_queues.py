# ruff: noqa: E501 - Lua sources read better on one line
"""Queues and their consumers, with a real worker and a real broker."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection

from orchestration import Client
from orchestration.embedded import EmbeddedRedis
from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until
from tests.support.workers import WorkerProcess

project = Project(tasks=("tests.acceptance.queue_tasks",), env={"ORCHESTRATION_DEAD_AFTER_MS": "3s"})
MODULES = ("queue", "json", "time", "funcs", "errors")

project.entry("driver", "queue.driver.memory")
project.entry("note", "function.python", callable="tests.acceptance.queue_tasks:note")
project.celery_task("task", "queues.note")


def handled_queue(name: str, body: str, *, consumer: dict[str, Any] | None = None, **fields: Any) -> str:
    """A queue with a consumer whose function has this body; ``note(...)`` writes down what it is given."""
    queue = project.entry(name, "queue.queue", driver="app:driver", **fields)
    project.function(
        f"on_{name}",
        "local queue, json, time, funcs, errors = require('queue'), require('json'), require('time'), require('funcs'), require('errors')\n"
        f"local function note(value) assert(funcs.call('app:note', '{name}', json.encode(value))) end\n"
        f"return function(...)\n{body}\nend",
        modules=MODULES,
    )
    options = {"lifecycle": {"auto_start": True}, **(consumer or {})}
    project.entry(f"{name}_consumer", "queue.consumer", queue=queue, func=f"app:on_{name}", **options)
    return queue


orders = handled_queue("orders", "local m = queue.message() note({ args = { ... }, n = select('#', ...), id = m:id(), headers = m:headers(), kind = m:header('kind') })", queue_name="shop.orders")
packed = handled_queue("packed", "note({ ... })", codec="application/msgpack")
failing = handled_queue("failing", "note({ queue.message():header('x_attempts') or 0 }) if (queue.message():header('x_attempts') or 0) < 2 then return nil, 'not yet' end")
dead = handled_queue("dead", "local m = queue.message() note({ ..., m:header('x_queue'), m:header('x_reason'), m:header('x_attempts') })")
poison = handled_queue("poison", "note({ ... }) error('never')", dead_letter={"queue": dead, "max_attempts": 2})
buried = project.entry("buried", "queue.queue", driver="app:driver")
hostile = handled_queue("hostile", "note({ ... }) error('never')", dead_letter={"queue": buried, "max_attempts": 2})
falsy = handled_queue("falsy", "note({ 1 }) return false")
settles = handled_queue("settles", """
    local m, how = queue.message(), ...
    local tried = m:header('x_attempts') or 0
    if tried > 0 then note({ again = tried }) return end
    local first, e1 = m[how](m)
    local second, e2 = m:ack()
    note({ first = first, kind = e2:kind(), text = e2:message() })
    error('after it was settled')
""")
early = handled_queue("early", "note({ 1 }) error('too late')", consumer={"auto_ack": True})
four = handled_queue("four", "note({ 'begins' }) time.sleep('300ms') note({ 'ends' })", consumer={"concurrency": 4})
slow = handled_queue("slow", "note({ 'begins', queue.message():header('x_attempts') or 0 }) time.sleep(...) note({ 'ends' })")
project.entry("host", "process.host", lifecycle={"auto_start": True})
project.lua("worker", "process.lua", "local funcs, json = require('funcs'), require('json') return function(value) funcs.call('app:note', 'jobs', json.encode({ value })) if value == 'bad' then error('no') end end", method="main", modules=["funcs", "json"], meta={"default_host": "app:host"})
jobs = project.entry("jobs", "queue.queue", driver="app:driver", dead_letter={"max_attempts": 2})
project.entry("jobs_consumer", "queue.consumer", queue=jobs, func="app:worker", lifecycle={"auto_start": True})
tasks = project.entry("tasks", "queue.queue", driver="app:driver")
project.entry("tasks_consumer", "queue.consumer", queue=tasks, func="app:task", lifecycle={"auto_start": True})
project.entry("idle", "queue.queue", driver="app:driver")
project.entry("idle_consumer", "queue.consumer", queue="app:idle", func="app:on_falsy")
project.function("publish", "local queue = require('queue') return function(id, data, headers) local ok, e = queue.publish(id, data, headers) return { ok = ok, kind = e and e:kind(), message = e and e:message() } end", modules=("queue",))
project.function("info", "local queue = require('queue') return function(id) return queue.info(id) end", modules=("queue",))
project.function("outside", "local queue = require('queue') return function() local m, e = queue.message() return { m == nil, e:kind(), e:message() } end", modules=("queue",))


@pytest.fixture
def notes(running: Deployment) -> Callable[[str], list[Any]]:
    """What the functions wrote down, of one queue."""
    return lambda name: read_notes(running.folder, name)


def read_notes(folder: Path, name: str) -> list[Any]:
    path = folder / f"notes.{name}"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def queue_arguments(running: Deployment) -> dict[str, Any]:
    """Whoever declares a queue of RabbitMQ says of which type it is."""
    kind = running.celery.get("task_create_missing_queue_type")
    return {"x-queue-type": kind} if kind else {}


def publish(client: Client, queue: str, data: Any, headers: Any = None) -> Any:
    return client.call("app:publish", queue, data, headers, timeout=10)


def test_what_a_function_publishes_reaches_the_consumers_function_with_its_headers(client: Client, notes: Any) -> None:
    headers = {"kind": "new", "n": 5, "yes": True, "priority": 3, "correlation_id": "c-1", "message_type": "order"}
    before = len(notes("orders"))
    assert publish(client, orders, {"id": 7, "items": [1, 2]}, headers) == {"ok": True}
    wait_until(lambda: len(notes("orders")) > before, deadline_s=10)
    found = notes("orders")[-1]
    assert found["args"] == [{"id": 7, "items": [1, 2]}]
    assert found["n"] == 1
    assert found["headers"] == headers
    assert found["kind"] == "new"
    assert uuid.UUID(found["id"])


def test_any_kombu_client_can_publish(running: Deployment, notes: Any) -> None:
    """Without our code: only the broker and the queue's name."""
    before = len(notes("orders"))
    with Connection(running.broker_url) as connection:
        with connection.SimpleQueue("shop.orders", queue_args=queue_arguments(running)) as queue:
            queue.put({"plain": "kombu"}, headers={"kind": "foreign"})
        connection.Producer().publish([1, "zwölf"], routing_key="shop.orders", serializer="yaml", compression="zlib")
    wait_until(lambda: len(notes("orders")) >= before + 2, deadline_s=10)
    found = notes("orders")[before:]
    assert found[0]["args"] == [{"plain": "kombu"}]
    assert found[0]["kind"] == "foreign"
    assert found[1]["args"] == [[1, "zwölf"]]


def test_of_a_celery_task_that_is_sent_to_a_queue_the_function_gets_the_arguments(running: Deployment, notes: Any) -> None:
    before = len(notes("orders"))
    app = Celery("foreign", broker=running.broker_url, set_as_current=False)
    app.conf.update(running.celery)
    sent = app.send_task("any.name", args=["one", 2], queue="shop.orders")
    app.close()
    wait_until(lambda: len(notes("orders")) > before, deadline_s=10)
    assert notes("orders")[-1]["args"] == ["one", 2]
    assert notes("orders")[-1]["id"] == sent.id


def test_a_codec_carries_binary_text(client: Client, notes: Any) -> None:
    assert publish(client, packed, {"b": b"\xff\x00"})["ok"]
    assert publish(client, orders, b"\xff")["kind"] == "Invalid"
    wait_until(lambda: notes("packed"), deadline_s=10)


def test_an_error_gives_the_message_back_until_it_is_handled(client: Client, notes: Any) -> None:
    publish(client, failing, 1)
    wait_until(lambda: len(notes("failing")) == 3, deadline_s=15)
    assert notes("failing") == [[0], [1], [2]]
    wait_until(lambda: client.call("app:info", failing, timeout=10)["message_count"] == 0, deadline_s=10)


def test_after_its_last_attempt_a_message_goes_to_the_dead_letters(client: Client, notes: Any) -> None:
    publish(client, poison, {"bad": 1})
    wait_until(lambda: notes("dead"), deadline_s=15)
    assert notes("poison") == [[{"bad": 1}]] * 2
    data, queue, reason, attempts = notes("dead")[0]
    assert (data, queue, attempts) == ({"bad": 1}, poison, 2)
    assert "never" in reason


def test_what_cannot_be_read_goes_to_the_dead_letters_and_never_runs_code(running: Deployment, notes: Any) -> None:
    before, log = len(notes("poison")), running.workers[0].log
    said = log().count("it cannot be read")
    with Connection(running.broker_url) as connection:
        connection.Producer().publish({"a": 1}, routing_key="poison", serializer="pickle")
        connection.Producer().publish("{broken", routing_key="poison", content_type="application/json", content_encoding="utf-8")
    wait_until(lambda: log().count("it cannot be read") == said + 4, deadline_s=10, message="neither can the dead letters' consumer")
    assert len(notes("poison")) == before


def _envelope(body: str = '"bad"', *, headers: Any = None, content_type: Any = "application/json", **properties: Any) -> bytes:
    """A message as kombu writes it into Redis, with whatever somebody has made of it."""
    own = {"delivery_info": {"exchange": "", "routing_key": "hostile"}, "delivery_tag": uuid.uuid4().hex, "body_encoding": None, "priority": 0}
    return json.dumps({"body": body, "content-encoding": "utf-8", "content-type": content_type, "headers": {} if headers is None else headers, "properties": own | properties}).encode()


MALFORMED = {
    "headers in a list": _envelope(headers=[1, 2]),
    "headers in a text": _envelope(headers="task"),
    "attempts": _envelope(headers={"x_attempts": 10**30, "x-delivery-count": [1]}),
    "no expiration": _envelope(expiration="soon"),
    "no priority": _envelope(priority={"a": 1}),
    "a correlation id of maps": _envelope(correlation_id={"a": [1]}, message_id=[1], reply_to=5, timestamp="x"),
    "a content type of numbers": _envelope(content_type=5),
    "deep": _envelope("[" * 100_000),
    "deeper than a value": _envelope("[" * 200 + "]" * 200),
    "a number that is too large": _envelope(str(2**70)),
    "anchors": _envelope("a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)), content_type="application/x-yaml"),
    "no body": _envelope(None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=list(MALFORMED))
def test_no_message_keeps_its_consumer_from_the_others(running: Deployment, client: Client, notes: Any, sent: bytes) -> None:
    """What is wrong with a message is found out once or twice; it does not come again for ever, and stops nobody."""
    with contextlib.closing(redis.Redis.from_url(running.redis_url)) as broker:
        keyed = json.loads(sent)["properties"]["delivery_tag"]
        broker.lpush("hostile", sent)
        before = len(notes("hostile"))
        mark = uuid.uuid4().hex
        publish(client, hostile, mark)
        wait_until(lambda: [mark] in notes("hostile")[before:], deadline_s=15)
        wait_until(lambda: client.call("app:info", hostile, timeout=10)["message_count"] == 0, deadline_s=15)
        held = [*broker.keys("*deliveries*held*"), *broker.keys("unacked")]
        wait_until(lambda: not any(broker.hexists(key, keyed) for key in held if broker.type(key) == b"hash"), deadline_s=15)


def test_a_process_with_a_default_host_handles_messages_too(client: Client, notes: Any, running: Deployment) -> None:
    publish(client, jobs, "good")
    publish(client, jobs, "bad")
    wait_until(lambda: len(notes("jobs")) == 3, deadline_s=15)
    assert notes("jobs") == [["good"], ["bad"], ["bad"]]
    running.workers[0].wait_for_log("a message was thrown away")


def test_a_celery_task_handles_messages_where_it_always_ran(running: Deployment, notes: Any) -> None:
    app = Celery("foreign", broker=running.broker_url, set_as_current=False)
    app.conf.update(running.celery)
    app.send_task("any.name", args=["tasks", "7"], queue="tasks")
    app.close()
    wait_until(lambda: notes("tasks") == [7], deadline_s=10)
    running.workers[0].wait_for_log("Task queues.note[")


def test_false_acknowledges(client: Client, notes: Any) -> None:
    publish(client, falsy, 1)
    wait_until(lambda: notes("falsy"), deadline_s=10)
    wait_until(lambda: client.call("app:info", falsy, timeout=10)["message_count"] == 0, deadline_s=10)
    assert notes("falsy") == [[1]]


def test_the_first_settlement_of_a_handler_counts_and_the_consumers_own_does_not(client: Client, notes: Any) -> None:
    publish(client, settles, "ack")
    wait_until(lambda: len(notes("settles")) == 1, deadline_s=10)
    assert notes("settles")[0] == {"first": True, "kind": "Invalid", "text": "queue.Message already settled"}
    publish(client, settles, "nack")
    wait_until(lambda: len(notes("settles")) == 3, deadline_s=10)
    assert notes("settles")[2] == {"again": 1}


def test_auto_ack_acknowledges_before_the_function_runs(client: Client, notes: Any) -> None:
    publish(client, early, 1)
    wait_until(lambda: notes("early"), deadline_s=10)
    wait_until(lambda: client.call("app:info", early, timeout=10)["message_count"] == 0, deadline_s=10)
    assert notes("early") == [[1]]


def test_so_many_are_handled_at_once(client: Client, notes: Any) -> None:
    for _ in range(4):
        publish(client, four, 1)
    wait_until(lambda: len(notes("four")) == 8, deadline_s=15)
    assert notes("four")[:3].count(["begins"]) >= 2


def test_a_consumer_without_auto_start_takes_nothing_and_info_counts_what_waits(client: Client) -> None:
    assert client.call("app:info", "app:idle", timeout=10)["message_count"] == 0
    publish(client, "app:idle", 1)
    publish(client, "app:idle", 2)
    info = client.call("app:info", "app:idle", timeout=10)
    assert info.pop("consumer_count", 0) == 0, "a Redis does not say how many there are"
    assert info == {"message_count": 2, "ready": True}


def test_outside_of_a_consumer_there_is_no_message(client: Client) -> None:
    missing, kind, text = client.call("app:outside", timeout=10)
    assert (missing, kind) == (True, "Invalid")
    assert "not called by a queue consumer" in text


def test_wrong_arguments_of_publish_are_returned_errors(client: Client) -> None:
    for queue, data, headers, kind in (
        ("", 1, None, "Invalid"),
        (orders, None, None, "Invalid"),
        ("app:nowhere", 1, None, "Internal"),
        ("app:publish", 1, None, "Internal"),
        (orders, 1, {"x_mine": 1}, "Invalid"),
        (orders, 1, {"a": {"b": 1}}, "Invalid"),
        (orders, 1, {"priority": "high"}, "Invalid"),
        (orders, 1, [1], "Invalid"),
    ):
        assert publish(client, queue, data, headers)["kind"] == kind, (queue, data, headers)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_message_whose_worker_is_killed_comes_to_another_one(redis_url: str, tmp_path: Path, pool: str) -> None:
    with deployed(project, tmp_path, redis_url) as deployment:
        first: WorkerProcess = deployment.worker(pool=pool, concurrency=1)
        publish(deployment.client, slow, "60s")
        wait_until(lambda: read_notes(tmp_path, "slow"), deadline_s=20)
        first.kill()
        with Connection(redis_url) as connection:  # and nothing of the first is in the way of what comes after
            connection.Producer().publish("1ms", routing_key="slow", serializer="json")
        deployment.worker(pool=pool, concurrency=1)
        wait_until(lambda: ["begins", 1] in read_notes(tmp_path, "slow"), deadline_s=30)
        assert ["ends"] in read_notes(tmp_path, "slow")


def test_a_consumer_outlives_the_loss_of_its_connections(second_redis: EmbeddedRedis, tmp_path: Path) -> None:
    """The message in hand is acknowledged over another connection, and what comes later is taken."""
    with deployed(project, tmp_path, second_redis.url) as deployment:
        deployment.worker()
        publish(deployment.client, slow, "1s")
        wait_until(lambda: read_notes(tmp_path, "slow"), deadline_s=20)
        with contextlib.closing(redis.Redis.from_url(second_redis.url)) as server:
            server.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: ["ends"] in read_notes(tmp_path, "slow"), deadline_s=20)
        publish(deployment.client, slow, "1ms")
        wait_until(lambda: read_notes(tmp_path, "slow").count(["ends"]) >= 2, deadline_s=30)
        wait_until(lambda: deployment.client.call("app:info", slow, timeout=10)["message_count"] == 0, deadline_s=10)


def test_a_worker_that_goes_down_in_order_gives_its_messages_back_at_once(redis_url: str, tmp_path: Path) -> None:
    with deployed(project, tmp_path, redis_url) as deployment:
        first = deployment.worker()
        publish(deployment.client, slow, "2s")
        wait_until(lambda: read_notes(tmp_path, "slow"), deadline_s=20)
        publish(deployment.client, slow, "1ms")
        first.stop()
        assert read_notes(tmp_path, "slow") == [["begins", 0], ["ends"]], "what ran was finished, nothing else begun"
        deployment.worker()
        wait_until(lambda: len(read_notes(tmp_path, "slow")) == 4, deadline_s=20)
        assert read_notes(tmp_path, "slow")[2:] == [["begins", 0], ["ends"]]


def test_the_doctor_sees_which_consumers_are_served(client: Client) -> None:
    found = {finding.subject: finding.severity.value for finding in client.doctor(["queue-consumers"])}
    assert found["app:orders_consumer"] == "ok"
