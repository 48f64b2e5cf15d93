"""The command line, run from a process that has imported everything already: each command is a process of its own
(forked), without the second that importing Celery and pydantic takes.

As a module it is that process: it reads one request a line, and answers the exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.projects import Deployment
from tests.support.workers import ROOT

__all__ = ["ProjectCli", "WarmCli", "project_cli"]

ProjectCli = Callable[..., "subprocess.CompletedProcess[str]"]


class WarmCli:
    """Runs commands; a context manager.

    Args:
        folder: For inputs and outputs.
        env: Environment of the commands.
        cwd: Folder they start in.
    """

    def __init__(self, folder: Path, *, env: Mapping[str, str], cwd: Path) -> None:
        self._folder = folder
        self._env = dict(env)
        self._cwd = cwd
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm_cli"], cwd=cwd, env=self._env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self, args: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        files = [self._folder / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(stdin, "utf-8")
        request = {"args": list(args), "env": {**self._env, **(env or {})}, "files": [str(file) for file in files]}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(args, code, files[1].read_text("utf-8"), files[2].read_text("utf-8"))


@contextlib.contextmanager
def project_cli(deployment: Deployment, config: Path | None = None) -> Iterator[ProjectCli]:
    """The command line beside a test module's project.

    Args:
        deployment: Its folder, its Redis.
        config: Other definitions than the deployment's.

    Returns:
        Runs a command, its words as arguments, and checks its exit code: 0, or ``code``; ``env`` has more variables.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "ORCHESTRATION_"))}
    env.pop("COLUMNS", None)
    env |= {
        "PYTHONPATH": str(ROOT), "REDIS_URL": deployment.redis_url, "ORCHESTRATION_APP": "tests.support.project_app",
        "ORCHESTRATION_CONFIG": str(config or deployment.config),
        "ORCHESTRATION_TEST_INCLUDE": ",".join(deployment.project.tasks),
        "ORCHESTRATION_TEST_FOLDER": str(deployment.folder), **deployment.project.env,
    }  # fmt: skip
    with WarmCli(deployment.folder, env=env, cwd=ROOT) as warm:

        def run(
            *args: str, code: int = 0, env: Mapping[str, str] | None = None
        ) -> subprocess.CompletedProcess[str]:
            done = warm.run(args, env=env)
            assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr
            return done

        yield run


def _serve() -> None:
    import orchestration.cli.group
    import orchestration.client
    import orchestration.tasks.app  # noqa: F401 - imported to be there in the children

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_command(request))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _command(request: dict[str, Any]) -> int:
    from orchestration.cli import main

    for number, file in enumerate(request["files"]):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(file, flags), number)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, encoding="utf-8") for number in (1, 2))
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["orchestration", *request["args"]]
    code: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


if __name__ == "__main__":
    _serve()
