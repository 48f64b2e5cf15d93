"""How a supervised service goes on. Pure: the time, the chance and what has happened come in as arguments.

Each method of :class:`Service` returns the service as it is then, and what is to be done about its process. Whoever
calls them does that, comes back with what became of it, and calls :meth:`Service.tick` when ``due_ms`` has come.

Source: spec/processes.md §10; the delay grows, as its documentation says, and ``max_attempts`` counts runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

__all__ = ["Do", "Ending", "Policy", "Service", "State", "find_circle", "start_order"]


class State(Enum):
    """Where a service stands."""

    UNKNOWN = "unknown"
    """Nobody has taken it up."""
    STARTING = "starting"
    """It waits for what it requires, or is being started."""
    RUNNING = "running"
    """Its process runs."""
    STOPPING = "stopping"
    """Its process has been asked to end."""
    STOPPED = "stopped"
    """Its process has ended because it was asked to."""
    EXITED = "exited"
    """Its process has ended for good: normally, by cancellation, or with an error that is not retryable."""
    FAILED = "failed"
    """Its process has failed, or would not start or stop."""


class Do(Enum):
    """What is to be done about the process."""

    NOTHING = "nothing"
    """Leave it as it is."""
    START = "start"
    """Start one; then :meth:`Service.started` or :meth:`Service.start_failed`."""
    CANCEL = "cancel"
    """Ask it to end; then :meth:`Service.ended`."""
    TERMINATE = "terminate"
    """End it; then :meth:`Service.ended`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process has ended.

    Attributes:
        error: What it failed with; None: it ended normally.
        retryable: What the error says of itself; None: nothing.
        cancelled: It ended because it was cancelled.
    """

    error: str | None = None
    retryable: bool | None = None
    cancelled: bool = False

    @property
    def is_final(self) -> bool:
        """Whether another run makes no sense."""
        return self.error is None or self.cancelled or self.retryable is False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a service is started again, and how long starting and stopping may take.

    Attributes:
        initial_delay_ms: Before the second run.
        max_delay_ms: Longest delay, before the jitter.
        backoff_factor: By which the delay grows with each failure, at least 1.
        jitter: Fraction, 0 to 1, by which a delay is made shorter or longer.
        max_attempts: Runs that may fail one after the other; 0 is without limit.
        stable_threshold_ms: A run that was longer begins the count anew.
        start_timeout_ms: How long it may take to be started; and to wait for what it requires, before that counts as
            a failure (it goes on waiting).
        stop_timeout_ms: How long it may take to end when it is asked to.
    """

    initial_delay_ms: int = 1_000
    max_delay_ms: int = 90_000
    backoff_factor: float = 2.0
    jitter: float = 0.1
    max_attempts: int = 0
    stable_threshold_ms: int = 5_000
    start_timeout_ms: int = 10_000
    stop_timeout_ms: int = 10_000

    def delay_ms(self, failures: int, chance: float) -> int:
        """How long to wait after so many failures.

        Args:
            failures: Failures one after the other, this one included.
            chance: 0 to 1; the middle is no jitter at all.
        """
        delay = float(min(self.initial_delay_ms, self.max_delay_ms))
        if delay:
            room = math.log(self.max_delay_ms / delay)
            growth = (failures - 1) * math.log(self.backoff_factor)
            delay = float(self.max_delay_ms) if growth >= room else delay * math.exp(growth)
        return round(delay * (1 + self.jitter * (2 * chance - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Where one service stands. Times are milliseconds of one clock, whichever it is.

    Attributes:
        policy: By which it goes on.
        state: Where it stands.
        reason: Why it is there, for people.
        error: What the last run that failed has failed with.
        failures: Runs that have failed one after the other.
        runs: Processes started in all.
        since_ms: When it came to this state.
        due_ms: When :meth:`tick` is to be called; None: nothing comes of time alone.
        waits_for: What it requires and does not run; it is started when :meth:`ready` is called.
        will_start: It stops in order to be started again.
        terminated: It did not end in time when it was asked to.
    """

    policy: Policy
    state: State = State.UNKNOWN
    reason: str = ""
    error: str = ""
    failures: int = 0
    runs: int = 0
    since_ms: int = 0
    due_ms: int | None = None
    waits_for: str = ""
    will_start: bool = False
    terminated: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether a process of it runs or is being started."""
        return self.state in (State.RUNNING, State.STOPPING) or (self.state is State.STARTING and not self.waits_for)

    @property
    def is_at_rest(self) -> bool:
        """Whether it goes on only when somebody asks for it."""
        if self.state is State.FAILED:
            return self.due_ms is None and not self.waits_for
        return self.state in (State.UNKNOWN, State.STOPPED, State.EXITED)

    def start(self, now_ms: int, *, waits_for: str = "") -> tuple[Service, Do]:
        """It is to run: when it is at rest, or waits for its next attempt, it is started.

        Args:
            now_ms: The time.
            waits_for: What it requires and does not run; empty: nothing.
        """
        if self.state is State.STOPPING:
            return replace(self, will_start=True), Do.NOTHING
        if self.is_alive:
            return self, Do.NOTHING
        return replace(self, failures=0)._begin(now_ms, waits_for)

    def take_over(self, now_ms: int, *, left_ms: int | None, waits_for: str = "", reason: str) -> tuple[Service, Do]:
        """Whoever looked after it is gone, and with it its process. That is no failure of the service.

        Args:
            now_ms: The time.
            left_ms: How long the delay before its next attempt still lasts; None: there was none.
            waits_for: As for :meth:`start`.
            reason: Why it is started again, for people.
        """
        if left_ms is not None and left_ms > 0:
            return replace(self._to(State.FAILED, now_ms, self.error), due_ms=now_ms + left_ms), Do.NOTHING
        return self._begin(now_ms, waits_for, reason)

    def waits(self, waits_for: str) -> Service:
        """What it waits for has changed."""
        if not self.waits_for or self.waits_for == waits_for:
            return self
        reason = f"waits for {waits_for}" if self.state is State.STARTING else self._waited_too_long(waits_for)
        return replace(self, waits_for=waits_for, reason=reason)

    def ready(self, now_ms: int) -> tuple[Service, Do]:
        """All that it requires runs."""
        if not self.waits_for:
            return self, Do.NOTHING
        return self._begin(now_ms, "")

    def started(self, now_ms: int) -> Service:
        """The process that was to be started runs."""
        if self.state is not State.STARTING:
            return self
        return self._to(State.RUNNING, now_ms, "started")

    def start_failed(self, now_ms: int, error: str, *, chance: float) -> tuple[Service, Do]:
        """The process could not be started; that is tried again, whatever the error says of itself."""
        if self.state is State.STOPPING:
            return self.ended(now_ms, Ending(error=error), chance=chance)
        return self._failed(now_ms, f"cannot be started: {error}", chance=chance, ran_ms=0), Do.NOTHING

    def ended(self, now_ms: int, ending: Ending, *, chance: float) -> tuple[Service, Do]:
        """Its process has ended.

        Args:
            now_ms: The time.
            ending: How.
            chance: For the jitter, 0 to 1.
        """
        error = self.error if ending.error is None else ending.error
        if self.state is State.STOPPING:
            late = f"stop timeout after {_span(self.policy.stop_timeout_ms)}"
            after = replace(self, error=late if self.terminated else self.error)
            if self.will_start:
                return replace(after, failures=0)._begin(now_ms, "")
            if self.terminated:
                return after._to(State.FAILED, now_ms, late), Do.NOTHING
            return after._to(State.STOPPED, now_ms, self.reason), Do.NOTHING
        if not ending.is_final:
            return self._failed(now_ms, error, chance=chance, ran_ms=now_ms - self.since_ms), Do.NOTHING
        if ending.cancelled:
            reason = "was cancelled"
        else:
            reason = "ended normally" if ending.error is None else f"ended with an error that is final: {error}"
        return replace(self, error=error)._to(State.EXITED, now_ms, reason), Do.NOTHING

    def stop(self, now_ms: int, reason: str) -> tuple[Service, Do]:
        """It is not to run any more.

        Args:
            now_ms: The time.
            reason: Why, for people.
        """
        if self.state is State.STOPPING:
            return replace(self, will_start=False, reason=reason), Do.NOTHING
        if self.is_alive:
            return self._ask_to_end(now_ms, reason), Do.CANCEL
        return self._to(State.STOPPED, now_ms, reason), Do.NOTHING

    def restart(self, now_ms: int, reason: str, *, waits_for: str = "") -> tuple[Service, Do]:
        """It is to be stopped, if it runs, and started.

        Args:
            now_ms: The time.
            reason: Why, for people.
            waits_for: As for :meth:`start`, if it does not run.
        """
        if self.is_alive and self.state is not State.STOPPING:
            return replace(self._ask_to_end(now_ms, reason), will_start=True), Do.CANCEL
        return self.start(now_ms, waits_for=waits_for)

    def tick(self, now_ms: int, *, chance: float) -> tuple[Service, Do]:
        """Time has passed. A process that was to be started and is not is given up, should it ever come."""
        if self.due_ms is None or now_ms < self.due_ms:
            return self, Do.NOTHING
        if self.state is State.STOPPING:
            return replace(self, due_ms=None, terminated=True), Do.TERMINATE
        if self.waits_for:
            reason = self._waited_too_long(self.waits_for)
            return replace(self._to(State.FAILED, now_ms, reason), waits_for=self.waits_for), Do.NOTHING
        if self.state is State.STARTING:
            late = f"start timeout after {_span(self.policy.start_timeout_ms)}"
            return self._failed(now_ms, late, chance=chance, ran_ms=0), Do.NOTHING
        return self._begin(now_ms, "")

    def _begin(self, now_ms: int, waits_for: str, reason: str = "") -> tuple[Service, Do]:
        due_ms = now_ms + self.policy.start_timeout_ms
        if waits_for:
            waiting = self._to(State.STARTING, now_ms, f"waits for {waits_for}")
            return replace(waiting, waits_for=waits_for, due_ms=due_ms), Do.NOTHING
        if not reason:
            reason = f"starts again after failure {self.failures}: {self.error}" if self.failures else "starts"
        return replace(self._to(State.STARTING, now_ms, reason), runs=self.runs + 1, due_ms=due_ms), Do.START

    def _ask_to_end(self, now_ms: int, reason: str) -> Service:
        return replace(self._to(State.STOPPING, now_ms, reason), due_ms=now_ms + self.policy.stop_timeout_ms)

    def _failed(self, now_ms: int, error: str, *, chance: float, ran_ms: int) -> Service:
        failures = 1 if ran_ms >= self.policy.stable_threshold_ms else self.failures + 1
        failed = replace(self._to(State.FAILED, now_ms, error), failures=failures, error=error)
        most = self.policy.max_attempts
        if most and failures >= most:
            return replace(failed, reason=f"given up after {failures} failed runs: {error}")
        return replace(failed, due_ms=now_ms + self.policy.delay_ms(failures, chance))

    def _waited_too_long(self, waits_for: str) -> str:
        return f"start timeout after {_span(self.policy.start_timeout_ms)}: still waits for {waits_for}"

    def _to(self, state: State, now_ms: int, reason: str) -> Service:
        return replace(
            self, state=state, reason=reason, since_ms=now_ms, due_ms=None, waits_for="", will_start=False,
            terminated=False,
        )  # fmt: skip


def start_order(dependencies: Mapping[str, Sequence[str]]) -> list[str]:
    """Names in an order in which each comes after what it depends on; the reverse is the order of stopping.

    Args:
        dependencies: For each name what it depends on; names that are no keys are left out. Without a circle.
    """
    order: dict[str, None] = {}
    for start in sorted(dependencies):
        path = [(start, iter(_known(dependencies, start)))]
        while path:
            name, rest = path[-1]
            following = next((other for other in rest if other not in order), None)
            if following is None:
                order.setdefault(name)
                path.pop()
            else:
                path.append((following, iter(_known(dependencies, following))))
    return list(order)


def find_circle(dependencies: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Names of which each depends on the next and the last is the first again; None: there is no such circle."""
    done: set[str] = set()
    for start in sorted(dependencies):
        path: list[tuple[str, Iterator[str]]] = [] if start in done else [(start, iter(_known(dependencies, start)))]
        while path:
            name, rest = path[-1]
            following = next((other for other in rest if other not in done), None)
            if following is None:
                done.add(name)
                path.pop()
                continue
            names = [each for each, _ in path]
            if following in names:
                return [*names[names.index(following) :], following]
            path.append((following, iter(_known(dependencies, following))))
    return None


def _known(dependencies: Mapping[str, Sequence[str]], name: str) -> list[str]:
    return [other for other in dependencies[name] if other in dependencies]


def _span(ms: int) -> str:
    return f"{ms / 1000:g}s"
