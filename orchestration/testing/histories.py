"""Recorded histories beside the code: exported by ``orchestration history ID --json``, replayed by a test."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.core import replay as core_replay
from orchestration.core.bundle import Bundle
from orchestration.core.machine import Machine
from orchestration.errors import CorruptHistoryError, OrchestrationError
from orchestration.registry import Registry, load_registry

if TYPE_CHECKING:
    from orchestration.client import WorkflowHandle

__all__ = ["RecordedHistory", "read_history", "replay", "replay_histories"]

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedHistory:
    """A run as it was recorded.

    Attributes:
        type: Entry id of its code.
        events: Encoded events, oldest first.
        bundle: The code it ran on; None when it was stored nowhere.
        workflow_id: Name of the workflow.
        run_id: The run of it.
        status: When it was recorded.
    """

    type: str
    events: tuple[bytes, ...]
    bundle: Bundle | None = None
    workflow_id: str = ""
    run_id: str = ""
    status: str = ""


def read_history(source: RecordedHistory | WorkflowHandle | str | Path | Iterable[str]) -> RecordedHistory:
    """Read a history.

    Args:
        source: Path of a file with the lines of ``orchestration history ID --json``, those lines, or a handle.

    Raises:
        CorruptHistoryError: It is no history in this form.
        OSError: There is no such file.
    """
    if isinstance(source, RecordedHistory):
        return source
    if isinstance(source, (str, Path)):
        where, lines = str(source), Path(source).read_text("utf-8").splitlines()
    elif isinstance(source, Iterable):
        where, lines = "the history", list(source)
    else:
        return _of_handle(source)
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise CorruptHistoryError(f"{where} is empty: record one with orchestration history ID --json")
    try:
        _, first = numbered[0]
        head = json.loads(first)
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            raise CorruptHistoryError(f"{where}, line 1: not a history of format {_FORMAT}")
        code = head.get("bundle")
        found: list[bytes] = []
        for number, line in numbered[1:]:
            event = json.loads(line)
            if event["number"] != len(found) + 1:
                raise CorruptHistoryError(f"{where}, line {number}: event {event['number']} follows {len(found)}")
            found.append(base64.b64decode(event["bytes"], validate=True))
        return RecordedHistory(
            type=head["type"], events=tuple(found), bundle=Bundle.decode(base64.b64decode(code)) if code else None,
            workflow_id=head.get("workflow_id", ""), run_id=head.get("run_id", ""), status=head.get("status", ""),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise CorruptHistoryError(
            f"{where} is no history as orchestration history ID --json prints it: {type(error).__name__}: {error}"
        ) from error


def replay(
    history: RecordedHistory | WorkflowHandle | str | Path | Iterable[str],
    bundle: Bundle | None = None,
    *,
    config: Registry | str | Path | Iterable[str | Path] | None = None,
) -> RecordedHistory:
    """Run a recorded history through code: would the run go the same way?

    Args:
        history: What :func:`read_history` takes.
        bundle: The code; None: that of ``config``, else the one that the history was recorded on.
        config: Definitions, as paths or loaded: the entry of the history's type is taken from there.

    Returns:
        The history.

    Raises:
        NondeterminismError: The code asks for something else than the history says; the error has the number of the
            event, both sides, and the line of Lua.
        CorruptHistoryError: The history cannot be read.
        EntryNotFoundError: The definitions have no entry of the history's type.
        SandboxError: The code cannot be compiled, or leaves its limits.
    """
    recorded = read_history(history)
    code = bundle
    if code is None and config is not None:
        code = _registry(config).bundle(recorded.type)
    code = code or recorded.bundle
    if code is None:
        raise OrchestrationError(f"the history of {recorded.type} has no code with it: give a bundle, or config")
    machine = Machine(code)
    try:
        core_replay.replay(machine, recorded.events)
    finally:
        machine.close()
    return recorded


def replay_histories(
    folder: str | Path, *, config: Registry | str | Path | Iterable[str | Path] | None = None, pattern: str = "*.jsonl"
) -> Callable[[Path], None]:
    """Make a test for each recorded history of a folder.

    Args:
        folder: Searched with all below it.
        config: Definitions against which they are replayed; None: the code that each was recorded on.
        pattern: Names of the files.

    Returns:
        A parametrized test, to be given a name: ``test_histories = replay_histories(folder, config="config")``

    Raises:
        ValueError: There are no files of this pattern: a folder that was moved must not let all tests pass.
    """
    import pytest

    files = sorted(Path(folder).rglob(pattern))
    if not files:
        raise ValueError(f"no recorded histories ({pattern}) in {folder}")
    loaded: list[Registry] = []

    def check(history_file: Path) -> None:
        if config is not None and not loaded:
            loaded.append(_registry(config))
        replay(history_file, config=loaded[0] if loaded else None)

    names = [str(file.relative_to(folder)) for file in files]
    made: Any = pytest.mark.parametrize("history_file", files, ids=names)(check)
    return made  # type: ignore[no-any-return]


def _registry(config: Registry | str | Path | Iterable[str | Path]) -> Registry:
    if isinstance(config, Registry):
        return config
    return load_registry(config if isinstance(config, (str, Path)) else list(config))


def _of_handle(handle: WorkflowHandle) -> RecordedHistory:
    seen, code = handle.describe(), handle.code()
    return RecordedHistory(
        type=seen.type, events=tuple(handle.raw_history()), bundle=Bundle.decode(code) if code is not None else None,
        workflow_id=seen.workflow_id, run_id=seen.run_id, status=seen.status,
    )  # fmt: skip
