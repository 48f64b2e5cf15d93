"""What becomes of the Celery task that a workflow is when its result backend or its followers are in trouble."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
import redis
from celery import Celery
from kombu.exceptions import EncodeError

from orchestration import Orchestration
from orchestration.core import payload
from orchestration.embedded import EmbeddedRedis
from orchestration.store.outcome import Outcome
from orchestration.store.results import RunRecord
from orchestration.tasks.completion import _complete_task
from orchestration.types import RunId
from tests.support.fixtures import empty_database


class AwayError(Exception):
    """Of the driver of a result backend."""


@pytest.fixture
def app(redis_server: EmbeddedRedis) -> Celery:
    url = empty_database(redis_server)
    app = Celery("completion", broker=url, backend=url, set_as_current=False)
    Orchestration(app, config=[])
    return app


def complete(app: Celery, **request: Any) -> None:
    _complete(app, "completed", Outcome(True, value=payload.encode(7)), request)


def fail(app: Celery, **request: Any) -> None:
    _complete(app, "failed", Outcome(False, failure={"message": "sold out", "kind": "SoldOut"}), request)


def _complete(app: Celery, status: str, outcome: Outcome, request: dict[str, Any]) -> None:
    fields = {"id": "w-1", "type": "shop:order", "status": status}
    runtime, run_id = app.orchestration.runtime, RunId("00" + "a" * 30)
    store = runtime.store("default")
    key = store.keyspace.of_run(run_id).extra(run_id)
    with redis.Redis.from_url(app.conf.broker_url) as client:
        client.hset(key, "request", msgpack.packb(request))
        extra = {name.decode(): value for name, value in client.hgetall(key).items()}
    _complete_task(runtime, store, RunRecord(run_id, fields, extra), outcome)


def test_a_success_is_not_made_a_failure_by_a_backend_that_is_away(app, monkeypatch):
    done = app.backend.mark_as_done

    def away(*args: Any, **kwargs: Any) -> None:
        raise AwayError("connection lost")

    monkeypatch.setattr(app.backend, "mark_as_done", away)
    with pytest.raises(AwayError):
        complete(app)
    assert app.AsyncResult("w-1").state == "PENDING"
    monkeypatch.setattr(app.backend, "mark_as_done", done)
    complete(app)
    assert app.AsyncResult("w-1").result == 7


def test_a_result_that_the_backend_cannot_write_is_a_failure(app, monkeypatch):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise EncodeError("no such type")

    monkeypatch.setattr(app.backend, "mark_as_done", refuse)
    complete(app)
    assert app.AsyncResult("w-1").state == "FAILURE"


def test_a_follower_that_cannot_be_published_is_a_failure(app):
    app.conf.task_create_missing_queues = False
    complete(app, callbacks=[app.signature("next", queue="nowhere")])
    assert app.AsyncResult("w-1").state == "FAILURE"


def test_an_errback_that_cannot_be_published_is_not_tried_for_ever(app, caplog):
    """Each try called the errbacks before it once more: somebody got a mail a second."""
    calls: list[str] = []

    @app.task(name="mail", shared=False)
    def mail(request: Any, error: Exception, traceback: Any) -> None:
        del error, traceback
        calls.append(request.id)

    app.conf.task_create_missing_queues = False
    fail(app, errbacks=[mail.s(), app.signature("next", queue="nowhere")])
    assert calls == ["w-1"]
    assert app.AsyncResult("w-1").state == "FAILURE"
    assert "not everybody is told that the workflow has failed" in caplog.text
    assert "Queue 'nowhere' missing from task_queues" in caplog.text


def test_a_failure_is_told_again_when_the_backend_was_away(app, monkeypatch):
    store = app.backend.store_result

    def away(*args: Any, **kwargs: Any) -> None:
        raise AwayError("connection lost")

    monkeypatch.setattr(app.backend, "store_result", away)
    with pytest.raises(AwayError):
        fail(app)
    monkeypatch.setattr(app.backend, "store_result", store)
    fail(app)
    assert app.AsyncResult("w-1").state == "FAILURE"


@pytest.mark.parametrize(("broken", "first"), [(("get", "set"), 0), (("set",), 2)], ids=["away", "full"])
def test_the_next_step_is_sent_once_while_the_backend_is_away(app, monkeypatch, broken, first):
    """Each try sent it again before it found the backend away: a next step ran some hundred times."""
    reads, writes = app.backend.get, app.backend.set

    def away(*args: Any, **kwargs: Any) -> None:
        raise AwayError("connection lost")

    def sent() -> int:
        with app.connection_for_write() as connection:
            return int(connection.default_channel.client.llen("next") + connection.default_channel.client.llen("link"))

    request = {"callbacks": [app.signature("link", queue="link")], "chain": [app.signature("next", queue="next")]}
    for name in broken:
        monkeypatch.setattr(app.backend, name, away)
    for _ in range(3):
        with pytest.raises(AwayError):
            complete(app, **request)
    assert sent() == first
    monkeypatch.setattr(app.backend, "get", reads)
    monkeypatch.setattr(app.backend, "set", writes)
    complete(app, **request)
    assert (sent(), app.AsyncResult("w-1").result, len(app.AsyncResult("w-1").children)) == (2, 7, 2)
