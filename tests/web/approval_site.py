"""The example ``examples/django_approval`` as people run it: a worker, a web server, a database file, a Redis."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestration.processes import start_bound
from tests.support.workers import ROOT, start_worker
from tests.web.site import WebProcess, free_port

__all__ = ["approval_site"]

FOLDER = ROOT / "examples" / "django_approval"


@contextlib.contextmanager
def approval_site(folder: Path, redis_url: str, *, remind: str = "24h") -> Iterator[WebProcess]:
    """The site, served; its users are made."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "ORCHESTRATION_", "REDIS_", "DJANGO_"))}
    settings = {"APPROVAL_DATABASE": str(folder / "approval.sqlite3"), "APPROVAL_REMIND": remind}
    env = {**base, "REDIS_URL": redis_url, "PYTHONPATH": f"{FOLDER}{os.pathsep}{ROOT}", **settings}
    for command in ("migrate", "make_users"):
        called = [sys.executable, "manage.py", command]
        subprocess.run(called, cwd=FOLDER, env=env, check=True, stdout=subprocess.DEVNULL)
    port = free_port()
    log = folder / "web.log"
    with log.open("wb") as output:
        process = start_bound(
            [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
            env=env, cwd=FOLDER, output=output,
        )  # fmt: skip
    web = WebProcess(process, port, log)
    worker = start_worker(redis_url=redis_url, log_dir=folder, app="approval", cwd=FOLDER, env=settings)
    try:
        web.wait_until_ready()
        yield web
    finally:
        web.close()
        worker.kill()
