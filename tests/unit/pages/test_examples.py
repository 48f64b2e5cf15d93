"""The examples of the pages about approvals, sagas, chains and chords pass the tests that stand beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.pages import Page
from tests.support.workers import ROOT

PAGES = [Page(f"docs/how-to/{name}.md").files() for name in ("approval", "saga", "chains-and-chords")]


def test_the_examples_pass_their_tests(tmp_path: Path) -> None:
    for files in PAGES:
        for name, text in files.items():
            path = tmp_path / name
            assert not path.exists(), f"two pages have a file {name}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "orchestration.testing.plugin", "-W", "error", "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100)
    assert "5 passed" in done.stdout, done.stdout + done.stderr
    calls = "import leave as it; r = {'id': 7, 'who': 'ann'}; it.ask(r); it.remind(r, 2); it.book(r)"
    command = [sys.executable, "-c", calls]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == "may ann have leave 7?\nreminder 2: ann is waiting\nleave 7 is booked\n", done.stderr
