"""The dictionary ``ORCHESTRATION`` of Django's settings.

Keys are the engine's settings without their prefix (``{"retention_ms": "30d"}``), and those of
:class:`DjangoSettings`. Upper case is fine too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

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
from orchestration.settings import parse_duration_ms

__all__ = ["DjangoSettings", "Problem", "find_trees", "read_settings"]

_SECOND: Final = 1000
_DAY: Final = 24 * 60 * 60 * _SECOND


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with the dictionary.

    Attributes:
        text: What, beginning with the key.
        hint: What to do about it.
    """

    text: str
    hint: str = ""


def _setting(default: Any, meaning: str, low: int = 0, high: int = 0) -> Any:
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class DjangoSettings:
    """What the integration itself is told; see the meaning of each field."""

    app: str = _setting(
        "", "Where the Celery application stands, as `module:name`. Empty: `celery` beside the settings module."
    )
    app_folder: str = _setting(
        "workflows", "Folder of installed apps in which definitions are looked for. Empty: none."
    )
    outbox_databases: tuple[str, ...] = _setting(
        ("default",), "Databases whose outbox workers send: those that are named by `using=`."
    )
    outbox_interval_ms: int = _setting(
        1 * _SECOND, "How often a worker looks for what a web process has left in the outbox.", 50, 3600 * _SECOND
    )
    outbox_batch: int = _setting(50, "Most workflows that are looked after at a time.", 1, 1000)
    outbox_attempts: int = _setting(
        20, "Attempts after which an entry is dead: kept and shown, and sent again only by hand.", 1, 1000
    )
    outbox_retention_ms: int = _setting(1 * _DAY, "How long an entry that was sent is kept.", 0, 3650 * _DAY)
    outbox_immediate: bool = _setting(
        True, "Try to send right after the commit, in the process that committed; else workers do it."
    )
    engine: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the engine that are given, by name without prefix."""


_OWN: Final = tuple(f.name for f in dataclasses.fields(DjangoSettings) if f.name != "engine")


def read_settings(given: Any = None) -> tuple[DjangoSettings, list[Problem]]:
    """Read the dictionary.

    Args:
        given: The dictionary; None: Django's setting.

    Returns:
        What could be read, and everything that is wrong.
    """
    if given is None:
        from django.conf import settings

        given = getattr(settings, NAME, {})
    if not isinstance(given, Mapping):
        return DjangoSettings(), [Problem(f"{NAME} is a {type(given).__name__}: it must be a dictionary")]
    problems: list[Problem] = []
    own: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    for key, value in given.items():
        name = key_of(key)
        if name in own or name in engine:
            problems.append(Problem(f"{NAME}[{key!r}]: it is given twice, in upper and in lower case"))
        elif name in _OWN:
            try:
                own[name] = _convert(name, value)
            except ValueError as error:
                problems.append(Problem(f"{NAME}[{key!r}] = {value!r:.100}: {error}"))
        elif name in ENGINE_SETTINGS:
            engine[name] = value
        else:
            hint = close_to(name, (*_OWN, *ENGINE_SETTINGS)) or "docs/how-to/django.md lists the keys."
            problems.append(Problem(f"{NAME}[{key!r}]: there is no such setting", hint))
    problems += [Problem(text) for text in engine_problems(engine)]
    return DjangoSettings(**own, engine=engine), problems


def checked_settings() -> DjangoSettings:
    """The dictionary, when nothing is wrong with it.

    Raises:
        ConfigError: Something is; every problem is in the message.
    """
    found, problems = read_settings()
    if problems:
        raise ConfigError("; ".join(f"{problem.text}. {problem.hint}".strip(". ") for problem in problems))
    return found


def _convert(name: str, value: Any) -> Any:
    default = DjangoSettings.__dataclass_fields__[name]
    kind = default.type
    if kind == "str":
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {type(value).__name__}")
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise ValueError("must be True or False")
        return value
    if name == "outbox_databases":
        return _databases(value)
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    number = parse_duration_ms(value) if name.endswith("_ms") else value
    if not isinstance(number, int):
        raise ValueError("must be a whole number")
    low, high = default.metadata["low"], default.metadata["high"]
    if not low <= number <= high:
        raise ValueError(f"must be {low:,} to {high:,}")
    return number


def _databases(value: Any) -> tuple[str, ...]:
    from django.conf import settings

    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError("must be a list of aliases of DATABASES")
    names = tuple(value)
    missing = [name for name in names if name not in settings.DATABASES]
    if missing or not names:
        raise ValueError(f"must name databases of DATABASES, which are {', '.join(settings.DATABASES) or 'none'}")
    return names


def find_trees(found: DjangoSettings) -> list[str]:
    """Trees of definitions: those of ``config``, then the folders of installed apps that have any.

    Raises:
        AppRegistryNotReady: Installed apps are asked for while Django is still loading them.
    """
    from django.conf import settings

    base = Path(getattr(settings, "BASE_DIR", "."))
    trees = [str(base / path) for path in paths_of(found.engine.get("config"))]
    return list(dict.fromkeys([*trees, *_app_trees(found.app_folder)]))


def _app_trees(name: str) -> Iterator[str]:
    if not name:
        return
    import django
    from django.apps import apps

    if not apps.apps_ready and not apps.loading:  # whoever is first: a worker, a script
        django.setup()
    for config in apps.get_app_configs():
        folder = Path(config.path) / name
        if has_definitions(folder):
            yield str(folder)
