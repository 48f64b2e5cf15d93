# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""What a workflow does that is recorded, and what is calculated again: a replay sees the same of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestration.core import events
from orchestration.core.machine import Machine
from orchestration.core.replay import replay
from tests.support.lua_runs import PID, Run, bundle

MODULES = ("funcs", "time", "workflow", "ctx", "uuid", "json", "process", "crypto", "hash", "base64")
OTHER = "{app:client@app:worker|other}"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("require('funcs').call('a:b')", events.ScheduleActivity),
        ("require('funcs').async('a:b')", events.ScheduleActivity),
        ("require('time').sleep('1s')", events.StartTimer),
        ("require('time').after('1s')", events.StartTimer),
        ("require('time').timer('1s')", events.StartTimer),
        ("require('time').ticker('1s')", events.StartTimer),
        ("process.spawn('a:b', 'q')", events.StartChild),
        ("process.exec('a:b', 'q')", events.StartChild),
        ("require('workflow').exec('a:b')", events.StartChild),
        (f"process.send('{OTHER}', 't')", events.SendSignal),
        (f"process.cancel('{OTHER}')", events.CancelExternal),
        (f"process.terminate('{OTHER}')", events.CancelExternal),
        ("require('workflow').version('c', 1, 2)", events.RecordVersion),
        ("require('workflow').attrs{memo = {a = 1}}", events.UpsertAttributes),
        ("process.upgrade(nil)", events.ContinueAsNew),
    ],
)
def test_every_effect_is_a_recorded_command(code: str, kind: type) -> None:
    run = Run(f"return function() {code} process.inbox():receive() end")
    assert [type(command) for command in run.start()][:1] == [kind]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("local f = require('funcs').async('a:b') f:cancel()", events.CancelActivity),
        ("local t = require('time').timer('1s') t:stop()", events.CancelTimer),
    ],
)
def test_taking_something_back_is_recorded_too(code: str, kind: type) -> None:
    run = Run(f"return function() {code} process.inbox():receive() end")
    assert type(run.start()[1]) is kind


SAME = [
    "require('time').now():unix_nano()", "os.time()", "os.date('%c')", "os.clock()", "math.random()", "math.random(1, 1000000)",
    "require('uuid').v1()", "require('uuid').v4()", "require('uuid').v7()", "require('uuid').v3('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'x')",
    "require('uuid').v5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'x')", "require('crypto').random.bytes(9)",
    "require('crypto').random.string(9)", "require('crypto').random.uuid()", "require('crypto').encrypt.aes('x', ('k'):rep(32))",
    "require('crypto').encrypt.chacha20('x', ('k'):rep(32))", "require('crypto').hmac.sha256('k', 'x')", "require('hash').sha256('x')",
    "tostring({})", "tostring(print)",
]  # fmt: skip


class Other:
    """Another host: whatever it is asked for is different."""

    def now_ms(self) -> int:
        return 1

    def random(self, n: int) -> bytes:
        return b"!" * n

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        raise AssertionError("a replay says nothing")


@pytest.mark.parametrize("code", SAME)
def test_time_and_chance_need_no_command_and_are_the_same_in_a_replay(code: str) -> None:
    source = f"return function() print('here') local v = {code} require('funcs').call('a:b', v) return v end"
    code_bundle = bundle(source, MODULES)
    run = Run(code_bundle)
    (command,) = run.start()
    assert isinstance(command, events.ScheduleActivity), "nothing before it"
    run.complete(1)
    machine = Machine(code_bundle, host=Other())
    replay(machine, run.history)
    assert machine.closed


def test_time_stands_still_between_waits() -> None:
    run = Run("""return function() local time, seen = require('time'), {}
      for i = 1, 4 do seen[i] = {time.now():unix(), os.time(), os.clock() == os.clock()} if i % 2 == 0 then time.sleep('1h') end end
      return seen end""")
    run.start()
    run.fire(1, 3_600_000)
    run.fire(2, 3_600_000)
    first, second, third, fourth = run.result
    assert first == second
    assert third == fourth
    assert third[0] - first[0] == 3600
    assert first[0] == first[1]


@pytest.mark.parametrize("verb", ["register('x')", "lookup('x')", "unregister('x')"])
def test_the_name_table_is_refused(verb: str) -> None:
    run = Run(f"return function() local v, e = process.registry.{verb} return {{not v, e:kind(), e:message()}} end")
    run.start()
    name = verb.split("(", maxsplit=1)[0]
    assert run.result == [True, "Invalid", f"process.registry.{name} not supported in workflow context"]


def test_scheduling_follows_the_order_of_arrival_and_select_the_order_of_the_table() -> None:
    run = Run("""return function()
      local a, b, seen = channel.new(1), channel.new(1), {}
      for i = 1, 3 do coroutine.spawn(function() seen[#seen + 1] = i end) end
      a:send(1) b:send(2)
      local picked = channel.select{ b:case_receive(), a:case_receive() }
      return {seen, picked.value} end""")
    run.start()
    assert run.result == [[1, 2, 3], 2]


@pytest.mark.parametrize("keys", [["z", "a", "m"], ["m", "z", "a"]])
def test_pairs_has_one_order_however_the_table_was_filled(keys: list[str]) -> None:
    run = Run("""return function(keys) local t, seen = {}, {}
      for _, k in ipairs(keys) do t[k] = 1 end
      for k in pairs(t) do seen[#seen + 1] = k end
      return seen end""")
    run.start(keys)
    assert run.result == ["a", "m", "z"]


def test_the_address_is_the_same_in_a_replay() -> None:
    run = Run("return function() require('funcs').call('a:b', process.pid()) return process.pid() end")
    run.start()
    run.complete(1)
    assert run.result == PID
    assert run.replayed().closed
