"""Small examples of several pages, run in the engine in memory."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from celery import Celery

from orchestration.cli.history import _lines
from orchestration.cli.values import as_json
from orchestration.errors import WorkflowCancelledError
from orchestration.registry import load_registry
from orchestration.telemetry.metrics import METRICS
from orchestration.telemetry.store_metrics import STORE_METRICS
from orchestration.testing import WorkflowEnvironment
from tests.support.pages import Page
from tests.support.projects import Project
from tests.support.workers import ROOT

README, CANVAS = Page("README.md"), Page("docs/how-to/canvas.md")
GIVES_BACK, SENDS, EXTENDS, FOLLOWS = map(
    README.block, ("charge_card", "send_task", "orchestration = Orchestration(app", "client = Client(app)")
)
CANCELS = Page("docs/reference/workflows.md").block("process.events()")
KEYWORDS_ENTRY, KEYWORDS = CANVAS.block("kwargs: true"), CANVAS.block("capture = true")
REPLAYS = Page("docs/reference/cli.md").block("Machine")
KINDS = Page("docs/reference/kinds.md").block("shop.charge")
ALERTS = Page("docs/how-to/observe.md").block("RunParked")
OFFLOADS = Page("docs/how-to/large-payloads.md").block("orchestration_offload = ")
DATABASES = Page("docs/reference/sql.md").block("db.sql.postgres")


@pytest.fixture
def env(tmp_path: Path) -> Iterator[WorkflowEnvironment]:
    project = Project(namespace="app.api")
    for name in ("charge_card", "check_status", "refund"):
        project.celery_task(name, f"shop.{name}")
    project.workflow("readme", GIVES_BACK)
    modules = "".join(f'local {name} = require("{name}")\n' for name in ("funcs", "time", "workflow"))
    head = f"{modules}return function(order)\n"
    project.workflow("cancelled", f'{head}{CANCELS}local ok, err = time.sleep("24h")\nreturn nil, err\nend')
    project.workflow("keywords", f"{head}{KEYWORDS}end")
    (entry,) = yaml.safe_load(KEYWORDS_ENTRY)
    project.entry(namespace="shop", **entry)
    with WorkflowEnvironment(project.write(tmp_path)) as made:
        yield made


def test_the_readme_gives_the_money_back(env: WorkflowEnvironment) -> None:
    env.activity("app.api:charge_card", lambda order: {"id": "p-1"})
    env.activity("app.api:check_status", lambda payment_id: "failed")
    refund = env.activity("app.api:refund", Mock(return_value=None))
    began = env.now
    assert env.start("app.api:readme", {"id": "A-1"}).result() is None
    refund.assert_called_once_with("p-1")
    assert (env.now - began).total_seconds() >= 24 * 3600


def test_a_cancel_request_takes_back_the_sleep(env: WorkflowEnvironment) -> None:
    handle = env.start("app.api:cancelled", {})
    env.skip("1h")
    handle.cancel("no more")
    with pytest.raises(WorkflowCancelledError):
        handle.result()


def test_a_table_becomes_keyword_arguments(env: WorkflowEnvironment) -> None:
    charge = env.activity("shop:charge", Mock(return_value=None))
    env.start("app.api:keywords", {"id": 7}).result()
    charge.assert_called_once_with(7, currency="EUR", capture=True)


def test_a_recorded_history_is_replayed(env: WorkflowEnvironment, tmp_path: Path) -> None:
    env.activity("shop:charge", Mock(return_value=None))
    handle = env.start("app.api:keywords", {"id": 7})
    handle.result()
    (tmp_path / "order-7.jsonl").write_text("".join(as_json(line) + "\n" for line in _lines(handle)), "utf-8")
    with (tmp_path / "order-7.jsonl").open(encoding="utf-8") as file, contextlib.redirect_stdout(io.StringIO()) as said:
        exec(REPLAYS, {"open": lambda name: file if name == "order-7.jsonl" else None})
    assert said.getvalue()


@pytest.fixture
def examples() -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(ROOT / "config") as env:
        yield env


def test_a_workflow_is_started_as_a_celery_task(examples: WorkflowEnvironment) -> None:
    examples.activity("app.api:charge_card", lambda order: {"id": "p-1"})
    examples.activity("app.api:check_status", lambda payment_id: "paid")
    fulfil = examples.activity("app.orders:fulfill", Mock(return_value=None))
    exec(SENDS, {"app": examples.app, "order": {"id": "7"}})
    fulfil.assert_called_once_with("7")


def test_an_application_is_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    app = Celery("existing", broker="redis://", set_as_current=False)
    made: dict[str, object] = {"app": app}
    exec(EXTENDS, made)
    app.finalize()
    assert "app.workflows:order_processor" in app.tasks


def test_a_client_follows_an_approval(examples: WorkflowEnvironment) -> None:
    examples.activity("app.approvals:submit", Mock(return_value=None))
    fulfil = examples.activity("app.orders:fulfill", Mock(return_value=None))
    exec(FOLLOWS, {"app": examples.app})
    assert fulfil.call_args.args == ("7",)
    assert examples.client.get_workflow("approval-7").result()["status"] == "fulfilled"


def test_definitions_of_the_reference_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB_PASSWORD", "secret")
    monkeypatch.setenv("OTHER_URL", "postgresql://db.internal/other")
    (tmp_path / "kinds.yaml").write_text(KINDS, "utf-8")
    (tmp_path / "data.yaml").write_text(DATABASES, "utf-8")
    registry = load_registry(tmp_path)
    assert {entry.id for entry in registry.entries} == {"shop:charge", "shop:db", "shop:other"}


def test_alerts_name_metrics_that_there_are() -> None:
    known = {metric.name for metric in (*METRICS, *STORE_METRICS)}
    for rule in yaml.safe_load(ALERTS):
        for name in re.findall(r"orchestration_\w+", rule["expr"]):
            assert re.sub(r"_bucket$", "", name) in known, name


def test_what_is_large_goes_to_the_folder(tmp_path: Path) -> None:
    set_to: dict[str, str] = {}
    exec(OFFLOADS.replace("/srv/orchestration", str(tmp_path)), {}, set_to)
    project = Project()
    echo = project.workflow("echo", "return function(value) return value end")
    config, stage = project.write(tmp_path / "config"), tmp_path / "values"
    with WorkflowEnvironment(config, **{k.removeprefix("orchestration_"): v for k, v in set_to.items()}) as env:
        assert env.start(echo, "x" * 300_000).result() == "x" * 300_000
    assert any(path.stat().st_size > 200_000 for path in stage.rglob("*") if path.is_file())
