"""What becomes of the Celery task that a workflow is when its result backend or its followers are in trouble."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
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
    fields = {"id": "w-1", "type": "shop:order", "status": "completed"}
    record = RunRecord(RunId("00" + "a" * 30), fields, {"request": msgpack.packb(request)})
    _complete_task(app.orchestration.runtime, record, Outcome(True, value=payload.encode(7)))


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
