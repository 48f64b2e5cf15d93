"""Loads the code of every Lua entry once in its sandbox, to find what reading it cannot show."""

from __future__ import annotations

import logging
import re

from orchestration.core import events, payload
from orchestration.core.machine import Machine
from orchestration.errors import SandboxError
from orchestration.registry import FunctionLua, Problem, ProcessLua, Registry, WorkflowLua
from orchestration.registry.modules import AVAILABLE_MODULES
from orchestration.types import Limits

__all__ = ["try_loading"]

_LIMITS = Limits(instructions=10_000_000)
_ENGINE = "[engine]"
_MISSING = re.compile(r"module '([\w.]+)' not found$")


def try_loading(registry: Registry) -> list[Problem]:
    """Problems of entries whose main chunk fails, or has not got the method.

    The code runs without inputs of its own and nothing that it asks for is done; how its method ends does not matter.
    """
    logger = logging.getLogger("orchestration.core.machine")
    before, logger.disabled = logger.disabled, True  # what the code prints is not about the check
    try:
        entries = [entry for entry in registry.entries if isinstance(entry, (WorkflowLua, FunctionLua, ProcessLua))]
        found = [_try(registry, entry) for entry in entries]
    finally:
        logger.disabled = before
    return [problem for problem in found if problem is not None]


def _try(registry: Registry, entry: WorkflowLua | FunctionLua | ProcessLua) -> Problem | None:
    def problem(field: str, what: str, cure: str, value: str | None = None) -> Problem:
        at = entry.location
        return Problem(file=at.file, line=at.line, entry=entry.id, field=field, value=value, what=what, cure=cure)

    try:
        machine = Machine(registry.bundle(entry.id), limits=_LIMITS)
    except SandboxError as error:
        return problem("source", str(error), "correct the Lua code")
    try:
        commands = machine.apply(events.encode(_started(entry.id)))
    except SandboxError:
        return None  # it may be made for inputs that it has not got here
    finally:
        machine.close()
    last = events.decode(commands[-1]) if commands else None
    is_loaded = any(events.code_of(command) == events.Code.LOADED for command in commands)
    if is_loaded or not isinstance(last, events.Fail):
        return None
    failure = payload.decode_failure(last.failure)
    message, stack = str(failure.get("message", "")), str(failure.get("stack", ""))
    if stack == _ENGINE and failure.get("kind") == "NotFound":
        source = entry.location.source_file or entry.location.file
        cure = f"end it with `return {{ {entry.method} = {entry.method} }}`, or name the method that it returns"
        return problem("method", f"{source} does not return it", cure, repr(entry.method))
    missing = _MISSING.search(message)
    if missing is not None and missing[1] in AVAILABLE_MODULES:
        return problem(
            "source", f"loading it fails: {message}", f"add {missing[1]!r} to the list 'modules' of the entry"
        )
    return problem("source", f"loading it fails: {message}", "correct the Lua code")


def _started(entry_id: str) -> events.Started:
    return events.Started(
        0,
        {
            "workflow_id": "check", "run_id": "check", "type": entry_id, "pid": "{celery@default|check}",
            "task_queue": "check", "namespace": "default", "bundle": "", "seed": bytes(16), "attempt": 1, "lua": "5.4",
            "format": 1, "flags": [], "ctx": {}, "tz": "UTC", "tell": True,
        },
    )  # fmt: skip
