"""The example of docs/how-to/existing-workers.md, taken from the page, runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import Page
from tests.support.workers import ROOT, start_worker

pytestmark = pytest.mark.slow

PAGE = Page("docs/how-to/existing-workers.md")
FILES = PAGE.files()
SHOP, WORKFLOWS = PAGE.commands("celery -A shop worker")

DRIVE = """
from celery_app import app
from orchestration import Client

print(Client(app).start_workflow("shop:order", {"id": "A-17"}).result(timeout=30))
"""


def test_the_example_of_the_page_runs(redis_url: str, tmp_path: Path) -> None:
    assert SHOP == ["celery", "-A", "shop", "worker"]
    assert WORKFLOWS == ["celery", "-A", "celery_app", "worker", "-P", "threads"]
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("redis://localhost:6379/0", redis_url), "utf-8")
    with (
        start_worker(redis_url=redis_url, log_dir=tmp_path, cwd=tmp_path, app=SHOP[2], pool="prefork") as shop,
        start_worker(redis_url=redis_url, log_dir=tmp_path, cwd=tmp_path, app=WORKFLOWS[2], pool="threads") as worker,
    ):
        env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        ran = subprocess.run(
            [sys.executable, "-c", DRIVE], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr + worker.log() + shop.log()
        assert "'parcel': 'p-A-17'" in ran.stdout
        assert re.search(r"'key': '[0-9a-f-]{36}'", ran.stdout)
        assert "orchestration.report" not in shop.log()
