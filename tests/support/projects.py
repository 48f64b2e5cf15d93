"""A test module's own definitions, written beside the tests that use them, and the workers that serve them.

::

    project = Project()
    greet = project.workflow("greet", '''
        local function main(name) return "Hello, " .. name end
        return main
    ''')

    def test_greeting(client):
        assert client.start_workflow(greet, "Ana").result(timeout=10) == "Hello, Ana"

The fixture ``client`` (of ``running``) writes the definitions, starts one worker for the whole module on a Redis
database of its own, and gives a client beside it.
"""

from __future__ import annotations

import contextlib
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from celery import Celery

from orchestration import Client, Orchestration
from orchestration.errors import RegistryError
from tests.support.replaying import is_replaying_everything, replay_store
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, WorkerProcess, start_worker

__all__ = ["Deployment", "Project", "deployed"]

ALL_MODULES = ("funcs", "time", "json", "uuid", "workflow", "ctx", "errors")


class Project:
    """Definitions of one test module.

    Args:
        namespace: Of its entries.
        tasks: Python modules with Celery tasks that its workers import.
        env: Environment variables of its workers.
        settings: Of the client beside them.
        pool: Pool of the worker that serves the module.
        concurrency: Size of that pool.
    """

    def __init__(
        self, namespace: str = "app", *, tasks: Sequence[str] = (), env: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None, pool: str = "threads", concurrency: int = 4,
    ) -> None:  # fmt: skip
        self.namespace = namespace
        self.tasks = tuple(tasks)
        self.env = dict(env or {})
        self.settings = dict(settings or {})
        self.pool = pool
        self.concurrency = concurrency
        self._trees: dict[str, list[dict[str, Any]]] = {}
        self._files: dict[str, str] = {}

    def copy(self, **options: Any) -> Project:
        """Another project with the same definitions so far, for other workers; options are those of the class."""
        project = Project(self.namespace, **options)
        project._trees = {namespace: list(entries) for namespace, entries in self._trees.items()}
        project._files = dict(self._files)
        return project

    def entry(self, name: str, kind: str, namespace: str = "", **fields: Any) -> str:
        """Add an entry; returns its id."""
        namespace = namespace or self.namespace
        self._trees.setdefault(namespace, []).append({"name": name, "kind": kind, **fields})
        return f"{namespace}:{name}"

    def lua(self, name: str, kind: str, source: str, **fields: Any) -> str:
        """Add an entry with Lua code."""
        file = f"{name}.lua"
        self._files[file] = textwrap.dedent(source).lstrip("\n")
        return self.entry(name, kind, source=f"file://{file}", **fields)

    def workflow(self, name: str, source: str, *, modules: Sequence[str] = ALL_MODULES, **fields: Any) -> str:
        """Add a ``workflow.lua``; returns its id. The chunk returns the main function."""
        return self.lua(name, "workflow.lua", source, method="main", modules=list(modules), **fields)

    def function(self, name: str, source: str, *, modules: Sequence[str] = ALL_MODULES, **fields: Any) -> str:
        """Add a ``function.lua``; returns its id. The chunk returns the main function."""
        return self.lua(name, "function.lua", source, method="main", modules=list(modules), **fields)

    def process(self, name: str, source: str, *, modules: Sequence[str] = ALL_MODULES, **fields: Any) -> str:
        """Add a ``process.lua``; returns its id. The chunk returns the main function."""
        return self.lua(name, "process.lua", source, method="main", modules=list(modules), **fields)

    def host(self, name: str = "host", **fields: Any) -> str:
        """Add a ``process.host``; returns its id."""
        return self.entry(name, "process.host", **fields)

    def file(self, name: str, text: str) -> None:
        """Add a file as it stands."""
        self._files[name] = text

    def celery_task(self, name: str, task: str, **options: Any) -> str:
        """Add a ``function.celery``: a Celery task that exists already; options are those of its calls."""
        fields: dict[str, Any] = {"meta": {"options": options}} if options else {}
        return self.entry(name, "function.celery", "", task=task, **fields)

    def write(self, folder: Path) -> Path:
        """Write the definitions into a folder; returns it."""
        folder.mkdir(parents=True, exist_ok=True)
        for namespace, entries in self._trees.items():
            tree = {"version": "1.0", "namespace": namespace, "entries": entries}
            text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
            (folder / f"{namespace}.yaml").write_text(text, "utf-8")
        for name, source in self._files.items():
            (folder / name).write_text(source, "utf-8")
        return folder


class Deployment:
    """Definitions in a folder, a Redis, a client's application beside it, and workers as they are asked for.

    Args:
        project: The definitions.
        folder: Where they are written, and the logs of the workers.
        redis_url: Store, broker and result backend.
        broker_url: Another broker.
        store_url: Another store.
        celery: Settings of Celery, of the client's application and of the workers'.
        settings: Settings of the client's application.
    """

    def __init__(
        self, project: Project, folder: Path, redis_url: str, *, broker_url: str = "", store_url: str = "",
        celery: Mapping[str, Any] | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        self.project = project
        self.folder = folder
        self.redis_url = redis_url
        self.broker_url = broker_url or redis_url
        self.store_url = store_url
        self.celery = dict(celery or {})
        self.config = project.write(folder / "config")
        self.workers: list[WorkerProcess] = []
        self.app = Celery("client", broker=self.broker_url, backend=redis_url, set_as_current=False)
        self.app.conf.update(self.celery)
        settings = {**project.settings, **({"redis_url": store_url} if store_url else {}), **settings}
        self.orchestration = Orchestration(self.app, config=str(self.config), **settings)
        self.client = Client(self.app)

    def worker(self, config: Path | None = None, **options: Any) -> WorkerProcess:
        """Start a worker; other arguments are those of :func:`tests.support.workers.start_worker`."""
        env = {
            "ORCHESTRATION_CONFIG": str(config or self.config),
            "ORCHESTRATION_TEST_INCLUDE": ",".join(self.project.tasks),
            "ORCHESTRATION_TEST_FOLDER": str(self.folder),
            "ORCHESTRATION_TEST_CELERY": json.dumps(self.celery),
            "CELERY_BROKER_URL": self.broker_url,
            **({"ORCHESTRATION_REDIS_URL": self.store_url} if self.store_url else {}),
            **self.project.env,
            **options.pop("env", {}),
        }
        options.setdefault("pool", self.project.pool)
        options.setdefault("concurrency", self.project.concurrency)
        process = start_worker(
            redis_url=self.redis_url, log_dir=self.folder, app="tests.support.project_app", cwd=ROOT, env=env, **options
        )
        self.workers.append(process)
        return process

    def serving(self, host: str) -> list[str]:
        """The nodes that are given the processes of a host; one that was killed is for another moment."""
        return self.orchestration.runtime.store("default").actors.serving(host)

    def wait_for_hosts(self, *hosts: str) -> None:
        """Wait until hosts are served: with a prefork pool in a process that starts after the worker is ready."""
        for host in hosts:
            wait_until(partial(self.serving, host), deadline_s=60, every_s=0.05, message=f"{host} is served")

    def replay_all(self) -> None:
        """Replay the history of every run that is kept.

        Raises:
            AssertionError: Some do not replay.
        """
        with contextlib.suppress(RegistryError):  # a deployment that was never meant to work
            problems = replay_store(self.client)
            assert not problems, "these runs do not replay:\n" + "\n".join(problems)

    def close(self) -> None:
        """Kill the workers, let the connections go."""
        for process in self.workers:
            process.kill()
        with contextlib.suppress(RegistryError):
            self.orchestration.runtime.close()
        self.app.close()


@contextlib.contextmanager
def deployed(project: Project, folder: Path, redis_url: str, **settings: Any) -> Iterator[Deployment]:
    """A deployment for the time of a block."""
    deployment = Deployment(project, folder, redis_url, **settings)
    try:
        yield deployment
        if is_replaying_everything():
            deployment.replay_all()
    finally:
        deployment.close()
