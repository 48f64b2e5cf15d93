"""A PostgreSQL server of Debian's package, as a child of the tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.processes import start_bound
from tests.support import wait_until

__all__ = ["postgres_server"]


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        if os.environ.get("CI"):
            raise AssertionError("PostgreSQL is missing: install Debian's package postgresql")
        pytest.skip("PostgreSQL is not installed")
    return found[-1].parent


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Folder of the socket of a server with a database and a user ``shop``."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="orchestration-postgres-"))
    # It refuses to run as root.
    as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL"]
    switch = as_other if os.geteuid() == 0 else []
    if switch:
        shutil.chown(folder, "postgres", pwd.getpwnam("postgres").pw_gid)
    data = folder / "data"
    log = folder / "log"
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        initdb = [*switch, str(programs / "initdb"), "-D", str(data), "-U", "shop", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, env=env, cwd=folder, capture_output=True, timeout=100)
        with (Path(tempfile.gettempdir()) / f"{folder.name}.log").open("wb") as output:
            server = start_bound(
                [
                    *switch, str(programs / "postgres"), "-D", str(data), "-k", str(folder),
                    "-c", "listen_addresses=", "-c", "fsync=off",
                ],
                env=env, cwd=folder, output=output,
            )
        try:
            create = [programs / "createdb", "-h", folder, "-U", "shop", "shop"]
            wait_until(
                lambda: subprocess.run(create, capture_output=True, env=env).returncode == 0,
                deadline_s=60, every_s=0.2,
                message=lambda: log.read_text() if log.exists() else "PostgreSQL ready",
            )
            yield str(folder)
        finally:
            server.terminate()
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(tempfile.gettempdir(), f"{folder.name}.log").unlink(missing_ok=True)
