"""Words to outsiders go no further when they fail."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

__all__ = ["harmless"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")


def harmless(function: Callable[P, None]) -> Callable[P, None]:
    """A function that only tells outsiders something: what it raises is logged, and no run is held up by it."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Exception:
            logger.warning("telemetry failed: %s", function.__qualname__, exc_info=True)

    return guarded
