# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Other code over a recorded history: differences of arguments are told, of kind and target they end it."""

from __future__ import annotations

import pytest

from orchestration.core.machine import Machine
from orchestration.core.replay import compare, replay
from orchestration.errors import NondeterminismError
from tests.support.lua_runs import Run, bundle

SOURCE = """return function()
  local funcs, time, w = require("funcs"), require("time"), require("workflow")
  local a = funcs.call("app:one", 1)
  time.sleep("1s")
  process.send("{app:c@app:w|other}", "topic", "text")
  w.attrs({search = {a = 1}})
  local child = process.spawn("app:child", "queue", 1)
  local b = funcs.call("app:two", 2)
  return a + b
end"""


def recorded() -> list[bytes]:
    run = Run(SOURCE)
    run.start()
    run.complete(1, 10)
    run.fire(2)
    run.done(3)
    return run.history


@pytest.mark.parametrize(
    ("change", "number", "actual", "line"),
    [
        (('"app:one", 1', '"app:one", 5'), 2, "activity app:one (number 1) with other args", "flow.lua:3"),
        (('"app:one", 1)', '"app:one", 1, {y = 1})'), 2, "activity app:one (number 1) with other args", "flow.lua:3"),
        (('"1s"', '"2s"'), 4, "a timer of 2000 ms (number 2)", "flow.lua:4"),
        (('"text"', '"other"'), 6, "signal 'topic' to {app:c@app:w|other} (number 3) with other args", "flow.lua:5"),
        (("a = 1", "a = 2"), 8, "new attributes (number 4) with other search", "flow.lua:6"),
        (('"queue", 1', '"queue", 2'), 9, "child workflow app:child on 'queue' (number 5) with other args", "flow.lua:7"),
    ],
)  # fmt: skip
def test_a_difference_of_arguments_is_told_with_its_line(change: tuple[str, str], number: int, actual: str, line: str) -> None:
    history = recorded()
    machine = Machine(bundle(SOURCE.replace(*change)))
    (difference,) = compare(machine, history).differences
    assert (difference.event_number, difference.actual, difference.line) == (number, actual, line)
    with pytest.raises(NondeterminismError):
        replay(Machine(bundle(SOURCE.replace(*change))), history)


@pytest.mark.parametrize(
    "change",
    [
        ('"app:one"', '"app:eins"'), ('time.sleep("1s")', 'funcs.call("app:x")'), ('"topic"', '"other"'),
        ("|other}", "|another}"), ("app:child", "app:kid"), ('time.sleep("1s")', ""), ('process.send(', 'funcs.async("x:y") process.send('),
        ("process.send", "process.cancel"),
    ],
)  # fmt: skip
def test_a_difference_of_kind_or_target_ends_the_replay(change: tuple[str, str]) -> None:
    history = recorded()
    with pytest.raises(NondeterminismError):
        compare(Machine(bundle(SOURCE.replace(*change))), history)


def test_the_comparison_is_lenient_up_to_the_event_where_the_code_changed_and_strict_behind_it() -> None:
    history = recorded()
    changed = SOURCE.replace('"app:one", 1', '"app:one", 5').replace('"1s"', '"2s"')
    with pytest.raises(NondeterminismError) as caught:
        replay(Machine(bundle(changed)), history, lenient_until=3)
    assert caught.value.event_number == 4
    position = replay(Machine(bundle(changed)), history, lenient_until=4)
    assert [difference.event_number for difference in position.differences] == [2, 4]
    assert replay(Machine(bundle(SOURCE)), history).differences == ()


def test_many_differences_are_cut_short() -> None:
    source = 'return function() for i = 1, 50 do require("funcs").call("app:x", i) end end'
    run = Run(source)
    run.start()
    run.auto()
    found = compare(Machine(bundle(source.replace('"app:x", i', '"app:x", -i'))), run.history).differences
    assert len(found) == 20
    assert [item.line for item in found] == ["flow.lua:1"] + [""] * 19
