"""Functions that are not Lua: existing Celery tasks, and Python callables."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import Name, Reference, fault, record
from orchestration.registry.kinds.lua import _ACTIVITY_WORKER, _Options, activity_links

__all__ = ["FunctionCelery", "FunctionPython", "check_callable"]


def check_callable(value: str) -> str:
    """Refuse what cannot be the name of something in a Python module."""
    module, colon, function = value.partition(":")
    names = [*module.split("."), *function.split(".")]
    if not colon or not all(name.isidentifier() and not keyword.iskeyword(name) for name in names):
        raise fault("is no Python callable", "write 'package.module:function'")
    return value


@record
class _Function(_Options, Entry):
    META_FIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({"@activity_worker": _ACTIVITY_WORKER})

    activity_worker: Reference | None = Field(default=None, validation_alias="@activity_worker")

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from activity_links(self.activity_worker)


@record
class FunctionCelery(_Function):
    """An existing Celery task under an entry id.

    Attributes:
        task: Name of the Celery task.
        queue: Celery queue it is sent to; None leaves it to Celery's routing.
    """

    task: Name
    queue: Name | None = None


@record
class FunctionPython(_Function):
    """A Python callable, served as a Celery task of the entry's id. It is not imported while loading.

    Attributes:
        callable: ``package.module:function``.
    """

    callable: Annotated[Name, AfterValidator(check_callable)]
