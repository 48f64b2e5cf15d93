"""The extension in a Django project: settings, definitions and connections as Django has them."""

from __future__ import annotations

import contextlib
import importlib
import os
import weakref
from collections import ChainMap
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from celery import Celery

from orchestration.client import AsyncClient, Client
from orchestration.errors import ConfigError
from orchestration.integrations.dictionary import paths_of
from orchestration.integrations.django.conf import DjangoSettings, checked_settings, find_trees
from orchestration.settings import CONF_PREFIX, Settings
from orchestration.tasks.app import Orchestration

__all__ = ["DjangoOrchestration", "async_client", "client", "project_orchestration"]

_made: weakref.ref[Orchestration] | None = None
_stand_in: Orchestration | None = None


class DjangoOrchestration(Orchestration):
    """Durable workflows for the Celery application of a Django project.

    Settings come from the dictionary ``ORCHESTRATION`` (over it go environment variables, as everywhere), definitions
    from the folders ``workflows/`` of installed apps and from ``ORCHESTRATION["config"]``. Workers send what is in the
    outbox.

    Args:
        app: The application, with ``app.config_from_object("django.conf:settings", namespace="CELERY")``.
        settings: Settings that win over everything, by name without prefix.

    Example:
        ::

            app = Celery("shop")
            app.config_from_object("django.conf:settings", namespace="CELERY")
            app.autodiscover_tasks()
            DjangoOrchestration(app)
    """

    def __init__(self, app: Celery, **settings: Any) -> None:
        global _made
        super().__init__(app, **settings)
        from orchestration.integrations.django.pump import OutboxStep

        self._django: DjangoSettings | None = None
        app.steps["worker"].add(OutboxStep)
        _made = weakref.ref(self)

    @property
    def django(self) -> DjangoSettings:
        """The checked settings of the integration itself."""
        with self._lock:
            if self._django is None:
                self._django = checked_settings()
            return self._django

    @property
    def settings(self) -> Settings:
        """The checked settings."""
        with self._lock:
            if self._settings is None:
                found = self.django
                conf = ChainMap({CONF_PREFIX + name: value for name, value in found.engine.items()}, self.app.conf)
                trees = find_trees(found)
                if "config" not in found.engine:  # of Celery's own configuration
                    trees = [*paths_of(self.app.conf.get(f"{CONF_PREFIX}config")), *trees]
                self._settings = Settings.from_celery(conf, config=trees, **self._arguments)
            return self._settings

    def around_code(self, where: str) -> AbstractContextManager[None]:
        """Database connections that are too old or broken are closed before and after; all, where a thread ends."""
        return nullcontext() if where == "async process" else _connections(ends=where == "local")


@contextlib.contextmanager
def _connections(*, ends: bool) -> Iterator[None]:
    from django.db import close_old_connections, connections

    close_old_connections()
    try:
        yield
    finally:
        if ends:
            connections.close_all()
        else:
            close_old_connections()


def project_orchestration() -> Orchestration:
    """The extension of this project.

    Raises:
        ConfigError: The Celery application cannot be found, or has no ``DjangoOrchestration``.
    """
    if _stand_in is not None:
        return _stand_in
    named = checked_settings().app
    if named:
        return _of(_load(named), named)
    made = _made() if _made is not None else None
    if made is not None:
        return made
    package = os.environ.get("DJANGO_SETTINGS_MODULE", "").rpartition(".")[0]
    name = f"{package}.celery" if package else "celery_app"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    made = _made() if _made is not None else None
    if made is None:
        raise ConfigError(
            f"the Celery application of this project is not in {name}: name it in ORCHESTRATION[\"app\"], as "
            "\"module:name\", and have DjangoOrchestration(app) where it is made"
        )
    return made


def _load(named: str) -> Any:
    module, _, attribute = named.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute or "app")
    except (ImportError, AttributeError) as error:
        raise ConfigError(f'ORCHESTRATION["app"] = {named!r}: {error}') from error


def _of(app: Any, named: str) -> Orchestration:
    found = getattr(app, "orchestration", None)
    if not isinstance(found, Orchestration):
        raise ConfigError(f"{named} has no workflows: add `DjangoOrchestration(app)` where it is made")
    return found


@contextlib.contextmanager
def standing_in(orchestration: Orchestration) -> Iterator[None]:
    """Let another one take the place of the project's, for tests."""
    global _stand_in
    before, _stand_in = _stand_in, orchestration
    try:
        yield
    finally:
        _stand_in = before


def client(namespace: str | None = None) -> Client:
    """A client of the project's workflows, for everything that needs no transaction.

    Args:
        namespace: Of the workflows to be found; None: the application's.
    """
    return Client(project_orchestration(), namespace=namespace)


def async_client(namespace: str | None = None) -> AsyncClient:
    """The same for async views. It is bound to no event loop: make one wherever it is needed.

    Args:
        namespace: Of the workflows to be found; None: the application's.
    """
    return AsyncClient(project_orchestration(), namespace=namespace)
