"""Functions that are not Lua: existing Celery tasks, and Python callables."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from orchestration.core.call_options import split_arguments
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
    """An existing Celery task under an entry id, or a whole canvas of them.

    Attributes:
        task: Name of the Celery task.
        canvas: ``package.module:factory`` instead: called with the arguments, it makes the signature, chain, group or
            chord that is run.
        queue: Celery queue it is sent to; None leaves it to Celery's routing. Of a canvas: that of the task which makes
            it, else the workflow's.
        kwargs: A table with names that is the last argument of a call becomes keyword arguments.
    """

    ONE_OF: ClassVar[tuple[str, ...]] = ("task", "canvas")

    task: Name | None = None
    canvas: Annotated[Name, AfterValidator(check_callable)] | None = None
    queue: Name | None = None
    kwargs: bool = False

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        if (self.task is None) == (self.canvas is None):
            what = "has neither 'task' nor 'canvas'" if self.task is None else "has both 'task' and 'canvas'"
            raise fault(what, "write 'task: name.of.the.task', or 'canvas: package.module:factory'")
        return self

    @property
    def task_name(self) -> str:
        """Name of the Celery task that is called; a canvas has one of its own, of the entry's id."""
        return self.task or self.id

    def arguments(self, args: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of a call."""
        return split_arguments(args, keywords=self.kwargs)


@record
class FunctionPython(_Function):
    """A Python callable, served as a Celery task of the entry's id. It is not imported while loading.

    Attributes:
        callable: ``package.module:function``.
    """

    callable: Annotated[Name, AfterValidator(check_callable)]
