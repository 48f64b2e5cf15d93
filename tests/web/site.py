"""The Django project of ``tests/web/shop``: in this process, in workers and in web processes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from orchestration.processes import start_bound
from tests.support import WorkerProcess, start_worker, wait_until
from tests.support.workers import ROOT

__all__ = ["Shop", "WebProcess", "free_port"]

SETTINGS = "tests.web.shop.settings"


def free_port() -> int:
    """A port that nobody listens on."""
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class WebProcess:
    """A web server of the project in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.log = log

    def wait_until_ready(self) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{self.url}/admin/login/", timeout=10).status_code == 200
            return False

        wait_until(answers, deadline_s=40, every_s=0.1, message=self.log.read_text)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Shop:
    """The project in a folder of its own, on a Redis of its own.

    Args:
        folder: Its databases and logs.
        redis_url: Store, broker and result backend.
        env: Of all its processes.
    """

    def __init__(self, folder: Path, redis_url: str, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self._env = {"SHOP_FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": SETTINGS, "SHOP_OUTBOX": "default,archive"}
        self._env |= env or {}
        self._closing = contextlib.ExitStack()

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        base = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "ORCHESTRATION_", "REDIS_"))}
        return {**base, "REDIS_URL": self.redis_url, "PYTHONPATH": str(ROOT), **self._env, **(env or {})}

    def manage(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "django", *args]
        return subprocess.run(
            command, env=self.environment(env), cwd=ROOT, capture_output=True, text=True, timeout=100
        )

    def worker(self, *, env: Mapping[str, str] | None = None, **options: Any) -> WorkerProcess:
        worker = start_worker(
            redis_url=self.redis_url, log_dir=self.folder, app="tests.web.shop.celery", cwd=ROOT,
            env={**self._env, **(env or {})}, **options,
        )  # fmt: skip
        self._closing.callback(worker.kill)
        return worker

    def web(self, *, env: Mapping[str, str] | None = None) -> WebProcess:
        port = free_port()
        log = self.folder / f"web-{port}.log"
        with log.open("wb") as output:
            process = start_bound(
                [sys.executable, "-m", "django", "runserver", "--noreload", "--nothreading", f"127.0.0.1:{port}"],
                env=self.environment(env), cwd=ROOT, output=output,
            )
        found = WebProcess(process, port, log)
        self._closing.callback(found.close)
        found.wait_until_ready()
        return found

    def close(self) -> None:
        self._closing.close()


@contextlib.contextmanager
def configured(folder: Path, redis_url: str) -> Iterator[Shop]:
    """The project in this process too: Django is set up, the tables are made."""
    import importlib

    os.environ["SHOP_FOLDER"], before = str(folder), os.environ.get("REDIS_URL")
    os.environ["REDIS_URL"] = redis_url
    try:
        values = vars(importlib.import_module(SETTINGS))
    finally:
        os.environ.pop("SHOP_FOLDER")
        os.environ.pop("REDIS_URL") if before is None else os.environ.update(REDIS_URL=before)
    import django
    from django.conf import settings
    from django.core.management import call_command

    # No DJANGO_SETTINGS_MODULE: it would make every Celery application of this process one of a Django project.
    settings.configure(**{name: value for name, value in values.items() if name.isupper()})
    django.setup()
    for database in ("default", "archive", "private"):
        call_command("migrate", database=database, verbosity=0)
    shop = Shop(folder, redis_url)
    try:
        yield shop
    finally:
        shop.close()
        from django.db import connections

        from tests.web.shop.celery import orchestration

        orchestration.runtime.close()
        connections.close_all()
