"""How a supervised service goes on. Pure: time and chance are arguments."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.core.supervision import Do, Ending, Policy, Service, State, find_circle, start_order

CRASH = Ending(error="boom")


class Bench:
    """A service that is moved by hand; each start succeeds at once, unless the test says otherwise."""

    def __init__(self, **policy: object) -> None:
        self.now = 0
        self.service = Service(policy=Policy(**{"jitter": 0.0, **policy}))  # type: ignore[arg-type]
        self.done: list[str] = []

    def _take(self, moved: tuple[Service, Do] | Service) -> Bench:
        self.service, do = moved if isinstance(moved, tuple) else (moved, Do.NOTHING)
        if do is not Do.NOTHING:
            self.done.append(do.value)
        if do is Do.START:
            self.service = self.service.started(self.now)
        return self

    def start(self, waits_for: str = "") -> Bench:
        return self._take(self.service.start(self.now, waits_for=waits_for))

    def stop(self, reason: str = "asked to") -> Bench:
        return self._take(self.service.stop(self.now, reason))

    def restart(self) -> Bench:
        return self._take(self.service.restart(self.now, "asked to"))

    def end(self, ending: Ending = CRASH, *, after_ms: int = 0) -> Bench:
        self.now += after_ms
        return self._take(self.service.ended(self.now, ending, chance=0.5))

    def later(self, ms: int) -> Bench:
        self.now += ms
        return self._take(self.service.tick(self.now, chance=0.5))

    def __getattr__(self, name: str) -> object:
        return getattr(self.service, name)

    @property
    def seen(self) -> tuple[str, str]:
        return self.service.state.value, self.service.reason


def test_a_service_that_is_started_runs():
    bench = Bench().start()
    assert bench.seen == ("running", "started")
    assert (bench.done, bench.runs) == (["start"], 1)


def test_a_normal_end_is_the_end():
    bench = Bench().start().end(Ending())
    assert bench.seen == ("exited", "ended normally")
    assert bench.is_at_rest


def test_an_error_that_is_not_retryable_is_the_end():
    bench = Bench().start().end(Ending(error="no money", retryable=False))
    assert bench.seen == ("exited", "ended with an error that is final: no money")
    assert bench.error == "no money"


def test_a_cancellation_is_the_end():
    bench = Bench().start().end(Ending(error="canceled", cancelled=True))
    assert bench.seen == ("exited", "was cancelled")


@pytest.mark.parametrize("retryable", [None, True])
def test_any_other_error_is_followed_by_a_restart_after_a_delay(retryable):
    bench = Bench().start().end(Ending(error="boom", retryable=retryable))
    assert bench.seen == ("failed", "boom")
    assert bench.due_ms == 1_000
    assert bench.later(999).state is State.FAILED
    assert bench.later(1).state is State.RUNNING
    assert bench.runs == 2


def test_the_delay_grows_by_the_factor_up_to_the_longest():
    bench = Bench(initial_delay_ms=1_000, backoff_factor=3.0, max_delay_ms=10_000).start()
    delays = []
    for _ in range(5):
        bench.end()
        delays.append(bench.due_ms - bench.now)
        bench.later(delays[-1])
    assert delays == [1_000, 3_000, 9_000, 10_000, 10_000]


def test_jitter_makes_a_delay_shorter_or_longer_by_a_fraction():
    policy = Policy(initial_delay_ms=1_000, jitter=0.2)
    assert [policy.delay_ms(1, chance) for chance in (0.0, 0.5, 1.0)] == [800, 1_000, 1_200]


def test_max_attempts_counts_runs():
    bench = Bench(max_attempts=3).start()
    for _ in range(2):
        bench.end()
        bench.later(bench.due_ms - bench.now)
    bench.end()
    assert bench.runs == 3
    assert bench.seen == ("failed", "given up after 3 failed runs: boom")
    assert bench.is_at_rest
    assert bench.later(10**9).runs == 3


def test_a_run_as_long_as_the_stable_threshold_begins_the_count_anew():
    bench = Bench(max_attempts=3, stable_threshold_ms=5_000).start().end()
    bench.later(1_000).end()
    assert bench.failures == 2
    bench.later(2_000).end(after_ms=5_000)
    assert bench.failures == 1
    bench.later(1_000).end(after_ms=4_999)
    assert bench.failures == 2


def test_a_start_that_fails_is_tried_again_in_the_same_way():
    bench = Bench(max_attempts=2).start()
    bench.service = replace(bench.service, state=State.STARTING)
    bench._take(bench.service.start_failed(bench.now, "no such host", chance=0.5))
    assert bench.seen == ("failed", "cannot be started: no such host")
    bench.later(1_000).end()
    assert bench.reason == "given up after 2 failed runs: boom"


def test_a_process_that_is_not_there_in_time_has_failed_to_start():
    starting, do = Service(policy=Policy(start_timeout_ms=2_000)).start(0)
    assert (do, starting.due_ms, starting.is_alive) == (Do.START, 2_000, True)
    late, do = starting.tick(2_000, chance=0.5)
    assert (do, late.state, late.reason, late.is_alive) == (Do.NOTHING, State.FAILED, "start timeout after 2s", False)
    assert late.due_ms == 3_000


def test_a_start_that_fails_while_the_service_stops_is_its_end():
    stopping, _ = Service(policy=Policy()).start(0)[0].stop(0, "asked to")
    stopped, do = stopping.start_failed(1, "no", chance=0.5)
    assert (do, stopped.state) == (Do.NOTHING, State.STOPPED)


def test_stop_asks_and_the_end_is_stopped():
    bench = Bench().start().stop("asked to")
    assert (bench.seen, bench.done) == (("stopping", "asked to"), ["start", "cancel"])
    bench.end(Ending(error="whatever it says now"))
    assert bench.seen == ("stopped", "asked to")
    assert bench.is_at_rest


def test_what_does_not_stop_in_time_is_terminated_and_has_failed():
    bench = Bench(stop_timeout_ms=2_000).start().stop().later(1_999)
    assert bench.done == ["start", "cancel"]
    bench.later(1)
    assert bench.done == ["start", "cancel", "terminate"]
    assert bench.state is State.STOPPING
    bench.end(Ending(error="process terminated"))
    assert bench.seen == ("failed", "stop timeout after 2s")
    assert bench.is_at_rest


def test_restart_stops_and_starts_with_a_fresh_count():
    bench = Bench().start().end().later(1_000).restart().end(Ending())
    assert bench.done == ["start", "start", "cancel", "start"]
    assert (bench.state, bench.failures, bench.runs) == (State.RUNNING, 0, 3)


def test_restart_of_what_does_not_stop_in_time_starts_too():
    bench = Bench().start().restart().later(10_000).end()
    assert bench.done == ["start", "cancel", "terminate", "start"]
    assert (bench.state, bench.error) == (State.RUNNING, "stop timeout after 10s")


@pytest.mark.parametrize("ask", ["start", "restart"])
def test_who_asks_need_not_wait_for_the_delay(ask):
    bench = getattr(Bench(max_attempts=1).start().end(), ask)()
    assert (bench.state, bench.failures) == (State.RUNNING, 0)


def test_the_last_word_counts_while_it_stops():
    assert Bench().start().stop().start().end().state is State.RUNNING
    assert Bench().start().restart().stop().end().state is State.STOPPED


def test_a_stop_during_the_delay_ends_the_attempts():
    bench = Bench().start().end().stop()
    assert bench.state is State.STOPPED
    assert bench.later(10**9).state is State.STOPPED


def test_a_service_waits_for_what_it_requires():
    bench = Bench().start("app:db (failed)")
    assert (bench.seen, bench.done) == (("starting", "waits for app:db (failed)"), [])
    bench._take(bench.service.waits("app:db (starting)"))
    assert bench.reason == "waits for app:db (starting)"
    bench._take(bench.service.ready(bench.now))
    assert (bench.state, bench.done) == (State.RUNNING, ["start"])


def test_a_service_whose_dependency_does_not_come_up_has_failed_after_the_start_timeout_and_waits_on():
    bench = Bench(start_timeout_ms=3_000, max_attempts=1).start("app:db").later(3_000)
    assert bench.seen == ("failed", "start timeout after 3s: still waits for app:db")
    assert (bench.is_at_rest, bench.failures, bench.runs) == (False, 0, 0)
    bench._take(bench.service.ready(bench.now))
    assert bench.state is State.RUNNING


def test_a_takeover_is_no_failure_and_keeps_the_count_and_the_delay():
    taken = Service(policy=Policy(), failures=3, runs=7, error="boom")
    running, do = taken.take_over(0, left_ms=None, reason="its worker is gone")
    assert (do, running.reason, running.failures, running.runs) == (Do.START, "its worker is gone", 3, 8)
    delayed, do = taken.take_over(0, left_ms=500, reason="its worker is gone")
    assert (do, delayed.state, delayed.due_ms, delayed.reason) == (Do.NOTHING, State.FAILED, 500, "boom")
    assert delayed.tick(500, chance=0.5)[1] is Do.START


@given(
    initial=st.integers(0, 10**8), longest=st.integers(0, 10**8), factor=st.floats(1, 1000), jitter=st.floats(0, 1),
    failures=st.integers(1, 10**9), chance=st.floats(0, 1),
)  # fmt: skip
def test_a_delay_is_never_below_zero_nor_above_the_longest_with_its_jitter(
    initial, longest, factor, jitter, failures, chance
):
    policy = Policy(initial_delay_ms=initial, max_delay_ms=longest, backoff_factor=factor, jitter=jitter)
    delay = policy.delay_ms(failures, chance)
    assert 0 <= delay <= longest * (1 + jitter) + 1
    unshaken = replace(policy, jitter=0.0)
    assert unshaken.delay_ms(failures, chance) <= unshaken.delay_ms(failures + 1, chance)


endings = st.builds(
    Ending, error=st.none() | st.just("boom"), retryable=st.none() | st.booleans(), cancelled=st.booleans()
)
moves = st.one_of(
    st.tuples(st.sampled_from(["start", "stop", "restart", "ready", "waiting start", "cannot start"])),
    st.tuples(st.just("end"), endings),
    st.tuples(st.just("later"), st.integers(0, 20_000)),
)


@given(st.integers(0, 4), st.lists(moves, max_size=60))
def test_whatever_happens_there_is_one_process_at_most_and_always_a_way_on(max_attempts, moves):
    """The one who acts keeps to what the service says; then no process is lost, doubled or left without a reason."""
    bench = Bench(max_attempts=max_attempts)
    service, now, alive, asked = bench.service, 0, False, False
    cannot_start = False

    def act(do: Do) -> None:
        nonlocal service, alive, asked
        if do is Do.START:
            assert not alive
            if cannot_start:
                service, nothing = service.start_failed(now, "no", chance=0.5)
                assert nothing is Do.NOTHING
            else:
                service, alive, asked = service.started(now), True, False
        elif do in (Do.CANCEL, Do.TERMINATE):
            assert alive
            assert (do is Do.TERMINATE) == asked
            asked = True

    for move in moves:
        do = Do.NOTHING
        match move:
            case ("cannot start",):
                cannot_start = not cannot_start
            case ("start",):
                service, do = service.start(now)
            case ("waiting start",):
                service, do = service.start(now, waits_for="app:db")
            case ("restart",):
                service, do = service.restart(now, "asked to")
            case ("ready",):
                service, do = service.ready(now)
            case ("stop",):
                service, do = service.stop(now, "asked to")
            case ("end", ending) if alive:
                alive = False
                service, do = service.ended(now, ending, chance=0.5)
            case ("later", ms):
                now += ms
                service, do = service.tick(now, chance=0.5)
        act(do)
        assert service.is_alive == alive
        assert service.reason or service.state is State.UNKNOWN
        assert alive or service.is_at_rest or service.due_ms is not None or service.waits_for
        if service.state is State.STOPPING:
            assert service.due_ms is not None or service.terminated


def test_start_order_puts_dependencies_first():
    needs = {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": [], "e": ["elsewhere"]}
    assert start_order(needs) == ["d", "b", "c", "a", "e"]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_start_order_and_circles_of_any_graph(edges):
    needs: dict[str, list[str]] = {f"{n:02}": [] for n in range(13)}
    for one, other in edges:
        needs[f"{one:02}"].append(f"{other:02}")
    circle = find_circle(needs)
    if circle:
        assert circle[0] == circle[-1]
        assert all(after in needs[before] for before, after in itertools.pairwise(circle))
    else:
        order = start_order(needs)
        assert sorted(order) == sorted(needs)
        assert all(order.index(other) < order.index(name) for name, others in needs.items() for other in others)
