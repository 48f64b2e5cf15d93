"""What the functions of queue consumers write down."""

from __future__ import annotations

import os
from pathlib import Path

from celery import shared_task


@shared_task(name="queues.note")
def note(name: str, line: str) -> bool:
    path = Path(os.environ["ORCHESTRATION_TEST_FOLDER"]) / f"notes.{name}"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)
    return True
