"""What of the logs a command shows."""

from __future__ import annotations

import logging
import sys

from orchestration.cli.output import note

__all__ = ["configure_logging"]


class _OnceHandler(logging.Handler):
    """Says each warning once: a Redis that is away would else be said every second."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg) not in self._told:
            self._told.add(str(record.msg))
            note(f"note: {record.getMessage()} ...")


def configure_logging(*, is_debug: bool) -> None:
    """Logs of this package go to stderr: all with ``--debug``, else only what explains a wait."""
    logger = logging.getLogger("orchestration")
    if is_debug:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
        logger.setLevel(logging.DEBUG)
        return
    waits = logging.getLogger("orchestration.store.connection")
    if not waits.handlers:
        waits.addHandler(_OnceHandler())
        logger.addHandler(logging.NullHandler())  # else Python prints warnings that nobody handles
