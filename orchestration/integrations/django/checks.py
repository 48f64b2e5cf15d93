"""What Django's system checks say about the settings and the definitions."""

from __future__ import annotations

from typing import Any

from django.core import checks

from orchestration.errors import ConfigError, OrchestrationError, RegistryError
from orchestration.integrations.django.application import project_orchestration
from orchestration.integrations.django.conf import read_settings

__all__ = ["check_definitions", "check_settings"]


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """``orchestration.E001``: something in the dictionary ``ORCHESTRATION`` cannot be."""
    _found, problems = read_settings()
    return [checks.Error(problem.text, hint=problem.hint or None, id="orchestration.E001") for problem in problems]


def check_definitions(**_: Any) -> list[checks.CheckMessage]:
    """``orchestration.E002``: no Celery application; ``E003``: mistakes in definitions; ``W001``: there are none."""
    if read_settings()[1]:
        return []  # told already
    try:
        orchestration = project_orchestration()
        registry = orchestration.registry
    except RegistryError as error:
        return [checks.Error(f"the workflow definitions have mistakes: {error}", id="orchestration.E003")]
    except ConfigError as error:
        return [checks.Error(str(error), id="orchestration.E002")]
    except OrchestrationError as error:
        return [checks.Error(str(error), id="orchestration.E003")]
    if not len(registry):
        return [
            checks.Warning(
                "no workflow is defined",
                hint="Put YAML and Lua files into the folder 'workflows' of an app, or name folders in "
                'ORCHESTRATION["config"].',
                id="orchestration.W001",
            )
        ]
    return []
