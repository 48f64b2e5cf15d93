"""Django: workflows started in transactions, found in installed apps, seen and steered in the admin.

Add ``"orchestration.integrations.django"`` to ``INSTALLED_APPS``, and ``DjangoOrchestration(app)`` where the Celery
application is made. See ``docs/how-to/django.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration.integrations.django.application import (
        DjangoOrchestration,
        async_client,
        client,
        project_orchestration,
    )
    from orchestration.integrations.django.outbox import (
        acancel,
        asignal,
        astart_workflow,
        cancel,
        signal,
        signal_with_start,
        start_workflow,
    )

__all__ = [
    "DjangoOrchestration",
    "acancel",
    "asignal",
    "astart_workflow",
    "async_client",
    "cancel",
    "client",
    "project_orchestration",
    "signal",
    "signal_with_start",
    "start_workflow",
]

_APPLICATION = {"DjangoOrchestration", "async_client", "client", "project_orchestration"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: the outbox has a model, and needs Django to be set up."""
    import importlib

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "application" if name in _APPLICATION else "outbox"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
