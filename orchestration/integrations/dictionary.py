"""The engine's settings in a dictionary of a framework's configuration: keys without prefix, upper case or lower."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from orchestration.errors import ConfigError
from orchestration.settings import CONF_PREFIX, Settings

__all__ = ["ENGINE_SETTINGS", "close_to", "engine_problems", "has_definitions", "key_of", "paths_of"]

NAME: Final = "ORCHESTRATION"
ENGINE_SETTINGS: Final = tuple(field.name for field in dataclasses.fields(Settings))
"""Names of the engine's settings."""


def key_of(key: Any) -> str:
    """A key of the dictionary as the name of a setting."""
    return str(key).lower().removeprefix(CONF_PREFIX)


def close_to(name: str, others: tuple[str, ...]) -> str:
    """A hint for a key that is none."""
    close = difflib.get_close_matches(name, others, n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def engine_problems(engine: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with settings of the engine, by name without prefix; each problem begins with its key."""
    told = False
    for name, value in engine.items():
        try:
            Settings.from_celery({CONF_PREFIX + name: value}, env={})
        except ConfigError as error:
            if str(error).startswith(f"{CONF_PREFIX}{name} = "):  # else it disagrees with a default, maybe set too
                told = True
                yield _in_our_words(str(error))
    if not told:
        try:
            Settings.from_celery({CONF_PREFIX + name: value for name, value in engine.items()}, env={})
        except ConfigError as error:
            yield _in_our_words(str(error))


def paths_of(given: Any) -> tuple[str, ...]:
    """A setting ``config`` as a list of paths; None: an empty one."""
    return () if given is None else Settings.from_celery({f"{CONF_PREFIX}config": given}, env={}).config


def has_definitions(folder: Path) -> bool:
    """Whether there is a definition file in a folder or below it."""
    return folder.is_dir() and any(path.suffix in (".yaml", ".yml") for path in folder.rglob("*"))


def _in_our_words(text: str) -> str:
    return re.sub(rf"\b{CONF_PREFIX}(\w+)", lambda match: f"{NAME}[{match[1]!r}]", text)
