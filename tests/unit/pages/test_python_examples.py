"""Examples in Python: applications as they are configured, clients, receivers of signals, logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from celery import Celery, signals

from orchestration import Orchestration
from orchestration.errors import UpdateRejectedError, WorkflowFailedError
from orchestration.testing import WorkflowEnvironment
from tests.support.pages import Page
from tests.support.projects import Project
from tests.support.workers import ROOT

BROKERS, SECURITY = Page("docs/how-to/brokers.md"), Page("docs/reference/security.md")
TLS, SENTINELS, RABBITMQ = map(BROKERS.block, ("rediss://", "sentinel://", "amqp://"))
CHAIN, CHORD = map(Page("docs/how-to/chains-and-chords.md").block, ("chain(fetch", "chord(group"))
UPDATES = Page("docs/how-to/queries-and-updates.md")
ACCOUNT, ASKED, WITH_START, AT_WORK = map(
    UPDATES.block, ('workflow.query("balance"', "handle.query(", "signal_with_start", "at_work")
)
SCHEDULES = Page("docs/how-to/schedules.md")
CREATED, DUE, CHANGED = map(SCHEDULES.block, ("client.create_schedule", "schedule.time", "handle.backfill"))
ALARMS, IN_JSON = map(Page("docs/how-to/observe.md").block, ("workflow_parked.connect", "JsonFormatter"))
POLICIES, PUBLISHES = map(SECURITY.block, ("name: editors", "Actor("))


def application(code: str, **names: Any) -> Celery:
    made = dict(names)
    exec(code, made)
    app = made["app"]
    assert isinstance(app, Celery)
    Orchestration(app, config=str(ROOT / "config"))
    return app


def test_an_application_over_tls() -> None:
    app = application(TLS)
    url = app.orchestration.settings.redis_url
    assert url.startswith("rediss://:password@redis.internal:6380/0")
    assert app.connection_for_write().transport_cls == "rediss"


def test_an_application_behind_sentinels() -> None:
    app = application(SENTINELS, Celery=Celery)
    connection = app.connection_for_write()
    assert connection.transport_cls == "sentinel"
    assert connection.transport_options["master_name"] == "orders"
    assert app.orchestration.settings.redis_url.count("26379") == 3
    assert "master_name=orders" in app.orchestration.settings.redis_url


def test_an_application_with_rabbitmq() -> None:
    app = application(RABBITMQ, Celery=Celery)
    assert app.orchestration.settings.redis_url == "redis://redis:6379/0"
    queue = app.amqp.queues[app.conf.task_default_queue]
    assert queue.queue_arguments == {"x-queue-type": "quorum"}


def test_chains_and_chords_of_celery_that_are_to_be_moved() -> None:
    app = Celery("feed", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    seen: list[Any] = []

    @app.task(name="fetch")  # type: ignore[untyped-decorator]
    def fetch(url: str) -> str:
        return f"page of {url}"

    @app.task(name="parse")  # type: ignore[untyped-decorator]
    def parse(page: str) -> str:
        return f"items of the {page}"

    @app.task(name="store")  # type: ignore[untyped-decorator]
    def store(items: str, tag: str) -> None:
        seen.append((items, tag))

    @app.task(name="summarize")  # type: ignore[untyped-decorator]
    def summarize(pages: list[str]) -> None:
        seen.append(pages)

    tasks = {"fetch": fetch, "parse": parse, "store": store, "summarize": summarize}
    exec(CHAIN, {**tasks, "url": "a"})
    exec(CHORD, {**tasks, "urls": ["a", "b"]})
    assert seen == [("items of the page of a", "news"), ["page of a", "page of b"]]


@pytest.fixture
def env(tmp_path: Path) -> Iterator[WorkflowEnvironment]:
    project = Project()
    for name in ("pay", "pay_out"):
        project.celery_task(name, f"bank.{name}")
    project.workflow("account", ACCOUNT)
    project.workflow("payments", f"""
        local workflow, funcs = require("workflow"), require("funcs")
        return function()
            local closed = false
            workflow.update("close", function() closed = true end)
            {AT_WORK}
            return "closed"
        end
    """)
    project.workflow("fails", "return function() return nil, errors.new{ message = 'no lorry', kind = 'Lost' } end")
    project.workflow("parks", "return function() while true do end end")
    project.lua("report", "workflow.lua", f"return function(input)\n{DUE}\nreturn {{ due, id, input.region }}\nend",
                namespace="app.workflows", method="main", modules=["ctx"])  # fmt: skip
    for entry in yaml.safe_load(POLICIES)["entries"]:
        project.entry(**entry)
    asks = """
        local security = require("security")
        return function(number)
            return {
                security.can("doc.publish", "document:" .. number),
                security.can("doc.publish", "secret:1"),
                security.can("doc.publish", "app:x", { owner = "ann" }),
                security.can("doc.publish", "picture:1", { owner = "bob" }),
            }
        end
    """
    project.function("asks", asks, modules=["security"])
    project.workflow("publish", "return function(number) return require('funcs').call('app:asks', number) end")
    start = datetime(2026, 4, 10, 12, tzinfo=UTC)
    with WorkflowEnvironment(project.write(tmp_path), start=start, instructions=100_000) as made:
        yield made


def test_an_account_is_asked_and_changed_by_a_client(env: WorkflowEnvironment) -> None:
    paid = env.activity("app:pay_out", Mock(return_value=None))
    with pytest.raises(UpdateRejectedError, match="Insufficient: only 70 left"):
        exec(ASKED, {"client": env.client})
    paid.assert_called_once_with(30)
    made: dict[str, Any] = {"client": env.client}
    exec(WITH_START, made)
    assert made["balance"] == 40


def test_handlers_at_work_are_waited_for(env: WorkflowEnvironment) -> None:
    env.activity("app:pay", lambda amount: amount)
    handle = env.start("app:payments")
    assert handle.update("pay", 3) == 3
    handle.update("close")
    assert handle.result() == "closed"


def test_a_schedule_from_its_making_to_its_end(env: WorkflowEnvironment) -> None:
    exec(CREATED, {"app": env.app})
    env.skip("24h")
    (run,) = env.client.list_workflows(type="app.workflows:report")
    due, name, region = env.client.get_workflow(run.workflow_id).result()
    assert (due, name, region) == ("2026-04-11T00:00:00Z", "nightly", "eu")
    exec(CHANGED, {"client": env.client, **_imported(CREATED)})
    assert list(env.client.list_schedules()) == []


def _imported(code: str) -> dict[str, Any]:
    """What the import lines of an earlier block of the page have made."""
    made: dict[str, Any] = {}
    exec("\n".join(line for line in code.splitlines() if line.startswith(("from ", "import "))), made)
    return made


def test_receivers_are_called_about_a_failure_and_a_parked_run(env: WorkflowEnvironment) -> None:
    names = {"pager": Mock(), "mailer": Mock()}
    exec(ALARMS, names)
    with pytest.raises(WorkflowFailedError):
        env.start("app:fails", id="order-7").result()
    names["mailer"].send.assert_called_once_with("app:fails order-7 failed: Lost: no lorry")
    env.start("app:parks", id="order-8")
    env.run()
    (said,) = names["pager"].trigger.call_args.args
    assert said.startswith("workflow order-8 is parked (")


def test_lines_of_the_log_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    made: dict[str, Any] = {}
    exec(IN_JSON, made)
    logger = logging.Logger("orchestration.page")  # noqa: LOG001 - nobody else writes to it
    signals.after_setup_logger.send(sender=None, logger=logger, loglevel=20, logfile=None, format="", colorize=False)
    logger.info("run parked", extra={"workflow_id": "order-7"})
    line = json.loads(capsys.readouterr().err)
    assert "order-7" in line.values()


def test_policies_decide_in_the_name_of_an_actor(env: WorkflowEnvironment) -> None:
    exec(PUBLISHES, {"client": env.client})
    (run,) = env.client.list_workflows(type="app:publish")
    assert env.client.get_workflow(run.workflow_id).result() == [True, False, True, False]
