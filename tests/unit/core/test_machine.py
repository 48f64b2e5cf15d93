# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""A machine from start to end: results, failures, limits, signals, what the outside may see."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestration.core import events, payload
from orchestration.core.bundle import Bundle, Import, Unit
from orchestration.core.machine import Machine, Mode
from orchestration.core.replay import replay
from orchestration.errors import (
    CorruptHistoryError,
    LuaSourceError,
    MemoryLimitError,
    NondeterminismError,
    OrchestrationError,
    StepLimitError,
)
from orchestration.types import EntryId, Limits
from tests.support.lua_runs import PID, Run, bundle, meta, returned

CONFIG = Path(__file__).parents[3] / "config" / "workflows"


# The page of patterns: its Lua runs as it is written there, once its free variables are given.

ORDER = """
return function(payment)
local funcs = require("funcs")
local time = require("time")
local result = funcs.call("app.api:charge_card", payment)
time.sleep("24h")
local status = funcs.call("app.api:check_status", result.id)
if status == "failed" then
funcs.call("app.api:refund", result.id)
end
end
"""

SAGA = """
return function(items, amount, order)
local funcs = require("funcs")
local inventory = funcs.call("app.inventory:reserve", items)
if inventory.error then
return nil, inventory.error
end
local payment = funcs.call("app.payments:charge", amount)
if payment.error then
funcs.call("app.inventory:release", inventory.id)
return nil, payment.error
end
local shipping = funcs.call("app.shipping:create", order)
if shipping.error then
funcs.call("app.payments:refund", payment.id)
funcs.call("app.inventory:release", inventory.id)
return nil, shipping.error
end
return {inventory = inventory, payment = payment, shipping = shipping}
end
"""

APPROVAL = """
return function(request)
local funcs = require("funcs")
funcs.call("app.approvals:submit", request)
local inbox = process.inbox()
local msg = inbox:receive() -- bloquea hasta que llega la señal
if msg.approved then
funcs.call("app.orders:fulfill", request.order_id)
else
funcs.call("app.notifications:send_rejection", request)
end
end
"""


def test_an_order_is_charged_waits_a_day_and_is_refunded() -> None:
    run = Run(ORDER)
    (charge,) = run.start({"amount": 5})
    assert charge == events.ScheduleActivity(1, "app.api:charge_card", payload.encode([{"amount": 5}]), {})
    assert run.complete(1, {"id": "p1"}) == [events.StartTimer(2, 86_400_000)]
    (check,) = run.fire(2, 86_400_000)
    assert check == events.ScheduleActivity(3, "app.api:check_status", payload.encode(["p1"]), {})
    (refund,) = run.complete(3, "failed")
    assert refund == events.ScheduleActivity(4, "app.api:refund", payload.encode(["p1"]), {})
    assert run.complete(4) == [events.Complete(payload.NIL)]
    assert run.replayed().closed


@pytest.mark.parametrize(
    ("broken", "undone"),
    [
        ("app.inventory:reserve", []),
        ("app.payments:charge", ["app.inventory:release"]),
        ("app.shipping:create", ["app.payments:refund", "app.inventory:release"]),
        ("", []),
    ],
)
def test_a_saga_undoes_its_steps_last_first(broken: str, undone: list[str]) -> None:
    run, asked = Run(SAGA), list[str]()
    pending = run.start(["thing"], 10, {"id": "o1"})
    while not run.machine.closed:
        (command,) = pending
        assert isinstance(command, events.ScheduleActivity)
        asked.append(command.target)
        pending = run.complete(
            command.seq, {"error": "out of it"} if command.target == broken else {"id": command.target}
        )
    if broken:
        assert run.failure["message"] == "out of it"
        assert asked[asked.index(broken) + 1 :] == undone
    else:
        assert run.result["payment"] == {"id": "app.payments:charge"}


@pytest.mark.parametrize(
    ("approved", "then"), [(True, "app.orders:fulfill"), (False, "app.notifications:send_rejection")]
)
@pytest.mark.parametrize("early", [True, False])
def test_an_approval_waits_for_its_signal(approved: bool, then: str, early: bool) -> None:
    run = Run(APPROVAL)
    run.start({"order_id": 7})
    if early:
        assert run.signal("decision", {"approved": approved}) == []
        (command,) = run.complete(1)
    else:
        assert run.complete(1) == []
        assert [place.waits_for for place in run.machine.places()] == ["inbox:receive"]
        (command,) = run.signal("decision", {"approved": approved})
    assert isinstance(command, events.ScheduleActivity)
    assert command.target == then


@pytest.mark.parametrize("name", ["order_processor", "order_saga", "approval"])
def test_the_examples_of_the_configuration_end(name: str) -> None:
    source = (CONFIG / f"{name}.lua").read_text()
    run = Run(bundle(source, ("funcs", "time"), f"{name}.lua"))
    run.start({"id": "o1", "order_id": "o1", "items": [], "amount": 5, "address": "x"})
    run.auto({target: lambda *_: {"id": "x", "cents": 5} for target in (
        "app.api:charge_card", "app.pricing:total", "app.inventory:reserve", "app.payments:charge", "app.shipping:create",
    )})  # fmt: skip
    assert run.machine.closed
    assert run.replayed().closed


# How a run ends.


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return", None), ("return 5", 5), ("return 5, nil", 5), ("return 5, 6", 5), ("return 5, false", 5),
        ("return 1, nil, 'x'", 1), ("return 'x', {}", "x"), ("return nil, 5", None),
    ],
)  # fmt: skip
def test_a_result_is_the_first_value(code: str, value: object) -> None:
    assert returned(code) == value


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("return 1, 'text'", {"message": "text", "kind": "Internal", "retryable": False}),
        ("return false, ''", {"message": "", "kind": "Internal", "retryable": False}),
        ("return 1, errors.new('x')", {"message": "x", "kind": ""}),
        ("error('boom')", {"message": "flow.lua:1: boom", "kind": "Internal"}),
        (
            "local x = nil; x.y = 1",
            {"message": "flow.lua:1: attempt to index a nil value (local 'x')", "kind": "Internal"},
        ),
        ("error({})", {"message": "(error value is a table)", "kind": "Internal"}),
        (
            "error(errors.new{message='m', kind='K', retryable=true, details={a=1}})",
            {"message": "m", "kind": "K", "retryable": True, "details": {"a": 1}},
        ),
    ],
)
def test_failures_keep_what_is_known_of_them(code: str, failure: dict[str, Any]) -> None:
    run = Run(f"return function() {code} end")
    run.start()
    found = run.failure
    assert found.pop("stack")
    assert found == failure


@pytest.mark.parametrize(
    ("source", "ends_well"),
    [
        ("return { main = function() return 1 end }", True),
        ("return function() return 1 end", True),
        ("local function main() return 1 end return main", True),
        ("return { other = function() end }", False),
        ("function main() end", False),
        ("return 5", False),
    ],
)
def test_a_chunk_returns_a_function_or_a_table_with_the_method(source: str, ends_well: bool) -> None:
    run = Run(source)
    run.start()
    if ends_well:
        assert run.result == 1
    else:
        assert run.failure["kind"] == "NotFound"
        assert run.failure["message"] == 'method "main" not found in module'


def test_a_syntax_error_is_told_before_the_run() -> None:
    with pytest.raises(LuaSourceError, match=r"flow\.lua:2:"):
        Machine(bundle("local x = 1\nlocal = 2"))


def test_libraries_are_bound_under_their_alias_once() -> None:
    inner = Unit(
        entry_id=EntryId("lib:inner"),
        source_name="inner.lua",
        source="local json = require('json') return { n = 0 }",
        modules=("json",),
    )
    lib = Unit(
        entry_id=EntryId("lib:outer"), source_name="outer.lua", imports=(Import(alias="deep", unit=inner),),
        source="return { next = function() deep.n = deep.n + 1 return deep.n end }",
    )  # fmt: skip
    code = Bundle(
        entry_id=EntryId("app:flow"), source_name="flow.lua", method="main",
        source="local a = require('lib') return function() a.next() return {lib.next(), rawequal(a, lib), pcall(require, 'json')} end",
        imports=(Import(alias="lib", unit=lib),),
    )  # fmt: skip
    run = Run(code)
    run.start()
    assert run.result[:3] == [2, True, False]
    assert "module 'json' not found" in run.result[3]


def test_modules_that_are_not_listed_are_not_visible() -> None:
    run = Run("return function() return require('time') end", modules=("funcs",))
    run.start()
    assert "module 'time' not found" in run.failure["message"]


# Limits.


@pytest.mark.parametrize(
    "code",
    [
        "while true do end",
        "pcall(function() while true do end end)",
        "local t = {} while true do t[#t+1] = coroutine.wrap(function() coroutine.yield() end) t[#t]() end",
    ],
)
def test_code_without_an_end_is_stopped_and_leaves_the_machine_dead(code: str) -> None:
    run = Run(f"return function() {code} end", limits=Limits(instructions=1_000_000, memory_bytes=8_000_000))
    with pytest.raises((StepLimitError, MemoryLimitError)):
        run.start()
    with pytest.raises(OrchestrationError, match="dead"):
        run.signal("x")


def test_the_budget_is_counted_anew_for_each_input() -> None:
    run = Run(
        "return function() local inbox = process.inbox() for i = 1, 5 do inbox:receive() for j = 1, 200000 do end end return 1 end",
        limits=Limits(instructions=500_000),
    )
    run.start()
    for _ in range(5):
        run.signal("go")
    assert run.result == 1


def test_memory_has_a_limit() -> None:
    run = Run(
        "return function() local t = {} for i = 1, 1e9 do t[i] = 'x' .. i end end",
        limits=Limits(memory_bytes=4_000_000),
    )
    with pytest.raises((MemoryLimitError, StepLimitError)):
        run.start()


def test_results_and_arguments_have_a_limit() -> None:
    run = Run("return function() return string.rep('x', 2000) end")
    run.start(payload_bytes=1000)
    assert "the limit is 1000" in run.failure["message"]
    run = Run("return function() return require('funcs').call('a:b', string.rep('x', 2000)) end")
    run.start(payload_bytes=1000)
    assert "the limit is 1000" in run.failure["message"]


def test_a_run_keeps_the_limit_that_it_was_started_with() -> None:
    """A setting that changes under a run must not change what its code sees: a replay would go another way."""
    source = "return function() return require('funcs').call('a:b', string.rep('x', 3000000)) end"
    for started_with in ({}, {"payload_bytes": 4_000_000}):
        run = Run(source)
        run.start(**started_with)
        for now in (1000, 10_000_000):
            replay(Machine(run.bundle, limits=Limits(payload_bytes=now)), run.history)


# Time and chance.


def test_time_is_the_time_of_the_last_input_and_never_runs_back() -> None:
    run = Run("""return function()
      local time, inbox, seen = require('time'), process.inbox(), {}
      for i = 1, 3 do seen[i] = time.now():unix_nano() // 1000000 inbox:receive() end
      return seen end""")
    run.start()
    first = run.now_ms
    run.signal("a")
    run.now_ms -= 5000
    run.signal("b")
    run.signal("c")
    assert run.result == [first, first + 10, first + 10]


CHANCE = "return function() local u = require('uuid') return {u.v4(), u.v7(), math.random(1, 1e9), math.random()} end"


def test_chance_comes_from_the_seed() -> None:
    first, second, other = Run(CHANCE), Run(CHANCE), Run(CHANCE)
    first.start()
    second.start()
    other.start(seed=b"another seed ...")
    assert first.result == second.result
    assert all(a != b for a, b in zip(first.result, other.result, strict=True))


# What the outside sees.


class Host:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def now_ms(self) -> int:
        return 5_000

    def random(self, n: int) -> bytes:
        return b"r" * n

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        self.lines.append(f"{level} {text}")


def test_print_is_heard_live_and_not_in_a_replay() -> None:
    host = Host()
    run = Run("return function() print('a', 1, nil) process.inbox():receive() print('b') end", host=host)
    run.start()
    assert host.lines == ["info a 1 nil"]
    again = Machine(run.bundle, host=host)
    again.apply(run.history[0], replaying=True)
    assert len(host.lines) == 1
    again.apply(events.encode(events.Signal(run.tick(), "x")))
    assert host.lines[1:] == ["info b"]


def test_functions_have_the_real_clock_and_chance() -> None:
    run = Run(
        "return function() return {require('time').now():unix(), require('workflow').info()} end",
        mode=Mode.FUNCTION,
        host=Host(),
    )
    run.start(lua="")
    assert run.result == [5]


def test_places_tell_where_each_coroutine_stands() -> None:
    run = Run("""local function charge()
  return (require('funcs').call('app.api:charge', 1))
end
return function()
  coroutine.spawn(function()
    require('time').sleep('24h')
  end)
  local gen = coroutine.wrap(function()
    charge()
  end)
  gen()
end""")
    run.start()
    main, task = run.machine.places()
    assert (main.task, main.file, main.line, main.function) == (1, "flow.lua", 2, "charge")
    assert main.waits_for == "funcs.call app.api:charge"
    assert main.since_ms == run.now_ms
    assert (task.task, task.line, task.waits_for) == (2, 6, "time.sleep 24h0m0s")
    assert run.machine.open_commands() == [1, 2]


def test_late_answers_change_nothing_and_impossible_ones_park() -> None:
    run = Run(
        "return function() local f = require('funcs').async('a:b') f:cancel() process.inbox():receive() return 1 end"
    )
    run.start()
    assert run.complete(1, 5) == []
    with pytest.raises(NondeterminismError, match="answers command 9"):
        run.complete(9, 5)


def test_a_run_ended_from_outside_runs_no_more_code() -> None:
    run = Run("return function() process.inbox():receive() end")
    run.start()
    assert run.apply(events.Terminated(run.tick(), "enough")) == []
    assert run.machine.closed
    assert run.signal("x") == []


@pytest.mark.parametrize("event", [b"", b"\x92\x01", b"\xff\xff\xff", events.encode(events.StartTimer(1, 5))])
def test_what_is_no_input_is_refused(event: bytes) -> None:
    with pytest.raises(CorruptHistoryError):
        Machine(bundle("return function() end")).apply(event)


def test_a_history_of_another_release_is_refused() -> None:
    started = events.Started(1, meta(format=2))
    with pytest.raises(CorruptHistoryError, match="format 2"):
        Machine(bundle("return function() end")).apply(events.encode(started))


def test_a_run_knows_itself() -> None:
    info = returned(
        "local w = require('workflow').info() return {w.workflow_id, w.run_id, w.workflow_type, w.task_queue, w.attempt, process.pid(), process.id()}"
    )
    assert info == ["w-1", "r-1", "app:flow", "orders", 1, PID, "app:flow"]
