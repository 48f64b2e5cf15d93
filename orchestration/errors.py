"""Every error this package raises, in one tree.

::

    OrchestrationError
      ConfigError                     a setting is missing, unknown or out of range
      RegistryError                   a tree of definitions cannot be used
        EntryNotFoundError            no entry has this id
        EntryConflictError            two entries claim the same thing
      StoreError
        InboxFullError                a run has not read what it was sent before: try again later
        StoreUnavailableError         Redis did not answer
        FencedError                   something else has changed the run since
        CorruptHistoryError           what is stored cannot be read
      SandboxError                    Lua code left its limits
        MemoryLimitError
        StepLimitError
        LuaSourceError                the code cannot be compiled or lacks its method
        ForbiddenNameError            the code names something a sandbox has not got
      NondeterminismError             code and history disagree
      PayloadError
        EncodeError                   a value cannot be carried
        DecodeError
        PayloadTooLargeError
      WorkflowError
        WorkflowNotFoundError
        WorkflowClosedError           the run has ended, it takes no more messages
        WorkflowAlreadyStartedError
        WorkflowFailedError
        WorkflowCancelledError
        WorkflowTerminatedError
        WorkflowTimedOutError
        QueryFailedError              a query has no result
        UpdateRejectedError           an update was not let in: nothing has happened
        UpdateFailedError             an update was let in, and its handler failed
      ScheduleError
        ScheduleNotFoundError
        ScheduleAlreadyExistsError
      ProcessError
        ProcessNotFoundError          nobody has this address or name, or not any more
        ProcessStartError             a process could not be started
        ProcessFailedError            a process ended with an error
        SubscriptionClosedError       nothing more comes from a subscription
      ApplicationError                a failure that workflow code can read: kind, message, retryable, details
        ActivityError                 the same, as an activity attempt reported it
        ActivityTokenError            what should be the token of an activity is none
        ActivityClosedError           the attempt that a token names is not open any more
      TestingError                    raised by orchestration.testing alone
        ActivityNotReplacedError      a test would run a real task
        NothingDueError               what a test waits for cannot come

The arguments of each ``__init__`` are the ones handed to ``super().__init__``: errors survive pickling, so
they cross processes and result backends unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

__all__ = [
    "ActivityClosedError",
    "ActivityError",
    "ActivityNotReplacedError",
    "ActivityTokenError",
    "ApplicationError",
    "ConfigError",
    "CorruptHistoryError",
    "DecodeError",
    "EncodeError",
    "EntryConflictError",
    "EntryNotFoundError",
    "FencedError",
    "ForbiddenNameError",
    "InboxFullError",
    "LuaSourceError",
    "MemoryLimitError",
    "NondeterminismError",
    "NothingDueError",
    "OrchestrationError",
    "PayloadError",
    "PayloadTooLargeError",
    "ProcessError",
    "ProcessFailedError",
    "ProcessNotFoundError",
    "ProcessStartError",
    "QueryFailedError",
    "RegistryError",
    "SandboxError",
    "ScheduleAlreadyExistsError",
    "ScheduleError",
    "ScheduleNotFoundError",
    "StepLimitError",
    "StoreError",
    "StoreUnavailableError",
    "SubscriptionClosedError",
    "TestingError",
    "UpdateFailedError",
    "UpdateRejectedError",
    "WorkflowAlreadyStartedError",
    "WorkflowCancelledError",
    "WorkflowClosedError",
    "WorkflowError",
    "WorkflowFailedError",
    "WorkflowNotFoundError",
    "WorkflowTerminatedError",
    "WorkflowTimedOutError",
]


_LONGEST_S = 100 * 365 * 86_400


class OrchestrationError(Exception):
    """Base of every error of this package: catch it to catch them all."""


class ConfigError(OrchestrationError):
    """A setting is missing, unknown, of the wrong type or out of range."""


class RegistryError(OrchestrationError):
    """Definitions cannot be used; the message lists every problem with file, line, entry, field and cure."""


class EntryNotFoundError(RegistryError):
    """No entry has this id.

    Args:
        entry_id: The id that was asked for.
        hint: What to do about it, or what is close to it.
    """

    def __init__(self, entry_id: str, hint: str = "") -> None:
        super().__init__(entry_id, hint)
        self.entry_id = entry_id
        self.hint = hint

    def __str__(self) -> str:
        return f"no entry has the id {self.entry_id!r}" + (f": {self.hint}" if self.hint else "")


class EntryConflictError(RegistryError):
    """Two entries claim the same id, type name or activity name."""


class StoreError(OrchestrationError):
    """Base of what can go wrong between this package and Redis."""


class StoreUnavailableError(StoreError):
    """No reply from Redis; a write may or may not have happened."""


class InboxFullError(StoreError):
    """A run has too much unread to take more; nothing was delivered, and the sender may try again later.

    Args:
        workflow_id: Whose inbox is full.
        unread: How many inputs are in it.
    """

    def __init__(self, workflow_id: str, unread: int = 0) -> None:
        super().__init__(workflow_id, unread)
        self.workflow_id = workflow_id
        self.unread = unread

    def __str__(self) -> str:
        return f"the inbox of workflow {self.workflow_id!r} is full ({self.unread:,} unread): try again later"


class FencedError(StoreError):
    """Something else has changed the run since it was read; nothing was written."""


class CorruptHistoryError(StoreError):
    """A stored history or record cannot be read by this release."""


class SandboxError(OrchestrationError):
    """Lua code left the limits it runs under. A function fails with it; a workflow is parked."""


class MemoryLimitError(SandboxError):
    """The Lua world asked for more memory than it may have."""


class StepLimitError(SandboxError):
    """The Lua code ran more instructions than one step may take, or called itself without end."""


class LuaSourceError(SandboxError):
    """The code cannot be compiled, or does not export its method."""


class ForbiddenNameError(SandboxError):
    """The code names something that Lua code here cannot have; said when it is loaded."""


class NondeterminismError(OrchestrationError):
    """A replay asked for something else than the history says.

    Args:
        event_number: The first event that differs, counted from 1.
        expected: What the history says there, in words.
        actual: What the code asked for, in words.
        line: Where the code asked for it, as ``file:line``; empty when it asked for nothing.
    """

    def __init__(self, event_number: int, expected: str, actual: str, line: str = "") -> None:
        super().__init__(event_number, expected, actual, line)
        self.event_number = event_number
        self.expected = expected
        self.actual = actual
        self.line = line

    def __str__(self) -> str:
        at = f" at {self.line}" if self.line else ""
        return (
            f"non-deterministic replay at event {self.event_number}: "
            f"the history says {self.expected}, the code asked for {self.actual}{at}"
        )


class PayloadError(OrchestrationError):
    """Base of what can be wrong with a value that crosses a border."""


class EncodeError(PayloadError):
    """A value cannot be carried; the message has the path of it inside the whole."""


class DecodeError(PayloadError):
    """Bytes are not what this package's codec writes."""


class PayloadTooLargeError(PayloadError):
    """A value is larger than the limit."""


class WorkflowError(OrchestrationError):
    """Base of what a caller of a workflow can be told."""


class WorkflowNotFoundError(WorkflowError):
    """No run with this id is known, now or within the retention period."""


class WorkflowClosedError(WorkflowError):
    """The run has ended; it takes no more signals or requests."""


class WorkflowAlreadyStartedError(WorkflowError):
    """A run with this workflow id exists and the policies given refuse another.

    Args:
        workflow_id: The id asked for.
        run_id: The run that has it.
    """

    def __init__(self, workflow_id: str, run_id: str = "") -> None:
        super().__init__(workflow_id, run_id)
        self.workflow_id = workflow_id
        self.run_id = run_id

    def __str__(self) -> str:
        return f"workflow {self.workflow_id!r} has been started already (run {self.run_id})"


class ScheduleError(OrchestrationError):
    """Base of what a user of schedules can be told.

    Args:
        schedule_id: The id asked for.
    """

    def __init__(self, schedule_id: str) -> None:
        super().__init__(schedule_id)
        self.schedule_id = schedule_id


class ScheduleNotFoundError(ScheduleError):
    """No schedule has this id."""

    def __str__(self) -> str:
        return f"no schedule has the id {self.schedule_id!r}"


class ScheduleAlreadyExistsError(ScheduleError):
    """A schedule with this id exists; it is changed with ``update``."""

    def __str__(self) -> str:
        return f"a schedule with the id {self.schedule_id!r} exists already: update it, or take another id"


class ApplicationError(OrchestrationError):
    """A failure that workflow code can read. Raise it in a Celery task to choose what the workflow sees.

    Args:
        message: What happened, for people.
        kind: One word for code, such as ``"NotFound"`` or ``"Unavailable"``; any text is allowed.
        retryable: False ends the retries, True allows them, None leaves it to the retry policy (which retries).
        details: More facts, with text keys; they must be values that can be carried.
        retry_after: Of an activity: the pause before its next attempt, instead of that of the retry policy; seconds or
            a timedelta. It travels in the details, as ``retry_after_ms``, which code in Lua may set as well.

    Raises:
        ValueError: ``retry_after`` is negative, or no number.
    """

    def __init__(
        self,
        message: str,
        kind: str = "",
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
        *,
        retry_after: timedelta | float | None = None,
    ) -> None:
        facts = dict(details) if details else {}
        if retry_after is not None:
            seconds = retry_after.total_seconds() if isinstance(retry_after, timedelta) else float(retry_after)
            if not 0 <= seconds < _LONGEST_S:
                raise ValueError(f"retry_after is at least 0 seconds and less than a century, not {retry_after!r}")
            facts["retry_after_ms"] = round(seconds * 1000)
        super().__init__(message, kind, retryable, facts or None)
        self.message = message
        self.kind = kind
        self.retryable = retryable
        self.details: dict[str, Any] | None = facts or None

    @property
    def retry_after(self) -> timedelta | None:
        """The pause before the next attempt that the failure asks for."""
        asked = (self.details or {}).get("retry_after_ms")
        return timedelta(milliseconds=asked) if isinstance(asked, (int, float)) else None

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.kind else self.message


class ActivityError(ApplicationError):
    """What an activity's last attempt reported."""


class ActivityTokenError(ApplicationError):
    """The text is no token of an activity, or one of another deployment; kind ``Invalid``."""


class ActivityClosedError(ApplicationError):
    """The attempt that a token names takes no outcome any more.

    Kind ``NotFound`` when its run is not known (any more), else ``Conflict``: it has ended in another way, was
    cancelled or timed out, or its run has ended.
    """


class WorkflowFailedError(ApplicationError, WorkflowError):
    """The run ended with an error: kind, message, retryable and details are the workflow's own."""


class WorkflowCancelledError(WorkflowFailedError):
    """The run ended because it was asked to."""


class WorkflowTerminatedError(WorkflowFailedError):
    """The run was ended from outside; its code had no say."""


class WorkflowTimedOutError(WorkflowFailedError):
    """The run did not end within the time it was given."""


class ProcessError(ApplicationError):
    """What went wrong with a process: kind, message, retryable and details as code in Lua would read them."""


class ProcessNotFoundError(ProcessError):
    """No process has this address or name, or it has ended; kind ``NotFound``."""


class ProcessStartError(ProcessError):
    """A process could not be started.

    Kind ``NotFound``: no such entry or host. ``Unavailable``: no worker serves the host, or it is gone meanwhile.
    ``Invalid``: the entry's code cannot be loaded. Others are those of the code itself.
    """


class ProcessFailedError(ProcessError):
    """A process ended with an error: kind, message, retryable and details are its own.

    When its worker is gone: kind ``Unavailable``, with ``{"reason": "worker_lost"}`` in the details.
    """


class SubscriptionClosedError(ProcessError):
    """Nothing more comes from a subscription: it was closed, or what it followed has ended."""


class TestingError(OrchestrationError):
    """Raised by :mod:`orchestration.testing` alone: the test is to be corrected, not the workflow."""

    __test__ = False  # pytest collects classes by this beginning


class ActivityNotReplacedError(TestingError):
    """A workflow under test called something real.

    Args:
        target: What it called: an entry id, or the name of a Celery task.
        task: Name of the Celery task that would have run.
    """

    def __init__(self, target: str, task: str = "") -> None:
        super().__init__(target, task)
        self.target = target
        self.task = task or target

    def __str__(self) -> str:
        task = f" (Celery task {self.task!r})" if self.task != self.target else ""
        return (
            f"{self.target!r}{task} was called, and a test runs no real tasks: put a function in its place with "
            f"workflow_env.activity({self.target!r}, function)"
        )


class NothingDueError(TestingError, TimeoutError):
    """What a test waits for cannot come: nothing is left to run, and no timer to fire."""


class QueryFailedError(ApplicationError, WorkflowError):
    """A query has no result.

    ``kind`` says why: ``NotFound`` (no handler of this name), ``Invalid`` (its handler did more than look),
    ``Unavailable`` (the run has not begun, or its code is gone), ``Conflict`` (its history cannot be replayed),
    ``Internal`` (it left its limits, or raised a text), or the kind of the error that the handler gave.
    """


class UpdateRejectedError(ApplicationError, WorkflowError):
    """An update was not let in: there is no handler for it, or its validator refused. The history has nothing of it."""


class UpdateFailedError(ApplicationError, WorkflowError):
    """An update was let in, and its handler failed, or its workflow ended first (kind ``Canceled``)."""
