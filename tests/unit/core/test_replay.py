# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Replay: the same history gives the same commands, and a difference is told with both sides and the Lua line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestration.core import events, payload
from orchestration.core.machine import Machine
from orchestration.core.replay import recorded_versions, replay
from orchestration.errors import CorruptHistoryError, NondeterminismError
from tests.support.lua_runs import Run, bundle, meta

ROOT = Path(__file__).parents[3]

LOOP = """
local funcs = require("funcs")
return function(n)
  local sum = 0
  for i = 1, n do
    local r, err = funcs.call("app:step", {id = i, name = "x"})
    sum = sum + r.value
  end
  return {sum = sum}
end
"""

TWO = """return function()
  local funcs = require("funcs")
  local a = funcs.call("app:one", 1)
  require("time").sleep("1s")
  local b = funcs.call("app:two", 2)
  return a + b
end"""


def recorded(source: str) -> list[bytes]:
    run = Run(source)
    run.start()
    run.auto()
    return run.history


def difference(source: str, history: list[bytes]) -> NondeterminismError:
    with pytest.raises(NondeterminismError) as caught:
        replay(Machine(bundle(source)), history)
    return caught.value


def test_a_replay_tells_where_it_ended() -> None:
    history = recorded(TWO)
    position = replay(Machine(bundle(TWO)), history)
    assert position.version == len(history) == 8
    assert position.closed
    assert position.size_bytes == sum(map(len, history))
    last = events.decode(history[-2])
    assert isinstance(last, events.ActivityCompleted)
    assert position.last_time_ms == last.time_ms
    part = replay(Machine(bundle(TWO)), iter(history[:4]))
    assert (part.version, part.closed) == (4, False)


@pytest.mark.parametrize(
    ("change", "number", "expected", "actual", "line"),
    [
        (('"app:one", 1', '"app:one", 5'), 2, "activity app:one (number 1)", "activity app:one (number 1) with other args", "flow.lua:3"),
        (("app:two", "app:three"), 6, "activity app:two (number 3)", "activity app:three (number 3)", "flow.lua:5"),
        (('"1s"', '"2s"'), 4, "a timer of 1000 ms (number 2)", "a timer of 2000 ms (number 2)", "flow.lua:4"),
        (('require("time").sleep("1s")', "do return 1 end"), 4, "a timer of 1000 ms (number 2)", "the end with a result", ""),
        (('require("time").sleep("1s")', "process.inbox():receive()"), 4, "a timer of 1000 ms (number 2)", "nothing more, it waits at flow.lua:4", "flow.lua:4"),
        (("local b", 'funcs.async("app:x") local b'), 6, "activity app:two (number 3)", "activity app:x (number 3)", "flow.lua:5"),
        (("local funcs = ", 'require("funcs").async("app:x") local funcs = '), 2, "activity app:one (number 1)", "activity app:x (number 1)", "flow.lua:2"),
        (("a + b", "a - b"), 8, "the end with a result", "the end with a result with other result", ""),
    ],
)  # fmt: skip
def test_a_difference_is_reported_with_both_sides_and_the_line(
    change: tuple[str, str], number: int, expected: str, actual: str, line: str
) -> None:
    error = difference(TWO.replace(*change), recorded(TWO))
    assert (error.event_number, error.expected, error.actual, error.line) == (number, expected, actual, line)
    assert expected in str(error)
    assert actual in str(error)


def test_a_command_where_the_history_goes_on_with_an_input_is_a_difference() -> None:
    history = recorded(TWO)
    error = difference(TWO.replace("local b", 'funcs.async("app:x") local b'), history[:5] + history[6:])
    assert error.expected == "nothing before the result of activity 3"
    error = difference(TWO, history[:3])
    assert (error.event_number, error.expected, error.actual) == (4, "nothing more", "a timer of 1000 ms (number 2)")


def test_damaged_histories_are_told_apart() -> None:
    history = recorded(TWO)
    with pytest.raises(CorruptHistoryError):
        replay(Machine(bundle(TWO)), [*history[:2], b"\xff\xff"])
    with pytest.raises(CorruptHistoryError):
        replay(Machine(bundle(TWO)), [events.encode(events.Started(1, meta(lua="5.5")))])


VERSIONED = """return function()
  local w, funcs, inbox = require("workflow"), require("funcs"), process.inbox()
  inbox:receive()
  %s
  inbox:receive()
  return 1
end"""
NEW = """local v = w.version("pay", -1, 2)
  if v == 2 then funcs.async("app:new", w.version("pay", -1, 2)) else funcs.async("app:old") end"""


def test_versions_are_recorded_once_and_keep_old_histories_on_the_old_branch() -> None:
    old = Run(VERSIONED % 'funcs.async("app:old")')
    old.start()
    old.signal("go")
    machine = Machine(bundle(VERSIONED % NEW))
    replay(machine, old.history)
    new = Run(VERSIONED % NEW)
    new.start()
    commands = new.signal("go")
    assert commands == [
        events.RecordVersion(1, "pay", 2),
        events.ScheduleActivity(2, "app:new", payload.encode([2, None]), {}),
    ]
    assert recorded_versions(new.history) == {"pay": 2}
    assert not new.replayed().closed
    later = Machine(bundle(VERSIONED % NEW.replace("-1, 2", "-1, 3")))
    replay(later, new.history)


def test_a_recorded_version_that_the_code_no_longer_takes_parks_the_run() -> None:
    new = Run(VERSIONED % NEW)
    new.start()
    new.signal("go")
    code = VERSIONED % NEW.replace('w.version("pay", -1, 2)', 'pcall(w.version, "pay", 3, 4)', 1)
    error = difference(code, new.history)
    assert "version 2 of change 'pay'" in error.actual


@pytest.mark.parametrize(("call", "text"), [('"", 1, 2', "change ID required"), ('"x", 3, 2', "larger")])
def test_wrong_versions_are_returned_errors(call: str, text: str) -> None:
    run = Run(
        f'return function() local v, e = require("workflow").version({call}) return {{e:kind(), e:message()}} end'
    )
    run.start()
    assert run.result[0] == "Invalid"
    assert text in run.result[1]


def test_history_length_and_size_grow_the_same_live_and_replayed() -> None:
    source = """return function() local w, t, seen = require("workflow"), require("time"), {}
      for i = 1, 3 do seen[i] = {w.history_length(), (w.history_size())} t.sleep("1s") end
      return seen end"""
    run = Run(source)
    run.start()
    run.auto()
    assert [item[0] for item in run.result] == [1, 3, 5]
    assert run.result[1][1] == sum(map(len, run.history[:3]))
    assert run.replayed().closed


def test_ten_thousand_events_replay_quickly() -> None:
    """The figure of benchmarks/ is lower; this bound only catches a cost that grows with the history."""
    run = Run(LOOP)
    run.start(5000)
    run.auto({"app:step": lambda arg: {"value": arg["id"]}})
    assert len(run.history) == 10_002
    started = time.process_time()
    machine = Machine(run.bundle)
    replay(machine, run.history)
    assert time.process_time() - started < 1.0
    machine.close()


WALK = """
local funcs = require("funcs")
local function walk(t)
  local parts = {}
  for k, v in pairs(t) do parts[#parts + 1] = tostring(k) .. "=" .. tostring(v) end
  return table.concat(parts, ",")
end
return function(n)
  local objects, t = {}, {}
  for i = 1, 10 do objects[i] = {} end
  for i = 1, n do
    t["k" .. (i * 7919) % 1000] = i
    t[i % 17 + 0.5] = i
    t[-i % 23] = i
    t[i % 2 == 0] = i
    t[objects[i % 10 + 1]] = i
    funcs.call("app:step", i % 50 == 0 and walk(t) or i, math.random(1000000), tostring(objects[1]))
    if i % 100 == 0 then collectgarbage = nil end
  end
  return walk(t)
end
"""

CHILD = """
import hashlib, gc, sys
from tests.support.lua_runs import Run
from tests.unit.core.test_replay import WALK
if sys.argv[1] == "0": gc.disable()
run = Run(WALK)
run.start(int(sys.argv[2]))
run.auto({"app:step": lambda *a: len(a)})
assert run.replayed().closed
print(len(run.history), hashlib.sha256(b"".join(run.history)).hexdigest())
"""


@pytest.mark.parametrize(
    ("processes", "steps"), [(3, 200), pytest.param(20, 5000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_fresh_processes_give_the_same_commands(processes: int, steps: int) -> None:
    """Hash seeds of Python and Lua, addresses and garbage collection differ; the commands must not."""
    seen = set()
    for number in range(processes):
        environment = os.environ | {"PYTHONHASHSEED": str(number * 7919), "PYTHONPATH": str(ROOT)}
        found = subprocess.run(
            [sys.executable, "-c", CHILD, str(number % 2), str(steps)],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        seen.add(found.stdout)
    assert len(seen) == 1, seen
    assert seen.pop().startswith(str(2 * steps + 2))
