"""What all verbs of a client work on: the application, and the namespace of its workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery import Celery

from orchestration.errors import ConfigError
from orchestration.tasks.runtime import Runtime

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["Verbs"]


class Verbs:
    """Verbs of a client, of one subject.

    Args:
        app: A Celery application with ``Orchestration(app)``, or that object itself.
        namespace: Of the workflows to be found; None: the application's.

    Raises:
        ConfigError: The application has no ``Orchestration``.
    """

    def __init__(self, app: Celery | Orchestration, *, namespace: str | None = None) -> None:
        orchestration = app if not isinstance(app, Celery) else getattr(app, "orchestration", None)
        if orchestration is None:
            raise ConfigError("this Celery application has no workflows: add `Orchestration(app)` where it is made")
        self._orchestration: Orchestration = orchestration
        self._namespace = namespace

    @property
    def _runtime(self) -> Runtime:
        # The application registers its tasks when it is finalized; a client may be the first to use it.
        self._orchestration.app.finalize()
        return self._orchestration.runtime

    @property
    def namespace(self) -> str:
        """Namespace in which workflows are found."""
        return self._namespace or self._orchestration.settings.namespace
