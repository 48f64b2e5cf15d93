"""The command line as people run it: the real program as a process, a real Redis, a real worker."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from orchestration.core.bundle import Bundle
from orchestration.core.machine import Machine
from orchestration.core.replay import replay
from orchestration.embedded import EmbeddedRedis
from tests.support import wait_until
from tests.support.pages import Page
from tests.support.warm_cli import WarmCli
from tests.support.workers import ROOT, start_worker

ORDER = "app.workflows:order_processor"
APPROVAL = "app.workflows:approval"
CLI = [sys.executable, "-m", "orchestration.cli"]
(DEV,) = Page("docs/quickstart.md").commands("orchestration dev")

Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(tmp: Path, **more: str) -> dict[str, str]:
    """Nothing is configured but what is given."""
    mine = {
        key: value for key, value in os.environ.items()
        if not key.startswith(("CELERY_", "ORCHESTRATION_", "REDIS_")) and key not in ("COLUMNS", "NO_COLOR")
    }  # fmt: skip
    return {
        **mine, "PYTHONPATH": str(ROOT), "ORCHESTRATION_EXAMPLES_LEDGER": str(tmp / "ledger.sqlite"), **more,
    }  # fmt: skip


def run_cli(*args: str, env: Mapping[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = [*CLI, *args]
    return subprocess.run(words, env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The command line beside a Redis and a worker of the examples, for the whole module."""
    folder = tmp_path_factory.mktemp("shop")
    env = environment(folder)
    with EmbeddedRedis() as redis:
        ledger = {"ORCHESTRATION_EXAMPLES_LEDGER": env["ORCHESTRATION_EXAMPLES_LEDGER"]}
        with (
            start_worker(redis_url=redis.url, log_dir=folder, concurrency=4, env=ledger),
            WarmCli(folder, env={**env, "REDIS_URL": redis.url}, cwd=ROOT) as warm,
        ):

            def run(*args: str, code: int = 0, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
                done = warm.run(args, stdin=stdin, env=more)
                assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
                assert "Traceback" not in done.stderr
                return done

            yield run


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a command: one line on stderr, nothing on stdout."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_an_approval_from_the_start_to_the_result(shop: Run) -> None:
    started = json.loads(shop("start", APPROVAL, "--id", "a-1", "--input", '{"order_id": "1"}', "--json").stdout)
    assert started["id"] == "a-1"
    assert "has been started already" in one_line(shop("start", APPROVAL, "--id", "a-1", code=6))

    def asleep() -> str:
        shown = shop("show", "a-1").stdout
        return shown if "channel.select" in shown else ""

    shown = wait_until(asleep, deadline_s=20)
    assert "workflows/approval.lua:12" in shown
    assert f"run       {started['run_id']}" in shown
    assert "ago)" in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())
    facts = json.loads(shop("show", "a-1", "--json").stdout)
    assert (facts["status"], facts["places"][0]["line"], facts["pending"]) == ("running", 12, [])

    listed = shop("list", "--status", "open", "--type", APPROVAL).stdout.splitlines()
    assert listed[0].split()[:3] == ["id", "type", "status"]
    assert listed[1].split()[:4] == ["a-1", APPROVAL, "running", "approval.lua:12"]
    late = one_line(shop("result", "a-1", "--timeout", "100ms", code=5))
    assert "has not ended within 0.1 s" in late

    assert "in the inbox" in shop("signal", "a-1", "decision", '{"approved": true, "by": "Ana"}').stdout
    answer = json.loads(shop("result", "a-1", "--timeout", "20s").stdout)
    assert answer == {"order_id": "1", "status": "fulfilled", "reminders": 0, "by": "Ana"}
    for words in (["signal", "a-1", "decision"], ["cancel", "a-1"], ["terminate", "a-1"], ["retry", "a-1"]):
        assert "it is completed" in one_line(shop(*words, code=6))

    table = shop("history", "a-1").stdout.splitlines()
    assert table[1].split()[2] == "started"
    assert "app.approvals:submit" in table[2]
    replay_elsewhere(shop("history", "a-1", "--json").stdout)


def replay_elsewhere(lines: str) -> None:
    """The lines of `history --json` are enough to run the code again."""
    head, *events = map(json.loads, lines.splitlines())
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["event"] == "complete"
    machine = Machine(Bundle.decode(base64.b64decode(head["bundle"])))
    assert replay(machine, [base64.b64decode(event["bytes"]) for event in events]).closed


def test_run_follows_and_prints_the_result(shop: Run, tmp_path: Path) -> None:
    order = {"id": "r-1", "amount": 5, "delay": "1s"}
    (tmp_path / "order.json").write_text(json.dumps(order))
    done = shop("run", ORDER, "--id", "r-1", "--input", f"@{tmp_path / 'order.json'}")
    assert json.loads(done.stdout)["status"] == "fulfilled"
    assert "order_processor.lua:14 waits for time.sleep" in done.stderr
    done = shop("run", ORDER, "--json", "--input", "-", stdin='{"id": "r-2", "amount": 5, "card": "declined"}', code=1)
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["failure"]["kind"]) == ("failed", "PaymentDeclined")
    assert done.stderr == ""
    done = shop("result", answer["id"], code=1)
    assert one_line(done).startswith(f"error: workflow '{answer['id']}' failed: PaymentDeclined: the card was declined")
    assert "failure   PaymentDeclined" in shop("show", answer["id"]).stdout


def test_run_on_a_configured_redis_is_outlived_by_its_workflow(shop: Run) -> None:
    order = '{"id": "r-3", "amount": 5}'
    done = shop("run", ORDER, "--id", "r-3", "--input", order, "--timeout", "500ms", code=5)
    assert "the run goes on: `orchestration show r-3`" in done.stderr
    assert shop("cancel", "r-3", "--reason", "test").stdout == "r-3 was asked to end\n"
    wait_until(lambda: "cancel_requested" in shop("history", "r-3").stdout, message="told")  # it does not listen
    assert shop("terminate", "r-3", "--reason", "enough").stdout == "r-3 has been terminated\n"
    assert "workflow terminated" in shop("result", "r-3", code=1).stderr


def test_calls(shop: Run) -> None:
    price = shop("call", "app.pricing:total", '[{"name": "chair", "price": 8900}]', "--timeout", "20").stdout
    assert json.loads(price)["text"] == "89.00"
    failed = one_line(shop("call", "app.api:refund", '"none"', "--timeout", "20", code=1))
    assert failed == "error: app.api:refund failed: NotFound: no payment has the number none\n"
    assert "did you mean 'app.api:refund'" in one_line(shop("call", "app.api:refnd", code=3))
    assert "is a workflow.lua, not a function" in one_line(shop("call", ORDER, code=1))


def test_what_is_not_there(shop: Run) -> None:
    for words in (["show"], ["history"], ["result"], ["cancel"], ["terminate"], ["retry"], ["signal", "x"]):
        words.insert(1, "none")
        assert "no workflow with the id 'none' is known" in one_line(shop(*words, code=3))
    assert f"did you mean '{ORDER}'" in one_line(shop("start", ORDER[:-1], code=3))
    shop("start", APPROVAL, "--id", "another")  # with no run at all, the list says how to start one
    assert "no run like that" in shop("list", "--type", "none").stdout
    assert shop("list", "--type", "none", "--json").stdout == ""


def test_values_that_cannot_be_used(shop: Run) -> None:
    assert "control characters" in one_line(shop("start", ORDER, "--id", "a\nb", code=2))
    assert "value[0].big" in one_line(shop("start", ORDER, "--input", '{"big": 99999999999999999999}', code=2))
    assert "--context takes a JSON object" in one_line(shop("start", ORDER, "--context", "1", code=2))
    error = json.loads(shop("start", ORDER, "--id", "", "--json", code=2).stderr)["error"]
    assert error["exit_code"] == 2


def test_without_a_worker_and_without_runs(shop: Run, second_redis: EmbeddedRedis) -> None:
    url = second_redis.url
    assert shop("list", REDIS_URL=url).stdout.startswith(f"no runs yet; start one with `orchestration start {APPROVAL}")
    shop("start", APPROVAL, "--id", "a-1", REDIS_URL=url)
    assert "no worker has taken it yet" in shop("show", "a-1", REDIS_URL=url).stdout
    assert "no events yet" in shop("history", "a-1", REDIS_URL=url).stdout
    error = one_line(shop("reset", "a-1", "--to", "start", code=2, REDIS_URL=url))
    assert "the history has no event that a run could go on from" in error
    shop("start", APPROVAL, "--id", "a-2", "--start-delay", "2h", "--summary", "for later", REDIS_URL=url)
    delayed = shop("show", "a-2", REDIS_URL=url).stdout
    assert "it begins in" in delayed
    assert "no worker" not in delayed
    assert "for later" in delayed
    assert re.search(r"begins +\d{4}-", delayed)
    assert "its start, in" in shop("list", REDIS_URL=url).stdout
    assert "the run begins at 20" in shop("query", "a-2", "@handlers", "--timeout", "0", code=5, REDIS_URL=url).stderr
    done = shop("call", "app.pricing:total", "[]", "--timeout", "100ms", code=5, REDIS_URL=url)
    assert "is a worker up" in one_line(done)
    waited = shop("result", "a-1", "--timeout", "5500ms", code=5, REDIS_URL=url).stderr
    assert "note: no worker is up for namespace 'default'" in waited
    second_redis.stop()
    error = one_line(shop("list", "--wait", "300ms", code=4, REDIS_URL=url))
    assert error.startswith("error: no reply from Redis at 127.0.0.1:")
    shop("call", "app.pricing:total", "[]", "--wait", "0", code=4, REDIS_URL=url)
    shop("start", APPROVAL, "--wait", "0", "--json", code=4, REDIS_URL=url)


HELLO = """\
version: "1.0"
namespace: app
entries:
  - name: hello
    kind: workflow.lua
    source: file://hello.lua
    method: main
    modules: [time]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with definitions and no application."""
    place = tmp_path / "project"
    (place / "config").mkdir(parents=True)
    (place / "config/hello.yaml").write_text(HELLO)
    (place / "config/hello.lua").write_text(
        'local time = require("time")\nreturn function(name, delay)\n  time.sleep(delay)\n'
        '  return { greeting = "Hello, " .. name }\nend\n'
    )
    return place


def orphans(folder: Path) -> list[psutil.Process]:
    """Processes that stand in a folder, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder):
                found.append(process)
    return found


def test_run_brings_its_own_redis_and_worker(folder: Path, tmp_path: Path) -> None:
    env = environment(tmp_path)
    done = run_cli("run", "app:hello", "--input", '"Ana"', "--input", '"10ms"', env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"greeting": "Hello, Ana"}
    done = run_cli("run", "app:hello", "--timeout", "0", "--json", env=env, cwd=folder)
    assert done.returncode == 5
    assert orphans(folder) == []


def test_a_broken_run_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and even SIGKILL to the program end its Redis and its worker."""
    env = environment(tmp_path)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        command = [*CLI, "run", "app:hello", "--input", '"Ana"', "--input", '"1h"']
        with subprocess.Popen(command, env=env, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if "waits for time.sleep" in line:
                    break
            assert len(orphans(folder)) >= 2
            process.send_signal(number)
            assert process.wait(30) == code
        wait_until(lambda: not orphans(folder), message=lambda: str(orphans(folder)))


def test_a_private_redis_cannot_reach_tasks_of_an_application_that_is_not_named(folder: Path, tmp_path: Path) -> None:
    """Without -A and celery_app.py the worker has no task; the run would try again for ever."""
    (folder / "config/hello.yaml").write_text(HELLO + "  - {name: greet, kind: function.celery, task: shop.greet}\n")
    for words in (["run", "app:hello"], ["dev", "--no-flower"]):
        done = run_cli(*words, env=environment(tmp_path), cwd=folder)
        assert done.returncode == 2, done
        assert "app:greet calls the Celery task 'shop.greet'" in done.stderr
        assert "name your application with -A" in done.stderr
    assert orphans(folder) == []
    shutil.copy(ROOT / "orchestration/cli/env_app.py", folder / "celery_app.py")
    done = run_cli("run", "app:hello", "--input", '"Ana"', "--input", '"1ms"', env=environment(tmp_path), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert "'shop.greet': this application has no such task" in done.stderr


def test_a_worker_that_cannot_start_is_told(folder: Path, tmp_path: Path) -> None:
    done = run_cli("run", "app:hello", "--pool", "swimming", env=environment(tmp_path), cwd=folder)
    assert done.returncode == 1
    assert "error: the worker ended with" in done.stderr
    assert "swimming" in done.stderr


def test_a_parked_run_ends_the_wait(folder: Path, tmp_path: Path) -> None:
    (folder / "config/hello.lua").write_text("return function() while true do end end\n")
    env = environment(tmp_path, ORCHESTRATION_INSTRUCTIONS="100000")
    done = run_cli("run", "app:hello", env=env, cwd=folder)
    assert done.returncode == 1
    assert "is parked, " in done.stderr
    assert "`orchestration retry " in done.stderr


def test_definitions_with_mistakes_stop_everything(folder: Path, tmp_path: Path) -> None:
    (folder / "config/hello.lua").write_text("local x = = 1\n")
    for words in (["check"], ["run", "app:hello"], ["dev"]):
        done = run_cli(*words, env=environment(tmp_path), cwd=folder)
        assert done.returncode == 1, words
        assert "hello.lua:1" in done.stderr
    assert orphans(folder) == []
    done = run_cli("list", env=environment(tmp_path), cwd=folder)
    assert done.returncode == 2
    assert "there is no application" in one_line(done)


def test_dev_runs_everything_until_ctrl_c(folder: Path, tmp_path: Path) -> None:
    command = [*CLI, *DEV[1:], "--no-flower", "--pool", "threads"]
    with subprocess.Popen(
        command, env=environment(tmp_path), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        seen: list[str] = []
        for line in process.stdout:
            seen.append(line)
            if line.startswith("worker |") and " ready." in line:
                break
        (url,) = [line.split("REDIS_URL=")[1].strip() for line in seen if "export REDIS_URL=" in line]
        env = environment(tmp_path, REDIS_URL=url)
        done = run_cli("run", "app:hello", "--input", '"Eva"', "--input", '"1ms"', env=env, cwd=folder)
        assert json.loads(done.stdout) == {"greeting": "Hello, Eva"}, done.stderr
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0
        assert "everything has ended" in rest
    wait_until(lambda: not orphans(folder), message="its processes gone")


def test_the_same_commands_below_celery(folder: Path, tmp_path: Path) -> None:
    """As installed: by the entry point that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    info = tmp_path / "installed/celery_orchestration-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: celery-orchestration\nVersion: 0\n")
    name, target = next(iter(project["entry-points"]["celery.commands"].items()))
    (info / "entry_points.txt").write_text(f"[celery.commands]\n{name} = {target}\n")
    assert project["scripts"] == {"orchestration": "orchestration.cli:main"}
    shutil.copy(ROOT / "orchestration/cli/env_app.py", folder / "shop.py")
    env = environment(tmp_path, PYTHONPATH=f"{info.parent}{os.pathsep}{ROOT}")

    def celery(*args: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "celery", "-A", "shop", "workflow", *args]
        return subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    done = celery("run", "app:hello", "--input", '"Ana"', "--input", '"1ms"')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"greeting": "Hello, Ana"}
    done = celery("check", "--json")
    assert [entry["id"] for entry in json.loads(done.stdout)["entries"]] == ["app:hello"], done.stderr
    env["REDIS_URL"] = "redis://127.0.0.1:1/0"
    done = celery("list", "--wait", "0")
    assert done.returncode == 4, done.stderr
    assert one_line(done).startswith("error: no reply from Redis at")
