"""Whose a queue is, and what is done about an attempt that nobody claims."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import ContentDisallowed

from orchestration.tasks.asking import remote_control
from orchestration.tasks.foreign import consumers as module
from orchestration.tasks.foreign.consumers import Consumers
from tests.support import wait_until

Answers = Callable[[], Any]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], Consumers]:
    """Consumers of a deployment where ``ours@h`` has the extension, and ``inspect`` answers as it is told to."""

    def make(answers: Answers) -> Consumers:
        def broadcast(command: str, *, reply: bool, timeout: float, connection: str) -> Any:
            assert (command, reply, connection) == ("active_queues", True, "its own")
            found = answers()
            return found if isinstance(found, list) else [{node: queues} for node, queues in found.items()]

        control = types.SimpleNamespace(broadcast=broadcast)
        monkeypatch.setattr(module, "remote_control", lambda app: control)
        foreign = types.SimpleNamespace(note_consumer=lambda node, queues, silent_ms: {"ours@h": ["ours", "mixed"]})
        app = types.SimpleNamespace(
            amqp=types.SimpleNamespace(queues=types.SimpleNamespace(consume_from={"ours": 1})),
            connection_for_write=lambda: contextlib.nullcontext("its own"),
        )
        runtime: Any = types.SimpleNamespace(
            app=app, settings=types.SimpleNamespace(namespace="default"),
            store=lambda namespace: types.SimpleNamespace(foreign=foreign),
        )  # fmt: skip
        found = Consumers(runtime, "ours@h")
        found.say()
        return found

    return make


def whose(consumers: Consumers, queue: str) -> str:
    return str(wait_until(lambda: consumers.whose(queue), deadline_s=5, message="an answer"))


def test_it_is_not_known_before_the_workers_have_answered(ask: Callable[[Answers], Consumers]) -> None:
    assert ask(dict).whose("ours") == ""


@pytest.mark.parametrize(
    ("queue", "found"), [("ours", "ours"), ("mixed", "foreign"), ("shop", "foreign"), ("x", "foreign")]
)
def test_a_queue_is_ours_when_all_its_workers_have_the_extension(
    ask: Callable[[Answers], Consumers], queue: str, found: str
) -> None:
    answers = {"ours@h": [{"name": "ours"}, {"name": "mixed"}], "shop@h": [{"name": "shop"}, {"name": "mixed"}]}
    assert whose(ask(lambda: answers), queue) == found


def test_a_worker_without_the_extension_may_have_the_name_of_one_that_has_it(
    ask: Callable[[Answers], Consumers]
) -> None:
    """Both are called celery@host where nobody has named them. It was taken for ours: its messages were sent twice."""
    namesakes = [{"ours@h": [{"name": "ours"}]}, {"ours@h": [{"name": "ours"}]}, {"odd@h": {"error": "busy"}}]
    consumers = ask(lambda: namesakes)
    assert whose(consumers, "ours") == "foreign"
    consumers._said = float("-inf")
    consumers.say()
    assert consumers.whose("ours") == "foreign", "what the one says of itself does not make the other ours"


def test_a_worker_that_once_answered_counts_while_it_is_busy(
    ask: Callable[[Answers], Consumers], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [{"shop@h": [{"name": "mixed"}]}]
    consumers = ask(lambda: said.pop() if said else {})
    assert whose(consumers, "mixed") == "foreign"
    monkeypatch.setattr(module, "_KNOWN_FOR_S", -1.0)
    assert consumers.whose("mixed") == "", "asked again"
    monkeypatch.setattr(module, "_KNOWN_FOR_S", 30.0)
    assert whose(consumers, "mixed") == "foreign"


def test_an_answer_that_cannot_be_read_is_of_a_worker_that_may_take_anything(
    ask: Callable[[Answers], Consumers]
) -> None:
    def refuse() -> Any:
        raise ContentDisallowed("pickle")

    assert whose(ask(refuse), "ours") == "foreign"


def test_with_a_broker_that_has_no_broadcasts_the_store_is_believed(
    ask: Callable[[Answers], Consumers], caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> Any:
        raise NotImplementedError("fanout")

    consumers = ask(refuse)
    assert whose(consumers, "ours") == "ours"
    assert whose(consumers, "shop") == "foreign"
    assert caplog.text.count("workers cannot be asked for their queues: fanout") == 3


def test_answers_are_read_in_the_serializer_of_whoever_answers() -> None:
    app = Celery("asking", set_as_current=False)
    app.conf.accept_content = ["json"]
    assert set(remote_control(app).mailbox.accept) >= {"json", "msgpack", "yaml"}
    assert "pickle" not in remote_control(app).mailbox.accept
    assert app.control.mailbox.accept == ["json"], "Celery's own is left as it is"
