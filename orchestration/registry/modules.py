"""Built-in Lua modules by name: which there are, and which a workflow may use."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALWAYS_PRESENT",
    "AVAILABLE_MODULES",
    "KNOWN_MODULES",
    "LEFT_OUT_MODULES",
    "REFUSED_IN_WORKFLOWS",
]

ALWAYS_PRESENT: Final = frozenset(
    {"channel", "coroutine", "errors", "math", "os", "payload", "process", "string", "table"}
)
"""Present without being listed; listing them is harmless."""

AVAILABLE_MODULES: Final = ALWAYS_PRESENT | {
    "base64",
    "contract",
    "crypto",
    "ctx",
    "env",
    "events",
    "funcs",
    "hash",
    "http_client",
    "json",
    "logger",
    "metrics",
    "queue",
    "registry",
    "security",
    "sql",
    "store",
    "text",
    "time",
    "uuid",
    "workflow",
    "yaml",
}
"""What code may list in this release."""

LEFT_OUT_MODULES: Final = frozenset(
    {
        "cdc",
        "cloudstorage",
        "compress",
        "eval",
        "excel",
        "exec",
        "expr",
        "fs",
        "html",
        "http",
        "hub",
        "io",
        "pg",
        "stream",
        "system",
        "template",
        "templates",
        "treesitter",
        "tty",
        "websocket",
    }
)
"""Modules of the reference runtime that this one does not have."""

KNOWN_MODULES: Final = AVAILABLE_MODULES | LEFT_OUT_MODULES
"""Every name that is not a mistake."""

REFUSED_IN_WORKFLOWS: Final = frozenset(
    {
        "cdc",
        "cloudstorage",
        "contract",
        "env",
        "eval",
        "events",
        "excel",
        "exec",
        "fs",
        "http",
        "http_client",
        "hub",
        "io",
        "logger",
        "metrics",
        "pg",
        "queue",
        "registry",
        "security",
        "sql",
        "store",
        "stream",
        "system",
        "tty",
        "websocket",
    }
)
"""Modules whose effects cannot be recorded, or whose answers cannot be replayed."""
