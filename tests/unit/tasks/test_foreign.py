"""Messages of attempts that a worker without the extension may get, and what such a worker leaves behind."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject, TimeLimitExceeded, WorkerLostError
from kombu.exceptions import EncodeError

from orchestration import Orchestration
from orchestration.embedded import EmbeddedRedis
from orchestration.errors import ApplicationError, ConfigError, StoreUnavailableError
from orchestration.store.attempts import AttemptId
from orchestration.tasks.foreign.links import report_links
from orchestration.tasks.foreign.results import StoredResult, StoredResults
from orchestration.tasks.messages import AttemptMark, Messages
from orchestration.tasks.outcomes import Outcome, outcome_of
from orchestration.tasks.tokens import encode_token
from orchestration.types import RunId
from tests.support.fixtures import empty_database
from tests.support.projects import Project, deployed


def mark(seq: int = 1) -> AttemptMark:
    return AttemptMark(
        namespace="default", attempt=AttemptId(RunId("00" + "a" * 30), seq, 1, "f00dcafe"), target="shop:price",
        workflow_id="w-1", workflow_type="shop:call", queue="", close_ms=600_000, beat_ms=0, key="k" * 36, context={},
    )  # fmt: skip


@pytest.fixture
def messages(redis_server: EmbeddedRedis) -> Messages:
    url = empty_database(redis_server)
    app = Celery("messages", broker=url, backend=url, set_as_current=False)
    orchestration = Orchestration(app, config=[])
    return orchestration.runtime.messages


def read(push: tuple[Any, ...]) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(push[2])
    message["body"] = json.loads(base64.b64decode(message["body"]))
    for volatile in ("delivery_tag", "reply_to"):
        message["properties"].pop(volatile, None)
    return message


@pytest.mark.parametrize("kwargs", [{}, {"rate": 2.5, "of": {"a": [1]}}])
@pytest.mark.parametrize("is_foreign", [True, False])
def test_a_message_made_from_a_model_is_as_celery_makes_it(
    messages: Messages, is_foreign: bool, kwargs: dict[str, Any]
) -> None:
    def push(seq: int) -> tuple[Any, ...]:
        send = messages.attempt(
            mark(seq), task="shop.price", queue="", args=["a", 2], kwargs=kwargs, is_foreign=is_foreign
        )
        return messages.pushes(send).commands[0]

    push(1)  # the model
    modelled = push(2)
    messages._models._models.clear()
    made = push(2)
    assert modelled[:2] == made[:2]
    assert read(modelled) == read(made)
    assert len(modelled[2]) == len(made[2])
    headers = read(made)["headers"]
    assert headers["ignore_result"] is not is_foreign, "a worker without the extension stores its result"


def test_links_are_signatures_as_celery_makes_them(messages: Messages) -> None:
    address = messages.report_address("orders")
    assert address == {"exchange": "orders", "routing_key": "orders"}
    link, link_error = report_links("token", address)
    for made, task in ((link, "orchestration.report"), (link_error, "orchestration.report_failure")):
        options = {**address, "serializer": "json", "ignore_result": True, "kwargsrepr": "{...}"}
        signature = messages._app.signature(task, kwargs={"attempt": "token"}, options=options)
        assert json.loads(json.dumps(signature)) == made


def test_the_binding_of_the_reports_is_there_before_the_first_attempt(messages: Messages) -> None:
    messages.attempt(mark(), task="shop.price", queue="", args=[], is_foreign=True)
    with messages._app.connection_for_write() as connection:
        members = connection.default_channel.client.smembers("_kombu.binding.celery")
    assert len(members) == 1


def test_a_queue_that_is_not_there_is_not_said_to_be_a_broker_that_is_away(
    messages: Messages, caplog: pytest.LogCaptureFixture
) -> None:
    messages._app.conf.update(task_create_missing_queues=False, task_routes={"shop.price": {"queue": "nowhere"}})
    send = messages.attempt(mark(), task="shop.price", queue="", args=[])
    assert not messages.publish(send)
    assert "Queue 'nowhere' missing from task_queues" in caplog.text
    assert "the broker is away" not in caplog.text
    with pytest.raises(ConfigError, match=r"^a message cannot be sent .* missing from task_queues"):
        messages.pushes(send)


@pytest.mark.parametrize("glob", ["*", "orchestration.*", "nothing"])
def test_any_worker_wakes_the_runs_of_a_queue_that_only_others_know(messages: Messages, glob: str) -> None:
    """It has the sweep's turn: what it cannot send, nobody sends."""
    messages._app.conf.update(task_create_missing_queues=False, task_routes={glob: {"queue": "celery"}})
    sends = [
        messages.resume("default", "00" + "a" * 30, queue="others"),
        messages.attempt(mark(), task="shop.price", queue="others", args=[], is_foreign=True),
    ]
    assert [(push[0], push[1]) for push in messages.pushes(*sends).commands] == [("lpush", "others")] * 2
    assert messages.publish(*sends)
    with messages._app.connection_for_write() as connection:
        assert connection.default_channel.client.llen("others") == 2
        assert not connection.default_channel.client.exists("_kombu.binding.others"), "it is for others to declare it"


def test_a_queue_that_is_a_mistake_is_said_before_anything_is_sent(messages: Messages) -> None:
    assert messages.refusal("shop.price", "nowhere") == ""
    messages._app.conf.update(task_create_missing_queues=False, task_routes={"shop.tax": {"queue": "taxes"}})
    del messages._app.amqp.queues, messages._app.amqp.router
    assert messages.refusal("shop.price", "celery") == messages.refusal("shop.price", "") == ""
    for task, queue, missing in (("shop.price", "nowhere", "nowhere"), ("shop.tax", "", "taxes")):
        refused = messages.refusal(task, queue)
        assert refused == f"Queue '{missing}' missing from task_queues (task_create_missing_queues is off)"


def test_a_list_of_brokers_is_no_place_that_a_script_gives_messages_to(messages: Messages) -> None:
    """Workers that have gone over to the second one would never see them, and nobody would be told."""
    url = messages._app.conf.broker_url
    assert messages.atomic
    for brokers, is_one in ((f"{url};redis://127.0.0.1:1/0", False), ([url, url], True)):
        app = Celery("brokers", broker=brokers, backend=url, set_as_current=False)
        assert Orchestration(app, config=[]).runtime.messages.atomic is is_one


def test_links_add_little_to_a_message(messages: Messages) -> None:
    def size(is_foreign: bool) -> int:
        send = messages.attempt(mark(), task="shop.price", queue="", args=["a", 2], is_foreign=is_foreign)
        return len(messages.pushes(send).commands[0][2])

    assert size(True) - size(False) < 900, "in bytes"


class TeaPotError(Exception):
    """Of somebody else."""


@pytest.mark.parametrize(
    ("state", "value", "kind", "retryable", "message"),
    [
        ("FAILURE", TeaPotError("short and stout"), "Internal", None, "TeaPotError: short and stout"),
        ("FAILURE", ApplicationError("no", kind="Declined", retryable=False), "Declined", False, "no"),
        ("FAILURE", TimeLimitExceeded(3), "Timeout", None, "TimeLimitExceeded"),
        ("FAILURE", WorkerLostError("gone"), "Unavailable", None, "WorkerLostError: gone"),
        ("FAILURE", Reject("no", requeue=False), "Unavailable", False, "Reject"),
        ("FAILURE", EncodeError("no"), "Invalid", False, "EncodeError: no"),
        ("FAILURE", type("NotRegistered", (Exception,), {})("x"), "NotFound", True, "NotRegistered: x"),
        ("REVOKED", None, "Canceled", False, "the task of shop:price was revoked"),
        ("PENDING", None, "Internal", None, "shop:price failed on a worker without the extension"),
        ("FAILURE", "not an exception", "Internal", None, "shop:price failed on a worker without the extension"),
        ("SUCCESS", {1: object()}, "Invalid", False, "the result of shop:price cannot be carried"),
    ],
)
def test_what_is_stored_becomes_a_failure(
    state: str, value: Any, kind: str, retryable: bool | None, message: str
) -> None:
    outcome = StoredResult(state, value).outcome("shop:price", 1000)
    assert outcome.kind == "failed"
    assert (outcome.failure["kind"], outcome.failure.get("retryable")) == (kind, retryable)
    assert outcome.failure["message"].startswith(message)


def test_what_is_stored_becomes_a_result() -> None:
    assert StoredResult("SUCCESS", [1, 2]).outcome("shop:price", 1000).kind == "completed"
    assert not StoredResult("STARTED", None).is_ready
    assert not StoredResult("RETRY", None).is_ready


def test_one_result_that_cannot_be_read_hides_no_other(messages: Messages) -> None:
    backend = messages._app.backend
    backend.store_result("ended", 7, "SUCCESS")
    backend.store_result("begun", None, "STARTED")
    backend.client.set(backend.get_key_for_task("pickled"), b"\x80\x04\x8c\x08builtins\x94.")
    backend.client.set(backend.get_key_for_task("odd"), b"[]")
    results = StoredResults(messages._app)
    found = results.read_many(dict.fromkeys(["pickled", "odd", "begun", "ended", "nowhere"], ""))
    assert found == {"begun": StoredResult("STARTED", None), "ended": StoredResult("SUCCESS", 7)}
    assert not results.read("", "pickled").is_ready


def test_a_task_that_was_replaced_is_reported_later() -> None:
    def traced(error: Exception) -> Any:
        info = type("Info", (), {"state": "IGNORED", "retval": error})
        return type("Traced", (), {"info": info, "retval": error})

    assert outcome_of(traced(Ignore("Replaced by new task")), "shop:price", 100).kind == "later"
    assert outcome_of(traced(Ignore()), "shop:price", 100).kind == "failed"


def test_a_failure_is_not_taken_in_while_the_result_backend_is_away(
    messages: Messages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, asked = messages._app, []
    original = app.backend.get_task_meta

    def away_at_first(task_id: str, **options: Any) -> Any:
        asked.append(task_id)
        if len(asked) == 1:
            raise ConnectionError("reset by peer")
        return original(task_id, **options)

    monkeypatch.setattr(app.backend, "get_task_meta", away_at_first)
    attempt = mark().attempt
    token = encode_token("default", attempt)
    done: list[str] = []
    foreign = app.orchestration.runtime.store("default").foreign
    noted = {True: "delete", False: "note"}
    monkeypatch.setattr(foreign, "note_report", lambda *_, leftover, **__: done.append(noted[bool(leftover)]))
    reports = app.orchestration.parts.reports
    monkeypatch.setattr(reports, "end", lambda *_, **__: done.append("end"))
    app.tasks["orchestration.report_failure"].apply(args=["some-task"], kwargs={"attempt": token})
    assert asked == ["some-task"] * 2
    assert done == ["note", "end", "delete"], "its error is kept until it has been taken in"
    assert "report put off: the result of task some-task cannot be read: reset by peer" in caplog.text


def test_a_result_that_the_sweep_has_found_is_kept_until_it_has_been_taken_in(
    redis_server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is lost in between: the result was deleted two seconds later, and the activity had to run again."""
    project = Project()
    project.celery_task("price", "shop.price")
    asks = project.workflow("asks", "return function() return require('funcs').new():call('app:price') end")
    with deployed(project, tmp_path, empty_database(redis_server)) as deployment:
        handle, parts = deployment.client.start_workflow(asks), deployment.orchestration.parts
        parts.engine.take_up("default", handle.run_id)
        store, reports = parts.runtime.store("default"), parts.reports
        opened = store.attempts.read(handle.run_id, 1)
        assert opened is not None
        attempt, stored = AttemptId(handle.run_id, 1, 1, opened[1].token), StoredResult("SUCCESS", 7)
        keys = store.runs._keyspace.of_run(handle.run_id)

        def lost(*_: Any, **__: Any) -> Any:
            raise StoreUnavailableError("lost")

        with monkeypatch.context() as patch:
            patch.setattr(reports, "end", lost)
            with pytest.raises(StoreUnavailableError):
                reports.found("default", attempt, stored)
        assert store.runs._connection.call("ZCARD", keys.leftovers) == 0
        reports.found("default", attempt, stored)
        assert store.runs._connection.call("ZCARD", keys.leftovers) == 1
        parts.engine.take_up("default", handle.run_id)
        assert handle.result(timeout=5) == 7


def test_a_report_that_is_none_is_dropped_with_an_error(
    messages: Messages, caplog: pytest.LogCaptureFixture
) -> None:
    app = messages._app
    app.tasks["orchestration.report"].apply(args=[1], kwargs={"attempt": "nonsense"}, throw=True)
    assert "report dropped: Invalid: 'nonsense' is no token of an activity" in caplog.text
    token = encode_token("elsewhere", mark().attempt)
    app.tasks["orchestration.report_failure"].apply(args=["id"], kwargs={"attempt": token}, throw=True)
    assert "'elsewhere', which no workflow here is kept in" in caplog.text


def test_a_failure_counts_that_a_worker_without_the_extension_ends_the_others_retry_with(
    redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    """The first try ran on a worker with the extension, the second elsewhere: the run waited until the timeout."""
    project = Project()
    project.celery_task("price", "shop.price")
    once = "{ ['activity.retry_policy'] = { maximum_attempts = 1 } }"
    asks = project.workflow(
        "asks",
        f"return function() local v, e = require('funcs').new():with_options({once}):call('app:price') "
        "return e:kind() end",
    )
    with deployed(project, tmp_path, empty_database(redis_server)) as deployment:
        handle, parts = deployment.client.start_workflow(asks), deployment.orchestration.parts
        parts.engine.take_up("default", handle.run_id)
        attempts = parts.runtime.store("default").attempts
        found = attempts.read(handle.run_id, 1)
        assert found is not None
        attempt = AttemptId(handle.run_id, 1, 1, found[1].token)
        claim = attempts.claim(attempt, owner="me", nonce="n", close_ms=60_000, beat_ms=0, queue="celery")
        assert claim.granted
        retried = attempts.report(attempt, outcome="waiting", item=b"", claimed_by="me", delay_ms=60_000)
        assert retried.status == "waiting"
        sold_out = Outcome("failed", failure={"message": "sold out", "kind": "SoldOut"})
        assert parts.reports.end("default", attempt, sold_out).status != "dropped"
        parts.engine.take_up("default", handle.run_id)
        assert handle.result(timeout=5) == "SoldOut"


def test_where_celery_sends_a_task_is_known(messages: Messages) -> None:
    app = messages._app
    assert messages.destination("shop.price", "") == ("celery", "celery")
    assert messages.destination("shop.price", "shop") == ("shop", "shop")
    app.amqp.queues.add("topical", exchange="news", exchange_type="topic", routing_key="news.of")
    app.conf.task_routes = {
        "shop.*": {"queue": "routed"}, "mail.*": {"exchange": "mails", "routing_key": "out"},
        "news.*": {"queue": "topical"},
    }  # fmt: skip
    app.amqp.flush_routes()
    del app.amqp.__dict__["router"]
    assert messages.destination("shop.price", "") == ("routed", "routed")
    assert messages.destination("shop.price", "shop") == ("shop", "shop"), "what the activity says wins"
    assert messages.destination("mail.send", "") == ("", "out"), "no queue is named"
    assert messages.destination("news.print", "") == ("topical", "news.of")


def test_what_monitors_show_of_a_report_has_no_token() -> None:
    for link in report_links("secret-token", {"queue": "q"}):
        assert link["kwargs"] == {"attempt": "secret-token"}
        assert "secret-token" not in link["options"]["kwargsrepr"]
