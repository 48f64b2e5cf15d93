"""``make demo``, as the README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import Page
from tests.support.workers import ROOT

pytestmark = pytest.mark.slow
(DEMO,) = Page("README.md").commands("make demo")


def test_the_demonstration_ends_as_it_should() -> None:
    others = ("CELERY_", "MAKE", "MFLAGS", "ORCHESTRATION_", "REDIS_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    # what make would install first is what these tests run with
    words = [*DEMO, "-o", ".venv/.installed", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 12 runs ended as they should" in done.stdout
