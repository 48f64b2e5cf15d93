"""The example of docs/how-to/existing-workers.md, taken from the page, runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.workers import ROOT, start_worker

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "how-to" / "existing-workers.md"
_BLOCK = re.compile(r"^```(?:python|yaml|lua)\n(?:#|--) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

DRIVE = """
from celery_app import app
from orchestration import Client

print(Client(app).start_workflow("shop:order", {"id": "A-17"}).result(timeout=30))
"""


def test_the_example_of_the_page_runs(redis_url: str, tmp_path: Path) -> None:
    for name, text in _BLOCK.findall(PAGE.read_text("utf-8")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("redis://localhost:6379/0", redis_url), "utf-8")
    with (
        start_worker(redis_url=redis_url, log_dir=tmp_path, cwd=tmp_path, app="shop", pool="prefork") as shop,
        start_worker(redis_url=redis_url, log_dir=tmp_path, cwd=tmp_path) as worker,
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
