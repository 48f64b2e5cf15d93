"""Modules of Lua's library whose work is done in Python; each is imported when its first function is called."""

from __future__ import annotations

import importlib
from typing import Final

__all__ = ["provide"]

_HOMES: Final = {
    "base64": ("hashing",),
    "crypto": ("hashing", "encryption", "tokens"),
    "hash": ("hashing",),
    "json": ("json_text", "json_schema"),
    "regexp": ("regexp",),
    "time": ("zones", "layouts", "layout_reader"),
    "yaml": ("yaml_text",),
}
_LATE: Final = {
    "crypto.compare": ("hashing",),
    "crypto.pbkdf2": ("hashing",),
    "json.decode": ("json_text",),
    "json.encode": ("json_text",),
    "time.offset": ("zones",),
}
"""Functions that need less than their whole family; the rest of it is slow to import."""


def provide(name: str) -> None:
    """Import what registers a host function, such as ``hash.digest``; an unknown name does nothing."""
    for module in _LATE.get(name) or _HOMES.get(name.partition(".")[0], ()):
        importlib.import_module(f"{__name__}.{module}")
