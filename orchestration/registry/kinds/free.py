"""Entries with free data, and entries that this runtime knows of but does not serve."""

from __future__ import annotations

from pydantic import Field

from orchestration.registry.entry import Entry
from orchestration.registry.fields import FrozenMap, record

__all__ = ["RegistryEntry", "UnsupportedEntry"]


@record
class RegistryEntry(Entry):
    """Application settings; nothing is started.

    Attributes:
        values: The data with placeholders replaced.
    """

    values: FrozenMap = Field(validation_alias="@values", default_factory=dict)


@record
class UnsupportedEntry(Entry):
    """An entry of a kind that is out of scope; it is kept and has no effect."""
