"""Any history, cut at any input and resumed on a fresh machine, gives the same commands as the run that was not cut."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.core import events
from orchestration.core.events import Event
from orchestration.core.machine import Machine
from orchestration.core.replay import replay
from tests.properties.strategies import programs
from tests.support.lua_runs import Run


def live(source: str, rounds: int, chance: random.Random) -> Run:
    """Run a program, answering in random order, with signals and cancel requests in between."""
    run = Run(source)
    todo: list[Event] = list(run.start(rounds))
    open_timers: dict[int, int] = {}
    open_calls: list[int] = []
    for _ in range(80):
        for command in todo:
            match command:
                case events.StartTimer(seq=seq, delay_ms=delay):
                    open_timers[seq] = run.now_ms + delay
                case events.CancelTimer(timer_seq=seq):
                    open_timers.pop(seq, None)
                case events.ScheduleActivity(seq=seq):
                    open_calls.append(seq)
                case events.CancelActivity(activity_seq=seq):
                    open_calls.remove(seq)
        if run.machine.closed:
            break
        kind = chance.random()
        if kind < 0.15:
            todo = run.signal(chance.choice(["topic", "other"]), chance.randrange(9))
        elif kind < 0.2:
            todo = run.cancel("why")
        elif open_calls and (kind < 0.6 or not open_timers):
            seq = open_calls.pop(chance.randrange(len(open_calls)))
            todo = run.fail(seq, "no", "Broken") if chance.random() < 0.2 else run.complete(seq, chance.randrange(9))
        elif open_timers:
            seq = min(open_timers, key=lambda item: (open_timers[item], item))
            run.now_ms = max(run.now_ms, open_timers.pop(seq))
            todo = run.fire(seq, 0)
        else:
            todo = run.signal("other")
    return run


@given(
    source=programs(),
    rounds=st.integers(1, 3),
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_cut_history_goes_on_as_if_nothing_had_happened(
    source: str, rounds: int, seed: int, cuts: list[float]
) -> None:
    run = live(source, rounds, random.Random(seed))
    inputs = [index for index, event in enumerate(run.history) if not events.is_command(event)]
    for cut in sorted(cuts):
        at = inputs[int(cut * (len(inputs) - 1))]
        machine = Machine(run.bundle)
        position = replay(machine, run.history[:at])
        assert position.version == at
        resumed = run.history[:at]
        for event in (run.history[index] for index in inputs if index >= at):
            resumed += [event, *machine.apply(event)]
        assert resumed == run.history
        assert machine.places() == run.machine.places()
        machine.close()
    replay(Machine(run.bundle), run.history)
