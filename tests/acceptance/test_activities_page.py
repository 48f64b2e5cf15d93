"""The example of docs/how-to/activities.md, taken from the page, runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.pages import Page
from tests.support.workers import ROOT, start_worker

FILES = Page("docs/how-to/activities.md").files()


def write_example(folder: Path, redis_url: str) -> None:
    assert set(FILES) == {"celery_app.py", "tasks.py", "decide.py", "config/shop.yaml", "config/order.lua"}
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("redis://localhost:6379/0", redis_url), "utf-8")


DRIVE = """
import sys, time
from celery_app import app
from decide import decide
from orchestration import Client

handle = Client(app).start_workflow("shop:order", {"id": "A-17"})
token = None
while token is None:
    token = app.send_task("shop.token_of", args=["A-17"]).get(timeout=10)
decide(token, "Ana")
print(handle.result(timeout=20))
"""


def test_the_example_of_the_page_runs(redis_url: str, tmp_path: Path) -> None:
    write_example(tmp_path, redis_url)
    with start_worker(redis_url=redis_url, log_dir=tmp_path, cwd=tmp_path, concurrency=2) as worker:
        env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        ran = subprocess.run(
            [sys.executable, "-c", DRIVE], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr + worker.log()
        assert ran.stdout.strip() == str({
            "by": "Ana", "exported": {"of_this_attempt": 2, "pages": 4}, "payment": {"cents": 400, "id": "p-A-17"},
        })  # fmt: skip
        assert not re.search(r"Task shop\.price\[.* received", worker.log()), "it is local"
