"""A history cut short: where that can be, what is open there, and what a copy of it says of itself."""

from __future__ import annotations

import pytest

from orchestration.core import events, payload
from orchestration.core.events import Code
from orchestration.core.machine import Machine
from orchestration.core.prefix import (
    Cut,
    cut_at,
    later_answers,
    later_signals,
    open_at,
    possible_cuts,
    with_origin,
    without_answer,
)
from orchestration.core.replay import replay
from orchestration.errors import CorruptHistoryError
from tests.support.lua_runs import Run, bundle

SOURCE = """return function()
  local funcs, time = require("funcs"), require("time")
  local one, late = funcs.async("app:one", 1), time.after("1h")
  time.sleep("1s")
  local first = one:response():receive()
  funcs.call("app:bad")
  local child = process.spawn("app:child", "queue", 1)
  process.inbox():receive()
  return first
end"""


@pytest.fixture
def run() -> Run:
    """Events: 1 start, 2-4 activity 1, timers 2 and 3; 5 timer 3; 6 result, 7 activity 4; 8 failure, 9 child; ..."""
    run = Run(SOURCE)
    run.start()
    run.fire(3)
    run.complete(1, 10)
    run.fail(4, "no")
    run.signal("other", 1)
    return run


def test_a_history_is_cut_behind_the_commands_of_an_input(run: Run) -> None:
    assert [event[1] < 64 for event in run.history] == [
        True, False, False, False, True, True, False, True, False, True,
    ]  # fmt: skip
    cuts = possible_cuts(run.history)
    assert cuts == [Cut(1, 4), Cut(5, 5), Cut(6, 7), Cut(8, 9), Cut(10, 10)]
    for cut in cuts:
        assert replay(Machine(run.bundle), run.history[: cut.length]).version == cut.length


@pytest.mark.parametrize(
    ("where", "cut"),
    [
        (1, Cut(1, 4)), (4, Cut(1, 4)), (6, Cut(6, 7)), (7, Cut(6, 7)), ("start", Cut(1, 4)), ("last", Cut(10, 10)),
        ("first-failure", Cut(6, 7)), ("last-activity", Cut(6, 7)),
    ],
)  # fmt: skip
def test_places_are_named_by_number_or_word(run: Run, where: int | str, cut: Cut) -> None:
    assert cut_at(run.history, where) == cut


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (2, "event 2 is no input that a run can go on from: the inputs are events 1, 5, 6, 8, 10"),
        (0, "no event 0: the inputs are events 1, 5, 6, 8, 10"),
        (99, "no event 99: "),
        ("begin", "'begin' is neither the number of an event nor one of start, last, first-failure, last-activity"),
    ],
)
def test_places_that_are_none_say_which_there_are(run: Run, where: int | str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cut_at(run.history, where)


def test_a_run_is_not_cut_behind_its_end(run: Run) -> None:
    ended = [*run.history, events.encode(events.Terminated(run.tick(), "why"))]
    assert possible_cuts(ended)[-1].length < len(ended)
    with pytest.raises(ValueError, match="no event that a run could go on from"):
        cut_at([run.history[0], events.encode(events.Complete(payload.NIL))], "last")
    with pytest.raises(ValueError, match="no activity of this run has failed"):
        cut_at(run.history[:4], "first-failure")
    with pytest.raises(ValueError, match="no activity of this run has ended"):
        cut_at(run.history[:4], "last-activity")


def test_a_long_list_of_places_is_cut_short() -> None:
    run = Run('return function() local i = process.inbox() while true do i:receive() end end')
    run.start()
    for _ in range(100):
        run.signal("x")
    with pytest.raises(ValueError, match=r"1, 2, .*, 20, \.\.\., 82, .*101"):
        cut_at(run.history, 500)


def test_what_is_open_there_is_what_the_machine_waits_for(run: Run) -> None:
    for cut in possible_cuts(run.history):
        machine = Machine(run.bundle)
        replay(machine, run.history[: cut.length])
        found = open_at(run.history[: cut.length])
        assert sorted(found) == machine.open_commands()
    found = open_at(run.history[:7])
    assert [(item.seq, item.code, item.is_of_another_run) for item in found.values()] == [
        (2, Code.START_TIMER, False), (4, Code.SCHEDULE_ACTIVITY, False),
    ]  # fmt: skip
    started = events.decode(run.history[0])
    assert isinstance(started, events.Started)
    assert found[2].time_ms == started.time_ms
    assert found[4].time_ms > started.time_ms
    assert open_at(run.history)[5].is_of_another_run


def test_what_was_taken_back_is_not_open() -> None:
    run = Run("""return function()
      local funcs, time = require("funcs"), require("time")
      local timer, future = time.timer("1h"), funcs.async("app:one")
      timer:stop() future:cancel()
      process.inbox():receive()
    end""")
    run.start()
    assert open_at(run.history) == {}


def test_an_activity_that_was_asked_to_stop_is_open_until_it_answers() -> None:
    asked = [
        events.encode(events.Signal(1, "x")), events.encode(events.ScheduleActivity(1, "a:b", payload.EMPTY_ARRAY)),
        events.encode(events.CancelActivity(1, True)),
    ]  # fmt: skip
    assert open_at(asked)[1].is_cancelled
    assert open_at([*asked, events.encode(events.ActivityFailed(2, 1, payload.NIL))]) == {}


def test_later_signals_and_answers_of_other_runs_are_found(run: Run) -> None:
    run.apply(events.ChildStarted(run.tick(), 5, "{a:b@c:d|child}"))
    run.apply(events.ChildEnded(run.tick(), 5, "{a:b@c:d|child}", True, payload.encode(1)))
    later = run.history[9:]
    still_open = open_at(run.history[:9])
    assert [event[1] for event in later_answers(later, still_open)] == [Code.CHILD_STARTED, Code.CHILD_ENDED]
    assert list(later_answers(later, open_at(run.history[:7]))) == []  # asked for behind that place
    assert [event[1] for event in later_signals(later)] == [Code.SIGNAL]


def test_the_answer_of_an_activity_is_found(run: Run) -> None:
    assert without_answer(run.history, 1) == (Cut(5, 5), 5)
    assert without_answer(run.history, 4) == (Cut(6, 7), 7)
    with pytest.raises(ValueError, match="no result of an activity 2 is recorded there: there are 1, 4"):
        without_answer(run.history, 2)
    with pytest.raises(ValueError, match="there is none"):
        without_answer(run.history[:4], 1)


def test_a_copy_says_where_it_comes_from_and_the_code_sees_nothing_of_it() -> None:
    source = 'return function() local w = require("workflow") process.inbox():receive() return w.info() end'
    run = Run(source)
    run.start(1, 2)
    first = with_origin(run.history[0], reset_of={"run": "r-1", "event": 1})
    again = with_origin(first, forked_from={"run": "r-2", "event": 70_000, "pid": "p"})
    started = events.decode(again)
    assert isinstance(started, events.Started)
    assert started.meta["forked_from"]["event"] == 70_000
    assert "reset_of" not in started.meta
    outcomes = []
    for begin in (run.history[0], first, again):
        machine = Machine(bundle(source))
        replay(machine, [begin, *run.history[1:]])
        outcomes.append(machine.apply(events.encode(events.Signal(run.now_ms + 1, "go"))))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    with pytest.raises(CorruptHistoryError):
        with_origin(events.encode(events.TimerFired(1, 1)), reset_of={})
