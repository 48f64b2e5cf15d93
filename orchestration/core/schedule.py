"""What a schedule is: when it is due, what it starts, and what it does when runs meet. Pure values.

``ScheduleSpec``, ``ScheduleAction`` and ``SchedulePolicy`` are public; they check themselves when they are made.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, cast

from orchestration.core import payload
from orchestration.core.checks import check_kind, check_span, check_text
from orchestration.core.cron import check_cron, check_zone, next_cron_time
from orchestration.core.identity import Actor, check_scope
from orchestration.errors import CorruptHistoryError, EncodeError

__all__ = [
    "OVERLAPS",
    "Due",
    "ScheduleAction",
    "SchedulePolicy",
    "ScheduleSpec",
    "check_overlap",
    "check_prefix",
    "pack",
    "time_text",
    "unpack",
]

OVERLAPS: Final = ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all")
"""What can be done when a schedule is due while a run of it is open."""

_FORMAT = 1
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)
_SPANS = ("run_timeout", "execution_timeout", "cancel_grace")
_SHORTEST_INTERVAL = dt.timedelta(seconds=1)
_SHORTEST_WINDOW = dt.timedelta(seconds=10)
_LONGEST_WINDOW = dt.timedelta(days=366)
_MOST_ACTIONS = 2**53
_RETRY = frozenset((
    "initial_interval_ms", "backoff_coefficient", "maximum_interval_ms", "maximum_attempts",
    "non_retryable_error_types",
))  # fmt: skip
_LONGEST_PREFIX_BYTES = 229
"""The time behind a prefix takes up to 26 bytes of the 255 that a workflow id has."""


class RetryOptions(Protocol):
    """What a retry policy of Python code offers."""

    def to_options(self) -> dict[str, Any]:
        """The policy as it is stored."""
        ...


class Due(NamedTuple):
    """One time of a schedule.

    Attributes:
        nominal_ms: What the rules say.
        due_ms: When it is acted on: later by the jitter.
    """

    nominal_ms: int
    due_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """When a schedule is due: at every time of its cron expressions and of its interval.

    Attributes:
        cron: One cron expression or several: five fields (minute, hour, day of month, month, day of week), six with
            seconds in front, or a nickname such as ``@daily``. A prefix ``CRON_TZ=Zone`` overrides the time zone.
        time_zone: IANA name of the zone in which cron expressions are read.
        interval: Due at every multiple of it since 1970-01-01 UTC, shifted by the offset; at least one second.
        offset: Shift of the interval, less than the interval.
        jitter: Each time is put off by up to this much; by how much is fixed by schedule and time, and it is never put
            off beyond the next time.
        start_at: No times before this one; None: none is too early. With a time zone.
        end_at: No times after this one; None: it goes on for ever. With a time zone.
        max_actions: It stops after so many starts of its own; None: never. Triggers and backfills do not count.

    Raises:
        ValueError: A value cannot be right; the text says which and why.
    """

    cron: str | Sequence[str] = ()
    time_zone: str = "UTC"
    interval: dt.timedelta | None = None
    offset: dt.timedelta = dt.timedelta()
    jitter: dt.timedelta = dt.timedelta()
    start_at: dt.datetime | None = None
    end_at: dt.datetime | None = None
    max_actions: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        check_kind("`cron`", self.cron, (str, Sequence), "a cron expression or a list of them")
        expressions = (self.cron,) if isinstance(self.cron, str) else tuple(self.cron)
        object.__setattr__(self, "cron", expressions)
        for expression in expressions:
            check_text("a cron expression", expression)
        check_text("`time_zone`", self.time_zone, least=1)
        for name in ("interval", "offset", "jitter"):
            if name != "interval" or self.interval is not None:
                check_span(f"`{name}`", getattr(self, name))
        check_zone(self.time_zone)
        for expression in expressions:
            check_cron(expression, self.time_zone)
            if "@every" in expression:
                raise ValueError(f"{expression!r}: a schedule takes intervals as `interval`, not as cron expressions")
        if not expressions and self.interval is None:
            raise ValueError("a schedule needs `cron` or `interval` to know when it is due")
        if self.interval is not None and self.interval < _SHORTEST_INTERVAL:
            raise ValueError(f"the shortest interval is one second, not {self.interval}")
        if self.offset and self.interval is None:
            raise ValueError("`offset` shifts an `interval`; there is none")
        if self.interval is not None and not dt.timedelta() <= self.offset < self.interval:
            raise ValueError(f"the offset is from 0 to less than the interval, not {self.offset}")
        for name, moment in (("start_at", self.start_at), ("end_at", self.end_at)):
            if moment is not None:
                check_kind(f"`{name}`", moment, dt.datetime, "a datetime")
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"`{name}` needs a time zone, as in datetime(..., tzinfo=UTC): {moment}")
        if self.start_at is not None and self.end_at is not None and self.end_at < self.start_at:
            raise ValueError(f"the end {self.end_at.isoformat()} is before the start {self.start_at.isoformat()}")
        if self.max_actions is not None:
            check_kind("max_actions", self.max_actions, int, "a whole number")
        if self.max_actions is not None and not 1 <= self.max_actions < _MOST_ACTIONS:
            raise ValueError(f"max_actions is at least 1, not {self.max_actions}; None has no limit")

    def next_due(self, schedule_id: str, after_ms: int) -> Due | None:
        """Give the first time whose nominal time is later than a moment; None when there is none any more.

        Args:
            schedule_id: Decides, with the nominal time, how much jitter there is.
            after_ms: In milliseconds since the epoch.
        """
        nominal = self._next_nominal(after_ms)
        if nominal is None:
            return None
        most = self.jitter // _MILLISECOND
        if most:
            following = self._next_nominal(nominal)
            if following is not None:
                most = min(most, following - nominal)
        return Due(nominal, nominal + _portion(f"{schedule_id}/{nominal}", most))

    def _next_nominal(self, after_ms: int) -> int | None:
        if self.start_at is not None:
            after_ms = max(after_ms, _ms(self.start_at) - 1)
        found = [next_cron_time(expression, self.time_zone, after_ms) for expression in self.cron]
        if self.interval is not None:
            step, offset = self.interval // _MILLISECOND, self.offset // _MILLISECOND
            found.append(((after_ms - offset) // step + 1) * step + offset)
        nominal = min((time for time in found if time is not None), default=None)
        if nominal is None or (self.end_at is not None and nominal > _ms(self.end_at)):
            return None
        return nominal


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleAction:
    """What a schedule starts.

    The workflow's context has ``schedule.id`` and ``schedule.time``, the nominal time in RFC 3339.

    Attributes:
        workflow_type: Entry id, or the type name that the entry declares.
        args: Arguments of its main function.
        workflow_id_prefix: Runs are called ``<prefix>-<nominal time>``; None: the id of the schedule.
        task_queue: Another queue than the entry's. With it the code may be unknown here: the workers of the queue have
            it.
        run_timeout: After which a run is ended; None for never.
        execution_timeout: After which the workflow is ended, all its runs together; None for never.
        cancel_grace: Before one of these two ends a run, ask it to cancel and give it this long.
        retry_policy: By which a failed run is followed by another, a :class:`~orchestration.RetryPolicy`; None: it is
            not.
        search: Search attributes: texts, booleans, numbers, lists of texts.
        memo: What else is to be shown of it.
        summary: A line for people.
        details: More for people.
        context: Context values, read with ``ctx`` in Lua.
        actor: In whose name the workflow runs; None: nobody's.
        scope: Ids of the policies, or groups of policies, that say what it may do, as they are at each start; None: no
            scope.

    Raises:
        ValueError: A value cannot be right; the text says which and why.
        EncodeError: An argument or a context value cannot be carried.
    """

    workflow_type: str
    args: Sequence[Any] = ()
    workflow_id_prefix: str | None = None
    task_queue: str | None = None
    run_timeout: dt.timedelta | None = None
    execution_timeout: dt.timedelta | None = None
    cancel_grace: dt.timedelta | None = None
    retry_policy: RetryOptions | Mapping[str, Any] | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    memo: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    details: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    actor: Actor | None = None
    scope: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if self.actor is not None:
            check_kind("`actor`", self.actor, Actor, "an Actor")
        if self.scope is not None:
            object.__setattr__(self, "scope", check_scope(self.scope))
        check_text("the type of an action's workflow", self.workflow_type, least=1)
        if isinstance(self.args, (str, bytes)):
            raise ValueError(f"`args` is a list of arguments, not one {type(self.args).__name__}")
        check_kind("`args`", self.args, Sequence, "a list of arguments")
        object.__setattr__(self, "args", tuple(self.args))
        if self.retry_policy is not None and not isinstance(self.retry_policy, Mapping):
            if not hasattr(self.retry_policy, "to_options"):
                raise TypeError(f"`retry_policy` is a RetryPolicy, not {self.retry_policy!r:.100}")
            object.__setattr__(self, "retry_policy", self.retry_policy.to_options())
        if self.retry_policy is not None and not _RETRY.issuperset(cast("Mapping[str, Any]", self.retry_policy)):
            raise ValueError(f"`retry_policy` is a RetryPolicy, not {self.retry_policy!r:.100}")
        for name in ("search", "memo", "context"):
            check_kind(f"`{name}`", getattr(self, name), Mapping, "a map of texts to values")
        for name in ("summary", "details"):
            check_text(f"`{name}`", getattr(self, name))
        if self.task_queue is not None:
            check_text("`task_queue`", self.task_queue, least=1)
        for values in (list(self.args), self.context, self.search, self.memo, self.retry_policy):
            payload.encode(values)
        for name in _SPANS:
            span = getattr(self, name)
            if span is None:
                continue
            check_kind(f"`{name}`", span, dt.timedelta, "a timedelta")
            if span <= dt.timedelta():
                raise ValueError(f"`{name}` is more than 0, not {span}; None has none")
            check_span(f"`{name}`", span)
        if self.workflow_id_prefix is not None:
            check_prefix(self.workflow_id_prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePolicy:
    """What a schedule does when runs meet, when it is late, and when a run fails.

    Attributes:
        overlap: When it is due and a run of it is open: ``skip`` the new one; ``buffer_one``: start it when the open
            one ends, skip any more; ``buffer_all``: start them all, one after the other (1,000 wait at most, more are
            dropped and counted); ``cancel_other``: ask the open one to end and start when it has; ``terminate_other``:
            end it and start at once; ``allow_all``: start beside it.
        catchup_window: Times that no worker was there for are made good if they are not older; older ones are counted
            as missed. 10 seconds to 366 days.
        pause_on_failure: Pause the schedule when a run of it has failed or timed out.

    Raises:
        ValueError: A value cannot be right; the text says which and why.
    """

    overlap: str = "skip"
    catchup_window: dt.timedelta = dt.timedelta(hours=1)
    pause_on_failure: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        check_overlap(self.overlap)
        check_kind("`pause_on_failure`", self.pause_on_failure, bool, "True or False")
        check_kind("the catch-up window", self.catchup_window, dt.timedelta, "a timedelta")
        if not _SHORTEST_WINDOW <= self.catchup_window <= _LONGEST_WINDOW:
            raise ValueError(f"the catch-up window is 10 seconds to 366 days, not {self.catchup_window}")


def check_overlap(overlap: str) -> str:
    """Refuse what is no overlap policy.

    Raises:
        ValueError: It is none.
    """
    if overlap not in OVERLAPS:
        raise ValueError(f"overlap policy {overlap!r} is unknown: use one of {', '.join(OVERLAPS)}")
    return overlap


def check_prefix(prefix: str) -> str:
    """Refuse what leaves no room for the time behind it in a workflow id.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty, too long, or has a control character.
    """
    check_text("a workflow id prefix", prefix)
    for character in prefix:
        if ord(character) < 32 or 127 <= ord(character) < 160:
            raise ValueError(f"a workflow id prefix has no control characters: {prefix!r}")
    size = len(prefix.encode())
    if not 1 <= size <= _LONGEST_PREFIX_BYTES:
        raise ValueError(
            f"a workflow id prefix has 1 to {_LONGEST_PREFIX_BYTES} bytes, not {size}: the time stands behind it"
        )
    return prefix


def time_text(time_ms: int) -> str:
    """A time as it stands in workflow ids and in the context: RFC 3339 in UTC, with fractions only if there are any."""
    moment = _EPOCH + time_ms * _MILLISECOND
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{time_ms % 1000:03d}Z" if time_ms % 1000 else "Z")


def pack(spec: ScheduleSpec, action: ScheduleAction, policy: SchedulePolicy) -> bytes:
    """Encode a definition as it is stored."""
    plain = {
        name: {one.name: _plain(getattr(part, one.name)) for one in dataclasses.fields(part)}
        for name, part in (("spec", spec), ("action", action), ("policy", policy))
    }
    for name in ("actor", "scope"):  # a release that does not know them reads what has none
        if plain["action"][name] is None:
            del plain["action"][name]
    return payload.encode({"format": _FORMAT, **plain})


def unpack(data: bytes) -> tuple[ScheduleSpec, ScheduleAction, SchedulePolicy]:
    """Read what :func:`pack` wrote.

    Raises:
        CorruptHistoryError: Another release wrote it in a form that this one does not know.
    """
    try:
        stored = payload.decode(data)
        if stored["format"] != _FORMAT:
            raise ValueError(f"format {stored['format']}")
        spec, policy = stored["spec"], stored["policy"]
        for name in ("interval", "offset", "jitter"):
            spec[name] = _span(spec[name])
        for name in ("start_at", "end_at"):
            spec[name] = None if spec[name] is None else _EPOCH + spec[name] * _MILLISECOND
        for name in _SPANS:
            stored["action"][name] = _span(stored["action"][name])
        if "actor" in stored["action"]:
            stored["action"]["actor"] = Actor(**stored["action"]["actor"])
        policy["catchup_window"] = _span(policy["catchup_window"])
        return ScheduleSpec(**spec), ScheduleAction(**stored["action"]), SchedulePolicy(**policy)
    except (KeyError, TypeError, ValueError, EncodeError) as error:
        raise CorruptHistoryError(f"the definition of a schedule cannot be read by this release: {error}") from error


def _plain(value: Any) -> Any:
    """Times and durations as milliseconds; the rest is carried as it is."""
    if isinstance(value, dt.timedelta):
        return value // _MILLISECOND
    if isinstance(value, Actor):
        return value.fields()
    return _ms(value) if isinstance(value, dt.datetime) else value


def _span(value: int | None) -> dt.timedelta | None:
    return None if value is None else value * _MILLISECOND


def _ms(moment: dt.datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _portion(seed: str, most: int) -> int:
    """A number from 0 to less than ``most`` that the seed decides."""
    if most <= 0:
        return 0
    return int.from_bytes(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()[:8], "big") % most
