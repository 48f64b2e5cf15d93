"""Who takes tasks from which queue."""

from __future__ import annotations

import types
from typing import Any

import pytest
from celery import Celery

from orchestration import Orchestration
from orchestration.embedded import EmbeddedRedis
from orchestration.tasks.foreign import consumers as module
from orchestration.tasks.foreign.consumers import Consumers
from tests.support.fixtures import empty_database


@pytest.fixture
def app(redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> Celery:
    url = empty_database(redis_server)
    app = Celery("consumers", broker=url, backend=url, set_as_current=False)
    Orchestration(app, config=[])
    answers: dict[str, list[dict[str, str]]] = {}
    app.answers = answers

    def broadcast(command: str, **options: Any) -> Any:
        assert (command, options["reply"]) == ("active_queues", True)
        return [{node: queues} for node, queues in answers.items()]

    monkeypatch.setattr(module, "remote_control", lambda _: types.SimpleNamespace(broadcast=broadcast))
    return app


def consumers(app: Celery, node: str) -> Consumers:
    return Consumers(app.orchestration.runtime, node)


def test_a_worker_that_answers_before_it_has_said_that_it_is_ours(app):
    app.answers |= {"a@one": [{"name": "celery"}], "b@two": [{"name": "celery"}], "c@three": [{"name": "billing"}]}
    first, second = consumers(app, "a@one"), consumers(app, "b@two")
    first.say()
    first._listen()
    assert first.whose("celery") == "foreign", "the second worker may be anyone"
    second.say()
    first._said = float("-inf")
    first.say()
    assert first.whose("celery") == "ours"
    assert first.whose("billing") == "foreign"
    second.leave()
    first._said = float("-inf")
    first.say()
    assert first.whose("celery") == "ours", "it was never foreign"
