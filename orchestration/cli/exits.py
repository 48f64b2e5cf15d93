"""How commands end: exit codes, and one clear line for each error."""

from __future__ import annotations

import enum
import json
import sys
import traceback
from typing import Final

import click

from orchestration.cli.output import note
from orchestration.errors import (
    ActivityClosedError,
    ActivityTokenError,
    ApplicationError,
    ConfigError,
    EntryNotFoundError,
    InboxFullError,
    OrchestrationError,
    PayloadError,
    ProcessNotFoundError,
    RegistryError,
    ScheduleAlreadyExistsError,
    ScheduleNotFoundError,
    StoreUnavailableError,
    UpdateRejectedError,
    WorkflowAlreadyStartedError,
    WorkflowClosedError,
    WorkflowNotFoundError,
)

__all__ = ["CliError", "Exit", "exit_code_of", "report"]


class Exit(enum.IntEnum):
    """Exit codes, the same for every command."""

    OK = 0
    """Done."""
    FAILED = 1
    """The run or the function failed, or the definitions have problems."""
    USAGE = 2
    """The command line, a value on it, a setting or the application is wrong."""
    NOT_FOUND = 3
    """No workflow, run, process, schedule, service or entry has this id."""
    UNAVAILABLE = 4
    """Redis, or the broker, does not answer."""
    TIMEOUT = 5
    """Not within the time given."""
    REFUSED = 6
    """The run or activity is not in a state for this: it has ended, is not parked, its id is taken, its inbox is
    full; or it rejected an update."""
    INTERNAL = 70
    """A mistake in this program."""
    INTERRUPTED = 130
    """Ctrl-C."""
    TERMINATED = 143
    """SIGTERM."""


class CliError(Exception):
    """Ends the command with one line.

    Args:
        message: What is wrong and what to do about it.
        code: The exit code.
    """

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


_CODES: Final[tuple[tuple[type[BaseException], Exit], ...]] = (
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (EntryNotFoundError, Exit.NOT_FOUND),
    (WorkflowNotFoundError, Exit.NOT_FOUND),
    (ScheduleNotFoundError, Exit.NOT_FOUND),
    (ProcessNotFoundError, Exit.NOT_FOUND),
    (StoreUnavailableError, Exit.UNAVAILABLE),
    (WorkflowAlreadyStartedError, Exit.REFUSED),
    (WorkflowClosedError, Exit.REFUSED),
    (UpdateRejectedError, Exit.REFUSED),
    (ScheduleAlreadyExistsError, Exit.REFUSED),
    (ActivityTokenError, Exit.USAGE),
    (ActivityClosedError, Exit.REFUSED),
    (InboxFullError, Exit.REFUSED),
    (ConfigError, Exit.USAGE),
    (PayloadError, Exit.USAGE),
    (ApplicationError, Exit.FAILED),
    (RegistryError, Exit.FAILED),
    (OrchestrationError, Exit.FAILED),
    (TimeoutError, Exit.TIMEOUT),
    (OSError, Exit.FAILED),
    (click.UsageError, Exit.USAGE),
    (click.ClickException, Exit.FAILED),
)

_CURES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (WorkflowNotFoundError, "`orchestration list` shows those that are"),
    (ScheduleNotFoundError, "`orchestration schedule list` shows those that are there"),
    (ProcessNotFoundError, "`orchestration processes` shows those that are there"),
    (EntryNotFoundError, "`orchestration check` lists the entries"),
    (WorkflowAlreadyStartedError, "take another --id, or say what to do with --conflict or --reuse"),
    (WorkflowClosedError, "`orchestration show` says how it stands"),
)


def exit_code_of(error: BaseException) -> Exit:
    """The exit code for an error."""
    if isinstance(error, CliError):
        return error.code
    if _is_broker_away(error):
        return Exit.UNAVAILABLE
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return Exit.INTERNAL


def report(error: BaseException, *, debug: bool = False, as_json: bool = False) -> Exit:
    """Say on stderr what went wrong and answer the exit code.

    Args:
        error: What ended the command.
        debug: Print the traceback too.
        as_json: Print one JSON object instead of a line.
    """
    code = exit_code_of(error)
    if debug and code is not Exit.INTERRUPTED:
        traceback.print_exception(error)
    message = _message(error, code)
    if as_json:
        fact = {"error": {"type": type(error).__name__, "message": message, "exit_code": int(code)}}
        print(json.dumps(fact, ensure_ascii=False), file=sys.stderr)
    elif message:
        note(f"error: {message}" if code is not Exit.INTERRUPTED else message)
    return code


def _message(error: BaseException, code: Exit) -> str:
    if code is Exit.INTERRUPTED:
        return "interrupted"
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "orchestration"
        return f"{error.format_message().rstrip('.')}; `{path} --help` shows how it is used"
    if isinstance(error, click.ClickException):
        return error.format_message()
    text = str(error) or type(error).__name__
    if code is Exit.INTERNAL:
        return f"{type(error).__name__}: {text} (a mistake in this program: run it again with --debug and report that)"
    if code is Exit.UNAVAILABLE and not isinstance(error, (StoreUnavailableError, CliError)):
        return f"the broker does not answer: {text}; check that it runs and that its URL is right"
    for kind, cure in _CURES:
        if isinstance(error, kind):
            return f"{text}; {cure}"
    return text


def _is_broker_away(error: BaseException) -> bool:
    """Connection errors of the broker and the result backend, which this layer does not import."""
    module, name = type(error).__module__.partition(".")[0], type(error).__name__
    if module in ("redis", "kombu", "amqp"):
        return name in ("OperationalError", "ConnectionError", "TimeoutError", "BusyLoadingError")
    return isinstance(error, ConnectionError) and not isinstance(error, BrokenPipeError)
