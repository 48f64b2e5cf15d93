"""Commands and Python of pages that need a worker: one deployment, to which the pages' own definitions are added."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.embedded import EmbeddedRedis
from orchestration.testing import replay_histories
from tests.support.fixtures import empty_database
from tests.support.pages import Page
from tests.support.projects import Deployment, Project, deployed
from tests.support.waiting import wait_until
from tests.support.warm_cli import ProjectCli, project_cli
from tests.support.workers import ROOT

README, OPERATE, CANVAS = Page("README.md"), Page("docs/how-to/operate.md"), Page("docs/how-to/canvas.md")
(RUN_ORDER,), (RUN_SAGA,) = README.commands("order_processor \\"), README.commands("order_saga \\")
APPROVES = README.commands("orchestration signal")
LEAVE = Page("docs/how-to/approval.md")
LEAVE_FILES, LEAVE_COMMANDS = LEAVE.files(), LEAVE.commands("orchestration signal")
DEPLOY = Page("docs/how-to/deploy-new-code.md")
ENTRY, (CHECK,) = DEPLOY.block("auto_upgrade"), DEPLOY.commands("orchestration check")
UPGRADES = DEPLOY.commands("orchestration upgrade")
(KUBERNETES_CHECK,) = Page("docs/how-to/kubernetes.md").commands("orchestration check")
REPAIR = Page("docs/how-to/repair-runs.md")
RESETS, FORKS = REPAIR.commands("orchestration reset"), REPAIR.commands("orchestration fork")
SCHEDULES = Page("docs/how-to/schedules.md").commands("orchestration schedule")
SERVICES = Page("docs/how-to/services.md")
SERVICE_COMMANDS, SERVICE_CLIENT = SERVICES.commands("services restart"), SERVICES.block("list_services")
SIZES = Page("docs/how-to/size-redis.md").commands("orchestration count")
OBSERVE = Page("docs/how-to/observe.md")
METRICS, RECEIVES = OBSERVE.commands("orchestration metrics"), OBSERVE.block("events.Receiver")
DOCTOR, CHOICES, AUDITS = map(OPERATE.commands, ("orchestration doctor   ", "--only", "audit --repair"))
FINDINGS = OPERATE.block("client.doctor()")
(RECORD,), RECORDED = (
    Page("docs/how-to/test-workflows.md").commands("history order-7"),
    Page("docs/how-to/test-workflows.md").block("history order-7").split(" > ")[1].strip(),
)
CLI_PAGE = Page("docs/reference/cli.md")
WHERE, COMPLETIONS = CLI_PAGE.block('status = "failed"').strip(), CLI_PAGE.block("completion bash")
IMPORTS = Page("docs/reference/functions.md").block("default_host")
CANVASES, WAITING, FOREIGN = map(CANVAS.block, ("order, fulfil", ">>> result", 'signature("shop:order"'))
FACTORY_ENTRY, FACTORY, CALLS_FACTORY = map(CANVAS.block, ("canvas: shop.canvases", "def fulfil", '"shop:fulfil", {'))

project = Project(
    "app.workflows", tasks=["examples.tasks", "tests.acceptance.page_tasks"], concurrency=8,
    env={"ORCHESTRATION_STATE_AFTER_MS": "100"},
)  # fmt: skip
project.celery_task("step", "page.charge")
project.file("order.lua", """
local funcs = require("funcs")
local function main(fails)
    if fails then error("no lorry") end
    for number = 1, 8 do funcs.call("app.workflows:step", number) end
    return process.listen("decided"):receive()
end
return main
""")  # fmt: skip
for _entry in yaml.safe_load(ENTRY):
    project.entry(modules=["funcs"], method="main", **_entry)
project.workflow("report", "return function(input) return input.region end")
project.host("jobs", namespace="shop")
for _entry in (*yaml.safe_load(FACTORY_ENTRY), *yaml.safe_load(IMPORTS)):
    project.entry(namespace="shop", **_entry)
project.file("import_orders.lua", "return function(count) return count end")
project.entry("order", "workflow.lua", namespace="shop", source="file://waiting_order.lua", method="main")
project.file("waiting_order.lua", """
return function(order)
    if order == 42 then process.listen("go"):receive() end
    return order
end
""")
project.lua("fulfils", "workflow.lua", f"""
    local funcs = require("funcs")
    return function()
        {CALLS_FACTORY}
        return tracking, err
    end
""", namespace="shop", method="main", modules=["funcs"])  # fmt: skip


@pytest.fixture(scope="module")
def shop(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("shop")
    shutil.copytree(ROOT / "config", folder / "config")
    for name in ("config/leave.yaml", "config/request.lua"):
        (folder / name).write_text(LEAVE_FILES[name], "utf-8")
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "tasks.py").write_text("from tests.acceptance.page_tasks import pack, ship\n")
    (folder / "shop" / "canvases.py").write_text(FACTORY)
    with deployed(project, folder, empty_database(redis_server)) as deployment:
        env = {"PYTHONPATH": f"{ROOT}:{folder}", "ORCHESTRATION_EXAMPLES_LEDGER": str(folder / "ledger.sqlite")}
        deployment.worker(env=env, queues=["celery", "orders"], options=["-E"])
        yield deployment


@pytest.fixture(scope="module")
def cli(shop: Deployment) -> Iterator[ProjectCli]:
    with project_cli(shop) as run:
        yield run


@pytest.fixture(scope="module")
def order(shop: Deployment) -> None:
    """The order that pages speak of: eight activities are done, a decision is waited for."""
    handle = shop.client.start_workflow("app.workflows:order", id="order-7")
    wait_until(lambda: handle.describe().places, deadline_s=30)


def said(cli: ProjectCli, words: Sequence[str], *, code: int = 0) -> str:
    assert words[0] == "orchestration"
    return cli(*words[1:], code=code).stdout


def test_the_examples_of_the_readme_run(cli: ProjectCli) -> None:
    assert json.loads(said(cli, [word.replace("5s", "5ms") for word in RUN_ORDER]))["status"] == "refunded"
    said(cli, RUN_SAGA, code=1)
    for words in APPROVES:
        said(cli, words)
    assert json.loads(cli("result", "approval-7", "--timeout", "20s").stdout)["status"] == "fulfilled"


def test_a_leave_is_approved(shop: Deployment, cli: ProjectCli) -> None:
    answers = [said(cli, words) for words in LEAVE_COMMANDS]
    assert json.loads(answers[-1]) == {"status": "approved", "by": "bob"}
    assert (shop.folder / "booked.txt").read_text() == "ann\n"


@pytest.mark.usefixtures("order")
def test_an_order_is_looked_at_moved_forked_and_reset(shop: Deployment, cli: ProjectCli, tmp_path: Path) -> None:
    for words in (CHECK, KUBERNETES_CHECK):
        assert "0 that it fits" in said(cli, words)
    for words in UPGRADES:
        said(cli, words)
    assert "order-7" in said(cli, AUDITS[0])
    path = tmp_path / RECORDED
    path.parent.mkdir(parents=True)
    path.write_text(said(cli, RECORD), "utf-8")
    replay_histories(path.parent, config=shop.config)(path)
    for words in FORKS:
        said(cli, words)
    for words in RESETS:
        said(cli, words)


@pytest.mark.usefixtures("order")
def test_the_deployment_is_examined(shop: Deployment, cli: ProjectCli) -> None:
    for words in dict.fromkeys(map(tuple, (*DOCTOR, *CHOICES, *AUDITS, *SIZES, *METRICS))):
        said(cli, words)
    cli("list", "--where", WHERE)
    pages: list[str] = []
    exec(FINDINGS, {"client": shop.client, "page_somebody": pages.append})


def test_shells_take_the_completion(cli: ProjectCli) -> None:
    for line in COMPLETIONS.splitlines():
        (shell,) = re.findall("completion (bash|zsh|fish)", line)
        assert "orchestration" in cli("completion", shell).stdout
        if found := shutil.which(shell):
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            check = "complete -p orchestration" if shell == "bash" else "true"
            command = [found, "-c", f"{line}\n{check}"]
            done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stderr) == (0, "")


def test_a_schedule_is_made_and_shown(cli: ProjectCli) -> None:
    made, shown = (said(cli, words) for words in SCHEDULES)
    assert made.startswith("made nightly: next 20")
    assert "buffer_one, catches up for 6:00:00" in shown
    cli("schedule", "delete", "nightly")


def test_a_service_is_looked_at_and_restarted(
    shop: Deployment, cli: ProjectCli, capsys: pytest.CaptureFixture[str]
) -> None:
    cli("services", "start", "app.services:price_feed")
    wait_until(lambda: any(service.state == "running" for service in shop.client.list_services()), deadline_s=30)
    for words in SERVICE_COMMANDS:
        said(cli, words)
    exec(SERVICE_CLIENT, {"client": shop.client})
    assert "app.services:price_feed" in capsys.readouterr().out
    cli("services", "stop", "app.services:price_feed")  # it breaks now and then, which the doctor would tell


def test_a_process_is_called_like_a_function(shop: Deployment) -> None:
    assert shop.client.call("shop:import_orders", 3, timeout=30) == 3


class Seen(BaseException):
    """An event has come."""


def test_a_receiver_hears_of_a_run_that_fails(shop: Deployment) -> None:
    heard: list[dict[str, Any]] = []
    has_ended = threading.Event()

    def listen() -> None:
        def show(event: dict[str, Any]) -> None:
            heard.append(event)
            raise Seen

        try:
            exec(RECEIVES, {"app": shop.app, "print": show})
        except Seen:
            has_ended.set()

    threading.Thread(target=listen, daemon=True).start()

    def fail() -> bool:
        shop.client.start_workflow("app.workflows:order", True)
        return has_ended.wait(1)

    wait_until(fail, deadline_s=30)
    assert heard[0]["type"] == "workflow-failed"


@pytest.fixture(scope="module")
def names(shop: Deployment) -> dict[str, Any]:
    """Tasks of the application, as the page about canvases has them."""
    tasks = {name: shop.app.signature(f"page.{name}") for name in ("charge", "send_invoice", "tell_support")}
    return {"app": shop.app, **{name: _Task(signature) for name, signature in tasks.items()}}


class _Task:
    """A task that this process knows by name."""

    def __init__(self, signature: Any) -> None:
        self._signature = signature

    def s(self, *args: Any) -> Any:
        return self._signature.clone(args)


def let_orders_go(shop: Deployment, count: int) -> None:
    """Tell the orders with the number 42 to go on, until so many invoices are sent."""
    invoices = shop.folder / "invoices.txt"

    def are_sent() -> bool:
        for run in shop.client.list_workflows(status="open", type="shop:order"):
            shop.client.get_workflow(run.workflow_id).signal("go")
        return invoices.exists() and len(invoices.read_text().splitlines()) >= count

    wait_until(are_sent, deadline_s=30, every_s=0.2)


def test_canvases_of_workflows_functions_and_tasks(shop: Deployment, names: dict[str, Any]) -> None:
    exec(CANVASES, dict(names))
    let_orders_go(shop, 2)
    exec(FOREIGN, dict(names))
    result = shop.client.execute_workflow("shop:fulfils", timeout=30)
    assert result == ["packed a", "packed b"]


def test_an_open_workflow_says_where_it_stands(shop: Deployment) -> None:
    first, second, *shown = WAITING.splitlines()
    made: dict[str, Any] = {"app": shop.app}
    exec(first.removeprefix(">>> "), made)
    wait_until(lambda: eval(second.removeprefix(">>> "), made)[0] == "WAITING", deadline_s=30)
    state, info = ast.literal_eval("\n".join(shown))
    state_now, info_now = eval(second.removeprefix(">>> "), made)
    assert state_now == state
    assert set(info_now) == set(info)
    assert set(info_now["waits"][0]) == set(info["waits"][0])
    shop.client.get_workflow(info_now["workflow_id"]).signal("go")
