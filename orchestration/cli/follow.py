"""Shows a run while it goes on, and waits for its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from orchestration.cli.exits import CliError, Exit
from orchestration.cli.output import ago, console, note, status_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestration.cli.application import Application
    from orchestration.client import Description, PendingActivity, WorkflowHandle
    from orchestration.tasks.runtime import Runtime

__all__ = ["activity_words", "each_change", "follow", "follow_lines"]

_REFRESH_S = 0.25
_UNTAKEN_S = 5.0
_RESULT_S = 30.0


class _View(Protocol):
    def show(self, seen: Description) -> None:
        """Show where the run stands."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def each_change(
    runtime: Runtime, handle: WorkflowHandle, *, timeout_s: float | None, beat_s: float = 1.0
) -> Iterator[Description]:
    """Where a run stands at every change until it has ended; the same object again at each beat without one.

    Raises:
        CliError: It did not end in time.
    """
    from orchestration.client.following import follow_run

    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    beat_s = beat_s if timeout_s is None else min(beat_s, max(timeout_s / 4, 0.01))
    for seen in follow_run(runtime, handle.namespace, handle.run_id, beat_s=beat_s):
        yield seen
        if deadline is not None and time.monotonic() >= deadline and not seen.closed_ms:
            raise CliError(f"workflow {handle.id!r} has not ended within {timeout_s:g} s", Exit.TIMEOUT)


def follow_lines(changes: Iterable[Description]) -> Iterator[Description]:
    """Write a line on stdout for each change."""
    view = _Lines(print)
    for seen in changes:
        view.show(seen)
        yield seen


def follow(
    handle: WorkflowHandle, runtime: Runtime, *, timeout_s: float | None, is_quiet: bool,
    look_after: Callable[[], None], application: Application, has_worker: bool = False,
) -> Any:  # fmt: skip
    """Wait for the end of a run, showing its present step on stderr, and return its result.

    Args:
        handle: The run.
        runtime: Of this process.
        timeout_s: Longest wait; None for ever.
        is_quiet: Show nothing.
        look_after: Called again and again; raises when there is no point in waiting any longer.
        application: The application, for advice.
        has_worker: A worker of this command's own is getting ready, so that one is missing is no news.

    Raises:
        WorkflowFailedError: It ended with an error.
        CliError: It is parked, or did not end in time.
    """
    began = time.monotonic()
    view: _View = _Silence() if is_quiet else _make_view(handle)
    is_told = is_quiet or has_worker
    try:
        for seen in each_change(runtime, handle, timeout_s=timeout_s, beat_s=_REFRESH_S):
            view.show(seen)
            look_after()
            if seen.status == "parked":
                raise CliError(
                    f"workflow {handle.id!r} is parked, {seen.parked}; mend the cause, then "
                    f"`{application.advice(f'retry {handle.id}')}`",
                    Exit.FAILED,
                )
            if not is_told and time.monotonic() - began > _UNTAKEN_S and not seen.history_length:
                command = f"celery -A {application.name} worker"
                note(f"note: no worker has taken it yet; start one with `{command}`, or add --worker")
                is_told = True
    finally:
        view.close()
    return handle.result(timeout=_RESULT_S)


def activity_words(activity: PendingActivity) -> str:
    """A pending activity in a few words: what it is at, and why it is not done."""
    words = f"{activity.target} (attempt {activity.attempt}, {activity.state}"
    if activity.last_failure:
        kind, message = activity.last_failure.get("kind"), activity.last_failure.get("message", "")
        words += f"; last failure {kind}: {message}" if kind else f"; last failure: {message}"
    return words + ")"


def _steps(seen: Description) -> list[tuple[str, str, int]]:
    """Where, waiting for what, since when: one for each coroutine."""
    found = []
    for place in seen.places:
        where = f"{PurePosixPath(place.file).name}:{place.line}" if place.line else ""
        found.append((where, place.waits_for, place.since_ms))
    return found


class _Silence:
    def show(self, seen: Description) -> None:
        del seen

    def close(self) -> None:
        pass


class _Lines:
    """A line for every change, for what is no terminal."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._began = time.monotonic()
        self._last = ""

    def show(self, seen: Description) -> None:
        parts = [f"{where} waits for {waits_for}".strip() for where, waits_for, _ in _steps(seen) if waits_for]
        parts += [activity_words(activity) for activity in seen.pending if activity.last_failure]
        text = f"{seen.workflow_id}  {seen.status}" + "".join(f"  {part}" for part in parts)
        if text != self._last:
            self._last = text
            self._write(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def close(self) -> None:
        pass


class _Screen:
    """A few lines that stay in place, for a terminal; gone at the end."""

    def __init__(self) -> None:
        from rich.live import Live

        self._began = time.monotonic()
        self._live = Live(console=console(stderr=True), transient=True, refresh_per_second=8)
        self._live.start()

    def show(self, seen: Description) -> None:
        self._live.update(self._picture(seen), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _picture(self, seen: Description) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        head = Text(f"{time.monotonic() - self._began:6.1f} s  {seen.workflow_id}  ", no_wrap=True, overflow="ellipsis")
        head.append_text(status_text(seen.status))
        head.append(f"  {seen.history_length} events", "dim")
        lines = [head]
        for where, waits_for, since_ms in _steps(seen):
            line = Text(f"          {where}  ", no_wrap=True, overflow="ellipsis")
            line.append(f"waits for {waits_for}" if waits_for else "runs")
            line.append(f"  since {ago(since_ms)}" if since_ms else "", "dim")
            lines.append(line)
        lines += [
            Text(f"          {activity_words(activity)}", "yellow" if activity.last_failure else "dim")
            for activity in seen.pending
        ]
        return Group(*lines)


def _make_view(handle: WorkflowHandle) -> _View:
    if console(stderr=True).is_terminal:
        return _Screen()
    note(f"workflow {handle.id}, run {handle.run_id}")
    return _Lines(note)
