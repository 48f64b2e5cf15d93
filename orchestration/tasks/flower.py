"""Tells Flower, when this process is about to run it, that there are workflows to show."""

from __future__ import annotations

import importlib
import sys
from typing import Final

__all__ = ["offer_dashboard"]

_DASHBOARD: Final = "orchestration.dashboard"
"""Named by text, as an entry point would be: it stands above this layer, and needs Flower."""


def offer_dashboard() -> None:
    """Have a Flower that is made from now on show workflows.

    Celery imports every command that is installed, Flower's too, before it loads the application. So this costs a
    process that is no ``celery`` command nothing, and any other command a module of a few lines.
    """
    command = sys.modules.get("flower.command")
    if command is not None:
        importlib.import_module(_DASHBOARD).install(command)
