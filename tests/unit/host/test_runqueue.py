"""Few threads run many cells: a short step keeps what it schedules, a long one keeps nobody waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from orchestration.host.runqueue import RunQueue
from tests.support import wait_until


class Cell:
    """Does one thing when it is scheduled."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.is_scheduled = False
        self.queued_at = 0.0
        self.ran_in: list[int] = []
        self._act = act

    def has_work(self) -> bool:
        return False

    def run_step(self) -> None:
        self.ran_in.append(threading.get_ident())
        self._act()


@pytest.fixture
def runqueue() -> Iterator[RunQueue]:
    queue = RunQueue(2)
    warm = [Cell(lambda: time.sleep(0.01)) for _ in range(2)]
    for cell in warm:
        queue.schedule(cell)
    wait_until(lambda: all(cell.ran_in for cell in warm))
    yield queue
    queue.close()


def test_what_a_short_step_schedules_runs_in_the_same_thread(runqueue: RunQueue) -> None:
    answer = Cell(lambda: None)
    asker = Cell(lambda: runqueue.schedule(answer))
    for _ in range(50):
        before = len(answer.ran_in)
        runqueue.schedule(asker)
        wait_until(lambda before=before: len(answer.ran_in) > before)  # type: ignore[misc]
    same = sum(a == b for a, b in zip(asker.ran_in, answer.ran_in, strict=True))
    assert same >= 40  # the others: a step that the machine held up


def test_what_a_long_step_has_scheduled_does_not_wait_for_its_end(runqueue: RunQueue) -> None:
    has_run, gave_up = threading.Event(), []
    answer = Cell(has_run.set)

    def long_step() -> None:
        runqueue.schedule(answer)
        if not has_run.wait(5.0):
            gave_up.append(True)

    runqueue.schedule(Cell(long_step))
    wait_until(has_run.is_set)
    assert not gave_up


def test_many_long_steps_keep_nobody_waiting(runqueue: RunQueue) -> None:
    end = threading.Event()
    for _ in range(4):
        runqueue.schedule(Cell(lambda: end.wait(10.0) and None))
    quick = Cell(lambda: None)
    runqueue.schedule(quick)
    try:
        wait_until(lambda: quick.ran_in)
    finally:
        end.set()
