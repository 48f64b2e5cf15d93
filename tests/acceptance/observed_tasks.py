"""What workers of ``test_observing.py`` import: a task, receivers of the signals, structured logs."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.signals import after_setup_logger

from orchestration import signals
from orchestration.errors import ApplicationError
from orchestration.logs import JsonFormatter, RunFilter

logger = logging.getLogger("shop")


@shared_task(name="observed.work")
def work(value: int) -> int:
    logger.info("work is done", extra={"value": value})
    return value + 1


@shared_task(name="observed.fail")
def fail() -> None:
    raise ApplicationError("out of stock: the customer's secret", kind="Conflict", retryable=False)


def _note(sender: Any, signal: Any, **facts: Any) -> None:
    del sender
    with (Path(os.environ["ORCHESTRATION_TEST_FOLDER"]) / "signals.txt").open("a") as file:
        print(signal.name, facts["workflow_id"], facts.get("kind", ""), facts.get("message", ""), sep="|", file=file)


for name in signals.__all__:
    getattr(signals, name).connect(_note, weak=False)


@signals.workflow_completed.connect
def broken(**_: Any) -> None:
    """A receiver that fails hurts nobody."""
    raise RuntimeError("the pager is down")


@after_setup_logger.connect
def in_json(logger: logging.Logger, **_: Any) -> None:
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RunFilter())
    logger.handlers = [handler]
