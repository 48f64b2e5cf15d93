"""Virtual environments with older releases of Celery, made when a test first asks for one, kept in pytest's cache."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

__all__ = ["python_with_celery"]


def python_with_celery(release: str, cache: pytest.Cache) -> str:
    """Interpreter of a virtual environment with a release of Celery and the kombu of its time.

    Args:
        release: ``5.3``; the last of its patches is taken.
        cache: Of pytest; the folder outlives the session.
    """
    folder = Path(cache.mkdir(f"celery-{release}"))
    python = folder / "bin" / "python"
    with (folder / "lock").open("w") as lock:  # two test processes make it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            try:
                _make(folder, python, release)
            except (OSError, subprocess.SubprocessError) as error:
                if os.environ.get("CI"):
                    raise
                pytest.skip(f"Celery {release} cannot be installed here: {error}")
            (folder / "made").touch()
    return str(python)


def _make(folder: Path, python: Path, release: str) -> None:
    venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)
    # Its own kombu: the newest that it allows would not have been there, and is not what such deployments run.
    wanted = [f"celery=={release}.*", f"kombu[redis]=={release}.*", "msgpack", "packaging"]
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *wanted]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run(command, check=True, timeout=300, env=environment, stdout=sys.stderr)
