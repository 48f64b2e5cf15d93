"""Checks that need no server, over applications that are set up well and badly."""

from __future__ import annotations

import time
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import Celery

from orchestration import Orchestration
from orchestration.health import broker, celery_settings, clock, queues
from orchestration.health.doctor import _in_time
from orchestration.health.facts import BrokerAwayError, Facts, SeenWorker
from orchestration.health.findings import Check, Note, Severity
from orchestration.store.memory import MemoryConnection
from orchestration.tasks.self_report import location, self_report

ENTRIES = [
    {"name": "flow", "kind": "workflow.lua", "source": "return function() end", "method": "main"},
    {"name": "slow", "kind": "function.celery", "task": "shop.slow",
     "meta": {"options": {"activity.start_to_close_timeout": "2h"}}},
    {"name": "whole", "kind": "function.celery", "canvas": "shop.canvases:whole",
     "meta": {"options": {"activity.start_to_close_timeout": "5h"}}},  # of all its tasks: no message is held so long
]  # fmt: skip


def _slow() -> None: ...


class _Asked(Facts):
    """Facts whose workers have answered already."""

    def __init__(self, runtime: Any, *workers: SeenWorker) -> None:
        super().__init__(runtime, "default", timeout_s=1)
        self.answers = {worker.name: worker for worker in workers}

    @property
    def workers(self) -> dict[str, SeenWorker]:
        return self.answers


@pytest.fixture
def app(tmp_path: Path) -> Celery:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"version": "1.0", "namespace": "a", "entries": ENTRIES}), "utf-8")
    app = Celery("t", broker="redis://127.0.0.1:1/0", backend="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.update(worker_prefetch_multiplier=1)
    Orchestration(app, config=str(tmp_path)).connection = MemoryConnection()
    return app


def facts(app: Celery, *workers: SeenWorker) -> _Asked:
    app.finalize()
    return _Asked(app.orchestration.runtime, *workers)


def worst(notes: Any) -> tuple[str, str]:
    found = max(notes, key=lambda note: note.severity.rank, default=Note(Severity.OK, "", ""))
    return found.severity.value, found.subject


@pytest.mark.parametrize(
    ("check", "conf", "severity", "subject"),
    [
        (celery_settings.acknowledgement, {}, "ok", "task_acks_late"),
        (celery_settings.acknowledgement, {"task_acks_late": True}, "notice", "task_reject_on_worker_lost"),
        (celery_settings.acknowledgement, {"task_acks_late": True, "task_reject_on_worker_lost": True}, "ok", ""),
        (celery_settings.prefetch, {}, "ok", ""),
        (celery_settings.prefetch, {"worker_prefetch_multiplier": 4}, "notice", "worker_prefetch_multiplier"),
        (celery_settings.prefetch, {"worker_prefetch_multiplier": 0}, "warning", "worker_prefetch_multiplier"),
        (celery_settings.time_limits, {"task_time_limit": 3600}, "notice", "a:slow"),
        (celery_settings.time_limits, {"task_time_limit": 10800}, "ok", ""),
        (celery_settings.results, {"task_ignore_result": True}, "notice", "task_ignore_result"),
        (celery_settings.results, {}, "ok", ""),
        (celery_settings.results, {"result_backend": "rpc://"}, "notice", "result_expires"),
        (celery_settings.results, {"result_backend": "disabled://"}, "notice", "result_backend"),
        (celery_settings.content, {}, "ok", ""),
        (celery_settings.content, {"accept_content": ["msgpack"]}, "error", "accept_content"),
        (celery_settings.content, {"accept_content": ["json", "pickle"]}, "warning", "accept_content"),
        (celery_settings.missing_queues, {}, "ok", ""),
        (celery_settings.missing_queues, {"task_create_missing_queues": False, "task_default_queue": "x",
                                          "orchestration_default_queue": "flows"}, "error", "flows"),
        (celery_settings.eta_limit, {"worker_eta_task_limit": 5}, "warning", "worker_eta_task_limit"),
        (celery_settings.eta_limit, {}, "ok", ""),
        (celery_settings.eager, {"task_always_eager": True}, "error", "task_always_eager"),
        (celery_settings.eager, {}, "ok", ""),
        (broker.sockets, {"broker_transport_options": {"socket_keepalive": True}}, "ok", ""),
        (broker.sockets, {}, "notice", "broker_transport_options['socket_keepalive']"),
        (broker.sockets, {"broker_transport_options": {"retry_on_timeout": True}}, "warning",
         "broker_transport_options['retry_on_timeout']"),
        (broker.sockets, {"broker_transport_options": {"health_check_interval": 0}}, "warning",
         "broker_transport_options"),
        (broker.sockets, {"broker_url": "amqp://", "broker_heartbeat": 0}, "warning", "broker_heartbeat"),
        (broker.sockets, {"broker_url": "amqp://"}, "ok", ""),
        (broker.visibility, {"broker_url": "amqp://"}, "ok", "broker"),
        (broker.visibility, {}, "error", "broker_transport_options['visibility_timeout']"),  # 2 h above 1 h
        (broker.visibility, {"broker_transport_options": {"visibility_timeout": 7200}}, "ok",
         "broker_transport_options['visibility_timeout']"),
        (broker.delivery, {}, "ok", "broker"),
    ],
)  # fmt: skip
def test_settings(app: Celery, check: Any, conf: dict[str, Any], severity: str, subject: str) -> None:
    app.conf.update(conf)
    notes = list(check(facts(app)))
    assert worst(notes) == (severity, subject)
    assert all(note.cure for note in notes if note.severity is not Severity.OK)


def test_late_tasks_that_outlast_rabbitmqs_patience_are_told(app: Celery) -> None:
    app.conf.update(broker_url="amqp://")
    app.task(_slow, name="shop.slow", acks_late=True, shared=False)
    assert worst(broker.delivery(facts(app))) == ("warning", "consumer_timeout")


@pytest.mark.parametrize(
    ("options", "arguments", "severity"),
    [
        ({}, {}, "notice"), ({"time_limit": 60}, {}, "ok"), ({"time_limit": 3600}, {}, "warning"),
        ({"time_limit": 3600}, {"x-consumer-timeout": 7_200_000}, "ok"), ({"acks_late": False}, {}, "ok"),
    ],
)  # fmt: skip
def test_a_task_that_is_acknowledged_late_is_measured_by_its_own_length(
    app: Celery, options: dict[str, Any], arguments: dict[str, Any], severity: str
) -> None:
    """The engine's own tasks, which are acknowledged late too, and the length of other tasks say nothing of it."""
    app.conf.update(broker_url="amqp://")
    app.amqp.queues.add("celery", queue_arguments=arguments)
    app.task(_slow, name="shop.quick", **{"acks_late": True, "shared": False, **options})
    assert worst(broker.delivery(facts(app)))[0] == severity


def test_the_visibility_timeouts_of_workers_are_compared(app: Celery) -> None:
    app.conf.broker_transport_options = {"visibility_timeout": 7200}
    ours = SeenWorker("ours", stats={"orchestration": {"visibility_timeout_s": 7200.0}})
    other = SeenWorker("other", conf={"broker_transport_options": {"visibility_timeout": 60}})
    found = [note for note in broker.visibility(facts(app, ours, other)) if note.severity.is_finding]
    assert [note.subject for note in found] == ["other"]


def test_a_clock_that_is_off_is_told_when_it_is_sure(app: Celery) -> None:
    here = time.time()
    seen = facts(
        app, SeenWorker("right", skew_ms=(10.0, 5.0)), SeenWorker("off", skew_ms=(2000.0, 5.0)),
        SeenWorker("far", skew_ms=(-60_000.0, 5.0)), SeenWorker("unsure", skew_ms=(3000.0, 2900.0)),
    )  # fmt: skip
    found = {note.subject: note.severity.value for note in clock.skew(seen)}
    assert found == {"this host": "ok", "right": "ok", "off": "notice", "far": "warning", "unsure": "ok"}
    assert time.time() - here < 1


def ours(app: Celery, **changed: Any) -> SeenWorker:
    app.finalize()
    report = {**self_report(app.orchestration), **changed}
    return SeenWorker("ours", stats={"orchestration": report}, queues=("celery",))


def test_workers_that_agree_are_well(app: Celery) -> None:
    worker = ours(app)
    seen = facts(app, worker)
    assert list(queues.settings(seen)) == []
    assert list(queues.releases(seen)) == []
    assert worst(queues.start_queues(seen)) == ("ok", "celery")


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({"shards": 3}, "error"), ({"key_prefix": "x"}, "error"), ({"namespaces": ["x"]}, "warning"),
        ({"offload": "/values"}, "error"), ({"redis": "redis://elsewhere:6379/0"}, "notice"),
        ({"definitions": "0" * 64}, "notice"),
    ],
)  # fmt: skip
def test_settings_that_differ_are_told(app: Celery, changed: dict[str, Any], severity: str) -> None:
    assert worst(queues.settings(facts(app, ours(app, **changed))))[0] == severity
    # a worker of another application on the same broker may have what it likes
    elsewhere = ours(app, **changed)
    elsewhere.queues = ("other",)
    assert list(queues.settings(facts(app, elsewhere))) == []


def test_a_queue_consumer_that_no_worker_serves_is_told(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auto-start consumer on workers that were all told orchestration_consumers=none: messages piled up unseen."""
    entry = types.SimpleNamespace(id="shop:intake", queue="shop:orders")
    monkeypatch.setattr(queues, "served", lambda registry, settings: [entry])
    monkeypatch.setattr(queues, "_queues_of_runs", lambda _: {})
    found = {}
    for name, stats in (("none", []), ("one", ["shop:intake"]), ("older", None)):
        worker = ours(app)
        worker.queues = ("celery", "flows")
        worker.stats = {**worker.stats, **({"orchestration_consumers": stats} if stats is not None else {})}
        found[name] = [n.severity.value for n in queues.consumers(facts(app, worker)) if n.subject == "shop:intake"]
    assert found == {"none": ["error"], "one": ["ok"], "older": []}


def test_workers_of_one_name_are_told(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are called celery@host where nobody has named them: two applications on one machine are enough."""
    app.finalize()
    stats = {"orchestration": self_report(app.orchestration)}
    replies = {"stats": [{"celery@h": stats}, {"celery@h": {}}, {"other@h": stats}], "conf": [{"celery@h": {}}] * 2}
    control = types.SimpleNamespace(broadcast=lambda question, **_: replies.get(question, []))
    monkeypatch.setattr("orchestration.health.facts.remote_control", lambda _: control)
    seen = Facts(app.orchestration.runtime, "default", timeout_s=2)
    assert {name: worker.namesakes for name, worker in seen.workers.items()} == {"celery@h": 1, "other@h": 0}
    found = [note for note in queues.workers(seen) if note.severity is Severity.WARNING]
    assert [note.subject for note in found] == ["celery@h"]
    assert "2 workers answer by this name" in found[0].message


def test_releases_that_differ_are_told(app: Celery) -> None:
    older = SeenWorker("older", tasks=frozenset({"orchestration.resume"}), queues=("celery",))
    assert worst(queues.releases(facts(app, ours(app), older)))[0] == "notice"


def test_a_worker_is_told_by_what_it_knows(app: Celery) -> None:
    silent, foreign = SeenWorker("silent"), SeenWorker("foreign", tasks=frozenset({"shop.slow"}), queues=("celery",))
    assert (silent.has_extension, foreign.has_extension, ours(app).has_extension) == (None, False, True)
    assert worst(queues.start_queues(facts(app, ours(app), foreign, silent))) == ("error", "celery")


def test_a_check_that_fails_or_does_not_come_back_says_so(app: Celery) -> None:
    def fails(_: Facts) -> Any:
        raise BrokerAwayError("the broker is away")

    def breaks(_: Facts) -> Any:
        return 1 / 0

    def hangs(_: Facts) -> Any:
        time.sleep(5)

    seen = facts(app)
    seen.timeout_s = 0.05
    for look, part in ((fails, "the broker is away"), (breaks, "ZeroDivisionError"), (hangs, "no answer within 0.1 s")):
        (note,) = _in_time(Check("x", "what it looks at", look), seen)
        assert note.severity is Severity.NOTICE
        assert part in note.message
    assert _in_time(Check("x", "what it looks at", lambda _: ()), seen) == [Note(Severity.OK, "", "what it looks at")]


@pytest.mark.parametrize("secret", ["12?34", "12#34", "12/34"])
def test_a_broker_whose_password_cuts_its_address_is_not_shown(app: Celery, secret: str) -> None:
    app.conf.broker_url = f"redis://:{secret}@host:6379/0"
    (note,) = broker.connection(facts(app))
    assert (note.severity, note.subject) == (Severity.ERROR, "broker_url")
    assert "12" not in note.message
    assert "34" not in note.message


def test_what_a_worker_says_of_itself_has_no_secrets(app: Celery) -> None:
    app.finalize()
    report = self_report(app.orchestration)
    assert report["shards"] == 8
    assert location("rediss://user:secret@host:6380/2?password=x") == "rediss://host:6380/2"
    assert location("/values") == "/values"
