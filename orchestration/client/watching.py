"""Looks at a workflow again and again, and tells what has changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from orchestration.client.arguments import wait_seconds
from orchestration.client.description import Description
from orchestration.types import RunId

if TYPE_CHECKING:
    from orchestration.client.handle import WorkflowHandle

__all__ = ["Watch", "pause_seconds", "watch"]

_SHORTEST_S: Final = 0.05


class Watch:
    """What a watcher has seen of a workflow.

    Args:
        handle: The workflow, or one run of it.
    """

    def __init__(self, handle: WorkflowHandle) -> None:
        self._handle = handle
        self._run: RunId | None = None
        self._seen: Description | None = None
        self._is_over = False

    def is_over(self) -> bool:
        """Whether the workflow has ended, and its end was told."""
        return self._is_over

    @property
    def run_id(self) -> RunId:
        """The run that is looked at."""
        if self._run is None:
            self._run = self._handle.run_id
        return self._run

    def look(self) -> Iterator[Description]:
        """What has changed since the last look: nothing, or a state, or the end of a run and the one that follows."""
        while not self._is_over:
            seen = self._handle._of_run(self.run_id).describe()
            if seen != self._seen:
                self._seen = seen
                yield seen
            if not seen.closed_ms:
                return
            if seen.next_run_id:
                self._run = RunId(seen.next_run_id)
            else:
                self._is_over = True


def pause_seconds(every: Any) -> float:
    """The time between two looks.

    Raises:
        TypeError: It is neither a number nor a timedelta.
        ValueError: It is shorter than 50 ms.
    """
    seconds = wait_seconds(every)
    if seconds is None or seconds < _SHORTEST_S:
        raise ValueError(f"a workflow is looked at every 0.05 s at most, not every {every!r}")
    return seconds


def watch(handle: WorkflowHandle, every: float | timedelta) -> Iterator[Description]:
    """See :meth:`WorkflowHandle.watch`."""
    pause_s = pause_seconds(every)
    watched = Watch(handle)
    while True:
        run_id = watched.run_id
        ending = handle._when_ended(run_id)  # before the look: no end is missed
        try:
            while not watched.is_over() and watched.run_id == run_id:
                yield from watched.look()
                if not watched.is_over() and watched.run_id == run_id:
                    ending.wait(pause_s)
        finally:
            ending.close()
        if watched.is_over():
            return
