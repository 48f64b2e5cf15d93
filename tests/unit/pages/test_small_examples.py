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

from orchestration.cli.group import orchestration
from orchestration.cli.history import _lines
from orchestration.cli.values import as_json
from orchestration.errors import WorkflowCancelledError
from orchestration.registry import load_registry
from orchestration.telemetry.metrics import METRICS
from orchestration.telemetry.store_metrics import STORE_METRICS
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project
from tests.unit.pages.blocks import ROOT, blocks, check_command
from tests.unit.pages.test_blocks import OTHERS

ALL = list(blocks())


def block(page: str, words: str) -> str:
    """The block of a page with these words in it."""
    (found,) = [one.text for one in ALL if one.page == page and words in one.text]
    return found


@pytest.fixture
def env(tmp_path: Path) -> Iterator[WorkflowEnvironment]:
    project = Project(namespace="app.api")
    for name in ("charge_card", "check_status", "refund"):
        project.celery_task(name, f"shop.{name}")
    project.workflow("readme", block("README.md", "charge_card"))
    modules = "".join(f'local {name} = require("{name}")\n' for name in ("funcs", "time", "workflow"))
    head = f"{modules}return function(order)\n"
    cancel = block("docs/reference/workflows.md", "process.events()")
    project.workflow("cancelled", f'{head}{cancel}local ok, err = time.sleep("24h")\nreturn nil, err\nend')
    project.entry("charge", "function.celery", task="shop.charge", kwargs=True)
    keywords = block("docs/how-to/canvas.md", "capture = true").replace("shop:charge", "app.api:charge")
    project.workflow("keywords", f"{head}{keywords}end")
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
    charge = env.activity("app.api:charge", Mock(return_value=None))
    env.start("app.api:keywords", {"id": 7}).result()
    charge.assert_called_once_with(7, currency="EUR", capture=True)


def test_a_recorded_history_is_replayed(
    env: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.activity("app.api:charge", Mock(return_value=None))
    handle = env.start("app.api:keywords", {"id": 7})
    handle.result()
    (tmp_path / "order-7.jsonl").write_text("".join(as_json(line) + "\n" for line in _lines(handle)), "utf-8")
    monkeypatch.chdir(tmp_path)
    code = compile(block("docs/reference/cli.md", "Machine").replace('open("', 'open_it("'), "page", "exec")
    with (tmp_path / "order-7.jsonl").open(encoding="utf-8") as file, contextlib.redirect_stdout(io.StringIO()) as said:
        exec(code, {"open_it": lambda name: file})
    assert said.getvalue()


def test_a_client_follows_an_approval() -> None:
    with WorkflowEnvironment(ROOT / "config") as env:
        env.activity("app.approvals:submit", Mock(return_value=None))
        fulfil = env.activity("app.orders:fulfill", Mock(return_value=None))
        made: dict[str, object] = {"app": env.app}
        exec(compile(block("README.md", "client = Client(app)"), "page", "exec"), made)
        assert fulfil.call_args.args == ("7",)
        assert env.client.get_workflow("approval-7").result()["status"] == "fulfilled"


def test_definitions_of_the_reference_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(block("docs/reference/kinds.md", "shop.charge"), "utf-8")
    assert [entry.id for entry in load_registry(tmp_path).entries] == ["shop:charge"]


def test_alerts_name_metrics_that_there_are() -> None:
    known = {metric.name for metric in (*METRICS, *STORE_METRICS)}
    for rule in yaml.safe_load(block("docs/how-to/observe.md", "RunParked")):
        for name in re.findall(r"orchestration_\w+", rule["expr"]):
            assert re.sub(r"_bucket$", "", name) in known, name


def test_the_manifests_have_commands_that_there_are() -> None:
    page = [one.text for one in ALL if one.page == "docs/how-to/kubernetes.md" and one.language == "yaml"]
    assert [yaml.safe_load(one).get("kind") for one in page] == ["Deployment", "ScaledObject", None, "CronJob"]
    deployment = yaml.safe_load(page[0])["spec"]["template"]
    assert deployment["spec"]["terminationGracePeriodSeconds"] > 30
    (container,) = deployment["spec"]["containers"]
    job = yaml.safe_load(page[3])["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    ping = container["livenessProbe"]["exec"]["command"][2].replace("$(hostname)", "host")
    for words in (container["command"], yaml.safe_load(page[2])["command"], ping.split()):
        check_command(words, orchestration, OTHERS)
    for command in job["command"][2].split(" && "):
        check_command(command.split(), orchestration, OTHERS)
    assert yaml.safe_load(page[1])["spec"]["minReplicaCount"] >= 1, "somebody has to fire timers"
