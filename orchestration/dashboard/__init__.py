"""Pages about workflows in Flower, and a JSON API beside them.

Nothing is started for them: ``celery -A celery_app flower`` loads the application first, and an application with
``Orchestration(app)`` then puts its pages into the Flower that is made next. Everything is read and done through
:mod:`orchestration.client`, in threads, so that Flower's event loop never waits.
"""

from __future__ import annotations

from typing import Any

__all__ = ["install"]


def install(command: Any) -> None:
    """Have the Flower that a command makes show workflows; safe to repeat.

    Args:
        command: The module ``flower.command``.
    """
    original = command.Flower
    if getattr(original, "shows_workflows", False):
        return

    def make_flower(*args: Any, **kwargs: Any) -> Any:
        from orchestration.dashboard.joining import join_flower

        flower = original(*args, **kwargs)
        join_flower(flower)
        return flower

    make_flower.shows_workflows = True  # type: ignore[attr-defined]
    command.Flower = make_flower
