"""The extension: ``Workflows().init_app(app)``."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

from celery import Celery, Task
from flask import Flask, current_app, has_app_context

from orchestration.client import AsyncClient, Client
from orchestration.errors import ConfigError
from orchestration.integrations.dictionary import (
    ENGINE_SETTINGS,
    NAME,
    close_to,
    engine_problems,
    has_definitions,
    key_of,
    paths_of,
)
from orchestration.settings import CONF_PREFIX, Settings
from orchestration.tasks.app import Orchestration

__all__ = ["FlaskOrchestration", "Workflows"]

_EXTENSION: Final = "orchestration"
_FOLDER: Final = "workflows"


class FlaskOrchestration(Orchestration):
    """Durable workflows for the Celery application of a Flask application; made by :class:`Workflows`.

    Args:
        app: The Celery application.
        flask_app: The Flask application.
        settings: Settings that win over everything, by name without prefix.
    """

    def __init__(self, app: Celery, flask_app: Flask, **settings: Any) -> None:
        super().__init__(app, **settings)
        self.flask_app = flask_app

    @property
    def settings(self) -> Settings:
        """The checked settings."""
        with self._lock:
            if self._settings is None:
                engine = _read(self.flask_app.config.get(NAME, {}))
                conf = ChainMap({CONF_PREFIX + name: value for name, value in engine.items()}, self.app.conf)
                given = engine.get("config", self.app.conf.get(f"{CONF_PREFIX}config"))
                root = Path(self.flask_app.root_path)
                trees = [str(root / path) for path in paths_of(given)]
                trees = list(dict.fromkeys([*trees, *_trees(self.flask_app)]))
                self._settings = Settings.from_celery(conf, config=trees, **self._arguments)
            return self._settings

    def around_code(self, where: str) -> AbstractContextManager[None]:
        """The application's context, unless the code is in it already."""
        del where
        if has_app_context() and current_app._get_current_object() is self.flask_app:  # type: ignore[attr-defined]
            return nullcontext()
        context: AbstractContextManager[Any] = self.flask_app.app_context()
        return context


class Workflows:
    """Durable workflows in a Flask application.

    The Celery application is the one in ``app.extensions["celery"]``, as Flask's documentation has it; without one it
    is made from ``app.config["CELERY"]``, with tasks that run in the application's context. Settings of the engine
    stand in ``app.config["ORCHESTRATION"]``; definitions in its ``config``, and in the folders ``workflows/`` of the
    application and of its blueprints.

    Args:
        app: The application; None: ``init_app`` is called later, as often as there are applications.

    Example:
        ::

            workflows = Workflows()

            def create_app():
                app = Flask(__name__)
                app.config["CELERY"] = {"broker_url": "redis://localhost", "result_backend": "redis://localhost"}
                workflows.init_app(app)
                return app
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, celery: Celery | None = None) -> None:
        """Add workflows to an application: its Celery application, its definitions, ``flask workflow``.

        Args:
            app: The application.
            celery: Its Celery application; None: as the class says.

        Raises:
            ConfigError: There is no Celery application and no ``CELERY`` in the configuration, or this application has
                workflows already.
        """
        if _EXTENSION in app.extensions:
            raise ConfigError(f"the Flask application {app.name!r} has workflows already")
        celery = celery or app.extensions.get("celery") or _make_celery(app)
        app.extensions["celery"] = celery
        if getattr(celery, "orchestration", None) is not None:
            raise ConfigError(f"the Celery application {celery.main!r} has workflows already: leave the other line out")
        app.extensions[_EXTENSION] = FlaskOrchestration(celery, app)
        from orchestration.integrations.flask.commands import workflow

        app.cli.add_command(workflow)

    @property
    def orchestration(self) -> FlaskOrchestration:
        """Of the current application.

        Raises:
            RuntimeError: There is no application context.
            ConfigError: The application has no workflows.
        """
        found: FlaskOrchestration | None = current_app.extensions.get(_EXTENSION)
        if found is None:
            raise ConfigError(f"the Flask application {current_app.name!r} has no workflows: call init_app with it")
        return found

    @property
    def client(self) -> Client:
        """A client of the current application's workflows."""
        return Client(self.orchestration)

    @property
    def async_client(self) -> AsyncClient:
        """The same for async views. It is bound to no event loop: take it wherever it is needed."""
        return AsyncClient(self.orchestration)


def _read(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{NAME} is a {type(given).__name__}: it must be a dictionary")
    problems: list[str] = []
    engine: dict[str, Any] = {}
    for key, value in given.items():
        name = key_of(key)
        if name not in ENGINE_SETTINGS:
            problems.append(f"{NAME}[{key!r}]: there is no such setting. {close_to(name, ENGINE_SETTINGS)}".rstrip())
        elif name in engine:
            problems.append(f"{NAME}[{key!r}]: it is given twice, in upper and in lower case")
        else:
            engine[name] = value
    problems += engine_problems(engine)
    if problems:
        raise ConfigError("; ".join(problems))
    return engine


def _trees(app: Flask) -> Iterator[str]:
    for root in (app.root_path, *(blueprint.root_path for blueprint in app.blueprints.values())):
        folder = Path(root) / _FOLDER
        if has_definitions(folder):
            yield str(folder)


def _make_celery(app: Flask) -> Celery:
    """As in Flask's documentation: tasks run in the application's context.

    Source: "Background Tasks with Celery" of Flask 3's documentation.
    """
    if "CELERY" not in app.config:
        raise ConfigError(
            f"the Flask application {app.name!r} has no Celery application: put its configuration into "
            'app.config["CELERY"], or the application itself into app.extensions["celery"]'
        )

    class FlaskTask(Task):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with app.app_context():
                return self.run(*args, **kwargs)

    made = Celery(app.name, task_cls=FlaskTask)
    made.config_from_object(app.config["CELERY"])
    made.set_default()
    return made
