"""Redis and a worker for one command: started when none is configured, gone when the command is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from orchestration.cli.application import APP_VARIABLE, BUILT, Application, load_application
from orchestration.cli.children import Child, worker_command
from orchestration.cli.exits import CliError
from orchestration.cli.output import note
from orchestration.cli.session import Session
from orchestration.cli.unknown_tasks import unknown_tasks
from orchestration.embedded import EmbeddedRedis

__all__ = ["Stack"]

_VARIABLES: Final = ("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "ORCHESTRATION_REDIS_URL")
_GRACE_S: Final = 4.0


class Stack:
    """The servers of one command; a context manager that ends what it has started.

    An application counts as not configured when the environment names no Redis and no broker, and its own code names
    none either, or takes the one of ``REDIS_URL``. Then a Redis of this command's own is started.

    Args:
        session: The call.
        is_embedded: True starts a Redis whatever is configured, False never does, None as above.
        directory: Where the embedded Redis keeps its data; None: a private folder that is removed.
    """

    def __init__(
        self, session: Session, *, is_embedded: bool | None = None, directory: str | None = None
    ) -> None:
        self._session = session
        self._is_embedded = is_embedded
        self._directory = directory
        self.redis: EmbeddedRedis | None = None
        self.children: list[Child] = []
        self.application = self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_worker(
        self, *, pool: str, concurrency: int, on_line: Callable[[str, str], None] | None = None,
        options: Sequence[str] = (),
    ) -> Child:  # fmt: skip
        """Start a worker of the application; it is getting ready when this returns."""
        name = self.application.name
        if not name:
            raise CliError("this application is in no module that a worker could load: name it with -A module:app")
        if self.redis is not None:
            self._look_for_tasks()
        command = [*worker_command(name, pool=pool, concurrency=concurrency), *options]
        return self.start("worker", command, on_line=on_line)

    def _look_for_tasks(self) -> None:
        """Nobody but this worker can reach a Redis of this command's own: what it has not got will not run."""
        missing = unknown_tasks(self.application.app, self.application.orchestration.registry)
        if missing and self.application.name == BUILT:
            raise CliError(
                f"{missing[0].entry} calls the Celery task {missing[0].value}, and there is no celery_app.py here to "
                f"take it from: name your application with -A (as for `celery -A`) or {APP_VARIABLE}"
            )
        for problem in missing if not self._session.json else ():
            note(f"warning: {problem}")

    def start(
        self, name: str, command: list[str], *, on_line: Callable[[str, str], None] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:  # fmt: skip
        """Start a process beside the others."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        child = Child(name, command, env=environment, on_line=on_line)
        self.children.append(child)
        return child

    def end(self, child: Child) -> None:
        """End one process in order, while the others go on."""
        self.children.remove(child)
        child.ask_to_stop()
        child.stop(grace_s=_GRACE_S)

    def stop(self) -> None:
        """End everything, workers before Redis; a Ctrl-C meanwhile ends it at once. Safe to repeat."""
        grace_s = _GRACE_S
        for child in self.children:
            child.ask_to_stop()
        for child in self.children:
            try:
                child.stop(grace_s=grace_s)
            except KeyboardInterrupt:
                grace_s = 0.0
        self.children.clear()
        if self.redis is not None:
            self.redis.stop()
            self.redis = None

    def _load(self) -> Application:
        configured = [name for name in _VARIABLES if os.environ.get(name)]
        if self._is_embedded is False or (configured and self._is_embedded is None):
            application = load_application(self._session, may_build=True)
            if application.name == BUILT and not configured:
                raise CliError("no Redis is configured: set REDIS_URL, or leave --no-embedded out")
            return application
        server = EmbeddedRedis(self._directory, port=_free_port())
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ["REDIS_URL"] = server.url
        if self._is_embedded:
            os.environ.update(dict.fromkeys(_VARIABLES, server.url))
        application = load_application(self._session, may_build=True)
        conf = application.app.conf
        if not conf.broker_url:
            os.environ["CELERY_BROKER_URL"] = os.environ["CELERY_RESULT_BACKEND"] = server.url
        if server.url not in (conf.broker_url, conf.result_backend):
            del os.environ["REDIS_URL"]  # the application names its own servers; no setting has been read yet
            return application
        server.start()
        self.redis = server
        return application


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((EmbeddedRedis.host, 0))
        port: int = probe.getsockname()[1]
        return port
