"""Puts the pages into a Flower: handlers, templates and the tab, as far as this Flower's version allows."""

from __future__ import annotations

import importlib.metadata
import logging
from typing import Any, Final

from orchestration.dashboard.templates import FlowerLoader, TemplateProblem

__all__ = ["TESTED_VERSIONS", "join_flower"]

logger = logging.getLogger(__name__)

TESTED_VERSIONS: Final = ("2.2",)
"""Releases of Flower that the pages are tested with, by the beginning of their versions."""


def join_flower(flower: Any) -> None:
    """Add the pages to a Flower that has been made.

    With a version that is not tested, or whose templates are not as expected, the pages have a frame of their own and
    there is no tab; with one that lacks what guards its pages there are none. Either is said in one warning.

    Args:
        flower: The Tornado application, with its Celery application as ``capp``.
    """
    if getattr(flower.capp, "orchestration", None) is None:
        return
    version = importlib.metadata.version("flower")
    try:
        _join(flower, version)
    except Exception:
        logger.warning("Flower %s shows no workflows: its pages could not be added", version, exc_info=True)


def _join(flower: Any, version: str) -> None:
    from orchestration.dashboard.access import check_guard
    from orchestration.dashboard.routes import rules

    check_guard(flower)
    path = flower.settings["template_path"]
    loader = FlowerLoader(path)
    problem = "" if _is_tested(version) else f"this release is tested with {', '.join(TESTED_VERSIONS)}"
    if not problem:
        try:
            loader.check()
        except TemplateProblem as error:
            problem = str(error)
    if problem:
        logger.warning(
            "Flower %s: workflows are shown at %s, without a tab and without Flower's frame: %s",
            version, f"{_prefix(flower)}/workflows", problem,
        )  # fmt: skip
        loader = FlowerLoader(path, has_frame=False)
        loader.check()
    flower.settings["template_loader"] = loader
    flower.add_handlers(".*$", rules(_prefix(flower), flower.capp.orchestration))


def _is_tested(version: str) -> bool:
    return any(version == known or version.startswith(f"{known}.") for known in TESTED_VERSIONS)


def _prefix(flower: Any) -> str:
    prefix = (flower.options.url_prefix or "").strip("/")
    return f"/{prefix}" if prefix else ""
