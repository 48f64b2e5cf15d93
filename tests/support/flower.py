"""A real Flower as a process that tests start beside the workers of a deployment."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.processes import start_bound
from tests.support.projects import Deployment
from tests.support.waiting import wait_until
from tests.support.warm_workers import RunningProcess, can_be_warm, start_warm
from tests.support.workers import ROOT

__all__ = ["LOGIN", "UNTESTED", "Answer", "Flower", "start_flower"]

LOGIN = "ann:sesame"
"""Who may log in, where a login is asked for."""

UNTESTED = (
    "import orchestration.dashboard.joining as joining; joining.TESTED_VERSIONS = ('1.2',); "
    "from celery.__main__ import main; main()"
)
"""Code that starts a Flower as if it were of a release that is not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Flower answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8")

    @property
    def json(self) -> Any:
        """The body as a JSON value."""
        return json.loads(self.body)


class Flower:
    """One ``celery flower``. Made by :func:`start_flower`."""

    def __init__(self, process: RunningProcess, log_path: Path) -> None:
        self.process = process
        self.log_path = log_path
        self.port = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """All it has written so far."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def get(self, path: str, *, login: str = "", **headers: str) -> Answer:
        """Ask for a page."""
        return self.ask("GET", path, login=login, headers=headers)

    def post(self, path: str, body: Any = None, *, login: str = "", **headers: str) -> Answer:
        """Send JSON."""
        return self.ask("POST", path, body=body, login=login, headers=headers)

    def ask(
        self, method: str, path: str, *, body: Any = None, login: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:  # fmt: skip
        """Send a request; ``Sec_Fetch_Site`` stands for ``Sec-Fetch-Site``."""
        sent = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if login:
            sent["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        data = None
        if method == "POST":
            data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body=data, headers=sent)
            reply = connection.getresponse()
            return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())

    def wait_until_ready(self) -> None:
        """Wait until it answers."""
        wait_until(self._ready, deadline_s=60, every_s=0.05, message=lambda: f"Flower ready:\n{self.log()}")

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"Flower ended with {self.process.returncode}:\n{self.log()}")
        found = re.search(r"Visit me at https?://[^:]+:(\d+)", self.log())
        self.port = int(found[1]) if found else 0
        return bool(found)


@contextlib.contextmanager
def start_flower(
    deployment: Deployment, *options: str, name: str = "flower", env: Mapping[str, str] | None = None,
    before: Sequence[str] = (), wait: bool = True,
) -> Iterator[Flower]:  # fmt: skip
    """A Flower of a deployment for the time of a block, on a free port.

    Args:
        deployment: Whose application it loads.
        options: Of ``celery flower``.
        name: Of its log.
        env: More environment variables.
        before: Runs instead of ``python -m celery``.
        wait: False begins the block at once; call :meth:`Flower.wait_until_ready` in it.
    """
    log_path = deployment.folder / f"{name}.log"
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CELERY_", "ORCHESTRATION_", "REDIS_", "FLOWER_"))
    }
    environment |= {
        "REDIS_URL": deployment.redis_url, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT),
        "ORCHESTRATION_CONFIG": str(deployment.config),
        "ORCHESTRATION_TEST_INCLUDE": ",".join(deployment.project.tasks),
        "ORCHESTRATION_TEST_FOLDER": str(deployment.folder), **deployment.project.env, **(env or {}),
    }  # fmt: skip
    arguments = ["-A", "tests.support.project_app", "flower", "--address=127.0.0.1", "--port=0", *options]
    process: RunningProcess
    if before or not can_be_warm(environment):
        command = [sys.executable, *(before or ("-m", "celery")), *arguments]
        with log_path.open("wb") as log:
            process = start_bound(command, env=environment, cwd=deployment.folder, output=log)
    else:
        process = start_warm(arguments, env=environment, cwd=deployment.folder, log_path=log_path)
    flower = Flower(process, log_path)
    try:
        if wait:
            flower.wait_until_ready()
        yield flower
    finally:
        flower.kill()
