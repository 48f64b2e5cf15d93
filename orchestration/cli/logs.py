"""What of the logs a command shows."""

from __future__ import annotations

import logging
import sys
import time

from orchestration.cli.output import note

__all__ = ["configure_logging"]


_WORTH_A_NOTE_S = 2.0


class _OnceHandler(logging.Handler):
    """Says to a person who waits what for, once; a program, and who does not wait long, gets the error alone."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        what, now = str(record.msg), time.monotonic()
        waited_s = now - self._since.setdefault(what, now)
        if waited_s >= _WORTH_A_NOTE_S and what not in self._told and sys.stderr.isatty():
            self._told.add(what)
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
