"""The Flask extension, and the example that stands in docs/how-to/flask.md."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.embedded import EmbeddedRedis
from orchestration.errors import ConfigError
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.support.odd import ODD_PATHS, ODD_TEXTS, ODD_VALUES
from tests.support.pages import Page
from tests.support.projects import Project
from tests.support.workers import ROOT, start_worker
from tests.web.site import free_port

flask = pytest.importorskip("flask")
FOLDER = ROOT / "examples" / "flask_approval"
PAGE = Page("docs/how-to/flask.md")
(WORKER, SERVER, LIST), REQUESTS = PAGE.commands("workflow list"), PAGE.commands("curl -s localhost")

project = Project(namespace="extra")
project.entry("context", "function.python", callable="tests.web.flask_code:where_am_i")
project.entry("async", "process.python", callable="tests.web.flask_code:async_process")
project.entry("ordinary", "process.python", callable="tests.web.flask_code:OrdinaryProcess")
host = project.host()
calls = project.workflow(
    "calls",
    """
    local funcs = require("funcs")
    local function main()
        local beside = funcs.new():with_options({ ["activity.local"] = true })
        return { funcs.call("extra:context"), beside:call("extra:context") }
    end
    return main
    """,
)


class Site:
    """The example's application here, and a worker that serves it and more definitions."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.browser = app.test_client()

    def command(self, *args: str) -> Any:
        return self.app.test_cli_runner().invoke(args=["workflow", *args])


@pytest.fixture(scope="module")
def site(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("flask")
    redis_url = empty_database(redis_server)
    trees = [str(FOLDER / "workflows"), str(project.write(folder / "config"))]
    env = {"ORCHESTRATION_CONFIG": os.pathsep.join(trees)}
    worker = start_worker(redis_url=redis_url, log_dir=folder, app=WORKER[2], cwd=FOLDER, env=env, wait=False)
    patch = pytest.MonkeyPatch()
    patch.setenv("REDIS_URL", redis_url)
    patch.setenv("ORCHESTRATION_CONFIG", env["ORCHESTRATION_CONFIG"])
    try:
        spec = importlib.util.spec_from_file_location("shop", FOLDER / "shop.py")
        assert spec
        assert spec.loader
        shop = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(shop)
        app = shop.create_app()
        app.extensions["celery"].finalize()
        worker.wait_until_ready()
        yield Site(app)
        app.extensions["orchestration"].runtime.close()
    finally:
        patch.undo()
        worker.kill()


def test_an_order_is_enqueued_shown_and_approved(site: Site) -> None:
    made = site.browser.post("/orders", json={"what": "chair", "amount": 130})
    assert made.status_code == 202
    order = made.get_json()["id"]
    wait_until(lambda: site.browser.get(f"/orders/{order}").get_json()["waits_for"], deadline_s=30)
    assert site.browser.get(f"/orders/{order}").get_json()["status"] == "running"
    assert site.browser.post(f"/orders/{order}/decision", json={"approved": "yes"}).status_code == 400
    assert site.browser.post(f"/orders/{order}/decision", data="approved=1").status_code == 415  # a form of elsewhere
    assert site.browser.post(f"/orders/{order}/decision", json={"approved": True}).status_code == 202
    with site.app.app_context():
        result = site.app.extensions["orchestration"]
        from orchestration import Client

        assert Client(result).get_workflow(order).result(timeout=30) == {
            "approved": True, "invoice": "ACME invoice for 130",
        }  # fmt: skip
    assert site.browser.get("/orders?where=amount = 130").get_json() == [{"id": order, "status": "completed"}]
    assert site.browser.post(f"/orders/{order}/decision", json={"approved": True}).status_code == 409
    assert site.browser.get("/orders/nobody").status_code == 404


def test_no_input_is_too_much_for_the_example(site: Site) -> None:
    """Each of its routes; it has no pages."""
    rules = {(rule.rule, *sorted(rule.methods - {"HEAD", "OPTIONS"})) for rule in site.app.url_map.iter_rules()}
    assert rules == {
        ("/orders", "POST"), ("/orders", "GET"), ("/orders/<order_id>", "GET"), ("/orders/<order_id>/decision", "POST"),
        ("/static/<path:filename>", "GET"),
    }  # fmt: skip
    for odd, text in ODD_TEXTS.items():
        assert site.browser.get("/orders", query_string={"where": text}).status_code in (200, 400), odd
    for name in ODD_PATHS:
        assert site.browser.get(f"/orders/{name}").status_code in (400, 404), name
        decided = site.browser.post(f"/orders/{name}/decision", json={"approved": True})
        assert decided.status_code in (400, 404), name
    for odd, value in ODD_VALUES.items():
        for body in (value, {"amount": value}, {"what": value, "amount": 1}, {"approved": value}):
            sent = {"data": json.dumps(body), "content_type": "application/json"}
            made = site.browser.post("/orders", **sent)
            assert made.status_code in (202, 400), odd
            assert made.is_json or made.status_code == 400, odd
            assert site.browser.post("/orders/nobody/decision", **sent).status_code in (400, 404), odd
    for raw in (b"{", b"\xff", b'{"amount": ' + b"9" * 5000 + b"}"):
        answer = site.browser.post("/orders", data=raw, content_type="application/json")
        assert answer.status_code == 400, raw[:20]


def test_code_of_definitions_runs_in_the_context_of_the_application(site: Site) -> None:
    from orchestration import Client

    client = Client(site.app.extensions["orchestration"])
    assert client.execute_workflow(calls, timeout=30) == ["shop ACME", "shop ACME"]
    for entry in ("extra:async", "extra:ordinary"):
        process = client.spawn(entry, host)
        process.send("where")
        assert process.result(timeout=30) == "shop ACME"


def test_the_commands(site: Site) -> None:
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    started = site.command("start", "orders:approve", "--id", name, "--input", '{"what": "x", "amount": 1}', "--json")
    assert started.exit_code == 0, started.output
    assert json.loads(started.stdout)["id"] == name
    assert site.command("signal", name, "decision", '{"approved": false}').exit_code == 0
    done = site.command("result", name, "--json")
    assert json.loads(done.stdout)["result"] == {"approved": False}
    missing = site.command("show", "nobody")
    assert missing.exit_code == 3


def test_the_commands_of_the_page(site: Site) -> None:
    """The server as a program of its own, asked with curl, beside the worker that the page starts."""
    assert WORKER == ["celery", "-A", "make_celery", "worker"]
    port = str(free_port())
    env = {**os.environ, "PYTHONPATH": f"{FOLDER}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", *SERVER, "--port", port]
    server = subprocess.Popen(command, cwd=FOLDER, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def curl(words: list[str], order: str = "ID") -> Any:
        ours = [word.replace("localhost:5000", f"127.0.0.1:{port}").replace("/ID/", f"/{order}/") for word in words]
        done = subprocess.run(ours, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout) if done.returncode == 0 else None

    make, look, decide = REQUESTS
    try:
        order = wait_until(lambda: curl(make), deadline_s=60)["id"]
        assert order in [run["id"] for run in curl(look)]
        assert order in site.command(*LIST[LIST.index("workflow") + 1 :]).stdout
        assert curl(decide, order) == {"id": order}
        wait_until(lambda: site.browser.get(f"/orders/{order}").get_json()["status"] == "completed", deadline_s=30)
    finally:
        server.kill()
        server.wait()


def test_mistakes_are_told(tmp_path: Path) -> None:
    from celery import Celery

    from orchestration import Orchestration
    from orchestration.integrations.flask import Workflows

    bare = flask.Flask("bare")
    with pytest.raises(ConfigError, match="CELERY"):
        Workflows(bare)
    app = flask.Flask("twice", root_path=str(tmp_path))
    app.config["CELERY"] = {"broker_url": "memory://"}
    workflows = Workflows(app)
    with pytest.raises(ConfigError, match="already"):
        workflows.init_app(app)
    other = Celery("other", set_as_current=False)
    Orchestration(other)
    with pytest.raises(ConfigError, match="already"):
        workflows.init_app(flask.Flask("other"), other)
    with pytest.raises(RuntimeError, match="context"):
        _ = workflows.client
    with bare.app_context(), pytest.raises(ConfigError, match="init_app"):
        _ = workflows.client
    for given, told in (
        ({"retension_ms": 1}, "Did you mean 'retention_ms'"), ({"lease_ms": "soon"}, r"ORCHESTRATION\['lease_ms'\]"),
        (["x"], "dictionary"), ({"shards": 1, "SHARDS": 2}, "twice"),
    ):
        app.config["ORCHESTRATION"] = given
        app.extensions["orchestration"]._settings = None
        with app.app_context(), pytest.raises(ConfigError, match=told):
            _ = workflows.orchestration.settings


def test_definitions_of_blueprints_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.integrations.flask import Workflows

    monkeypatch.delenv("ORCHESTRATION_CONFIG", raising=False)
    app = flask.Flask("found", root_path=str(tmp_path))
    app.config["CELERY"] = {"broker_url": "memory://"}
    app.config["ORCHESTRATION"] = {"config": ["more"], "RETENTION_MS": "1d"}
    for folder in ("more", "workflows", "part/workflows"):
        Project(namespace=folder.replace("/", ".")).write(tmp_path / folder)
        (tmp_path / folder / "x.yaml").write_text(
            f'version: "1.0"\nnamespace: {folder.split("/")[0]}\n'
            "entries: [{name: f, kind: function.celery, task: t}]\n"
        )
    app.register_blueprint(flask.Blueprint("part", "part", root_path=str(tmp_path / "part")))
    Workflows(app)
    orchestration = app.extensions["orchestration"]
    assert [entry.id for entry in orchestration.registry.entries] == ["more:f", "part:f", "workflows:f"]
    assert orchestration.settings.retention_ms == 24 * 3600 * 1000
