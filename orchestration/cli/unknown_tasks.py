"""Entries whose Celery task an application has not got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration.registry import Problem, Registry

__all__ = ["unknown_tasks"]


def unknown_tasks(app: Any, registry: Registry) -> list[Problem]:
    """Entries whose Celery task this application has not got; another one's workers may have it."""
    from orchestration.registry import FunctionCelery, Problem
    from orchestration.registry.problems import close_matches

    app.finalize()
    app.loader.import_default_modules()
    own = {entry.id for entry in registry.entries}
    known = [name for name in app.tasks if name not in own and not name.startswith(("celery.", "orchestration."))]
    return [
        Problem(
            file=entry.location.file, line=entry.location.line, entry=entry.id, field="task", value=repr(entry.task),
            what="this application has no such task",
            cure=close_matches(entry.task, known, otherwise="nothing to do if a worker of another application has it"),
        )
        for entry in registry.of(FunctionCelery)
        if entry.task is not None and entry.task not in known
    ]  # fmt: skip
