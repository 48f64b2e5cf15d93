# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Side effects: a value made once, recorded, and never made again by a replay."""

from __future__ import annotations

import pytest

from orchestration.core import events, payload
from orchestration.core.bundle import Bundle, Import, Unit
from orchestration.core.machine import Machine
from orchestration.core.replay import replay
from orchestration.errors import MemoryLimitError, NondeterminismError, StepLimitError
from orchestration.types import EntryId, Limits
from tests.support.lua_runs import MODULES, Run, bundle

HEAD = 'local workflow, time, funcs, uuid = require("workflow"), require("time"), require("funcs"), require("uuid")\n'


def run_of(body: str) -> Run:
    run = Run(f"{HEAD}return function(...)\n{body}\nend")
    run.start()
    return run


def test_a_side_effect_is_recorded_with_its_value() -> None:
    run = run_of('return workflow.side_effect(function() return { n = 1, list = { "a" } } end)')
    assert run.last[0] == events.SideEffect(1, "value", payload.encode({"n": 1, "list": ["a"]}))
    assert run.result == {"n": 1, "list": ["a"]}


def test_a_replay_takes_the_recorded_value_and_does_not_run_the_function() -> None:
    """The code that runs now would give something else: what is recorded counts."""
    run = run_of('local v = workflow.side_effect(function() return "old" end) funcs.call("app:x", v) return v')
    machine = Machine(bundle(run.bundle.source.replace('"old"', '"new"')))
    replay(machine, run.history)
    assert events.decode(machine.apply(events.encode(events.ActivityCompleted(run.tick(), 2)))[0]) == events.Complete(payload.encode("old"))


def test_writes_to_captured_variables_are_lost_on_replay() -> None:
    """Documented: a function that writes to what it captures makes the code differ from its own history.

    Replaying everything shows it at the first step.
    """
    with pytest.raises(NondeterminismError, match="app:x"):
        run_of('local n = 0 workflow.side_effect(function() n = n + 1 end) funcs.call("app:x", n)').replayed()


def test_the_catch_up_of_a_machine_is_told_the_effects_of_the_tail() -> None:
    run = run_of("""
    local first = workflow.side_effect(function() return "one" end)
    process.inbox():receive()
    local second = workflow.side_effect(function() return "two" end)
    process.inbox():receive()
    return { first, second }""")
    behind = Machine(bundle(run.bundle.source.replace('"two"', '"other"')))
    replay(behind, run.history)
    seen = len(run.history)
    run.signal("go")
    replay(behind, run.history[seen:])
    assert payload.decode(events.decode(behind.apply(events.encode(events.Signal(run.tick(), "go")))[-1]).result) == ["one", "two"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "how", "caught"),
    [
        ('error("boom")', "raised", ["raised", "flow.lua:5: boom", "Internal"]),
        ('error(errors.new{ message = "gone", kind = "NotFound" })', "raised", ["raised", "gone", "NotFound"]),
        ('return nil, errors.new{ message = "no", kind = "Luck" }', "error", ["returned", "no", "Luck"]),
        ('return nil, "text"', "error", ["returned", "text", "Internal"]),
        ("return { [{}] = 1 }", "error", ["returned", "failed to encode result: cannot encode table key of type table", "Internal"]),
    ],
)
def test_a_failing_side_effect_fails_the_same_way_on_replay(body: str, how: str, caught: list[str]) -> None:
    source = f"""
    local ok, value, err = pcall(workflow.side_effect, function()
      {body} end)
    local problem = ok and err or value
    funcs.call("app:x", {{ ok and "returned" or "raised", problem:message(), problem:kind() }})"""
    run = run_of(source)
    effect, call = run.last
    assert isinstance(effect, events.SideEffect)
    assert effect.how == how
    assert isinstance(call, events.ScheduleActivity)
    said = payload.decode(call.args)[0]
    assert said[0] == caught[0]
    assert said[1].startswith(caught[1][:30])
    assert said[2] == caught[2]
    run.replayed()


def test_what_the_function_draws_is_nothing_to_the_rest_of_the_run() -> None:
    body = """
    local draw = function() return { math.random(1000000), uuid.v4(), math.random() } end
    local before, inside = draw(), workflow.side_effect(function() draw() return draw() end)
    funcs.call("app:x", before, inside, draw())"""
    run = run_of(body)
    run.replayed()
    machine = Machine(bundle(run.bundle.source.replace("draw() return draw()", "return draw()")))
    replay(machine, run.history)
    call = run.last[-1]
    assert isinstance(call, events.ScheduleActivity)
    before, inside, after = payload.decode(call.args)
    assert len({before[1], inside[1], after[1]}) == 3, "no identifier comes twice"


def test_a_side_effect_has_a_budget_of_its_own() -> None:
    limits = Limits(instructions=3_000_000)
    spin = "for i = 1, 600000 do end"
    source = f"{HEAD}return function() {spin} workflow.side_effect(function() {spin} {spin} end) {spin} return 1 end"
    run = Run(source, limits=limits)
    run.start()
    assert run.result == 1
    endless = Run(f"{HEAD}return function() workflow.side_effect(function() while true do end end) end", limits=limits)
    with pytest.raises(StepLimitError):
        endless.start()


def test_effects_of_many_steps_need_no_more_memory_on_replay_than_in_the_run() -> None:
    limits = Limits(memory_bytes=16 * 1024 * 1024)
    run = Run(
        f'{HEAD}return function() while process.inbox():receive():topic() == "more" do workflow.side_effect(function() return string.rep("x", 1000000) end) end end',
        limits=limits,
    )
    run.start()
    for _ in range(40):
        run.signal("more")
    machine = Machine(run.bundle, limits=limits)
    try:
        replay(machine, run.history)
    except MemoryLimitError:  # pragma: no cover - the failure this test is about
        pytest.fail("a replay needs more memory than the run did")


def test_code_without_the_side_effect_does_not_fit() -> None:
    run = run_of('workflow.side_effect(function() return 1 end) funcs.call("app:x")')
    with pytest.raises(NondeterminismError, match="a side effect"):
        replay(Machine(bundle(f'{HEAD}return function() funcs.call("app:x") end')), run.history)
    other = run_of('funcs.call("app:x")')
    with pytest.raises(NondeterminismError, match=r"a side effect \(number 1\) at flow.lua:2"):
        replay(Machine(bundle(f'{HEAD}return function() workflow.side_effect(function() return 1 end) funcs.call("app:x") end')), other.history)


def test_all_side_effects_of_a_step_share_one_budget() -> None:
    """Each had the whole budget: a loop of them held its worker for hours, and no limit saw it."""
    body = "workflow.side_effect(function() for i = 1, 300000 do end end)"
    limits = Limits(instructions=3_000_000)
    endless = Run(f"{HEAD}return function() for i = 1, 100 do {body} end end", limits=limits)
    with pytest.raises(StepLimitError):
        endless.start()
    run = Run(f"{HEAD}return function() for i = 1, 20 do {body} process.inbox():receive() end return 1 end", limits=limits)
    run.start()
    for _ in range(20):
        run.signal("on")
    assert run.result == 1, "the next step has a new one"


def test_a_library_is_not_loaded_inside_a_side_effect() -> None:
    """A replay leaves the function out, so it loaded the library later, and its draws came from elsewhere."""
    library = Unit(entry_id=EntryId("app:lib"), source_name="lib.lua", source='return { id = require("uuid").v4() }', modules=("uuid",))
    source = f"""{HEAD}return function()
      local ok, problem = pcall(workflow.side_effect, function() return require("lib").id end)
      local later = require("lib").id
      funcs.call("app:x", problem:message(), later, workflow.side_effect(function() return require("lib").id end) == later)
    end"""
    run = Run(
        Bundle(
            entry_id=EntryId("app:flow"), source_name="flow.lua", source=source, modules=MODULES, method="main",
            imports=(Import(alias="lib", unit=library),),
        )
    )  # fmt: skip
    call = run.start()[-1]
    assert isinstance(call, events.ScheduleActivity)
    text, _, same = payload.decode(call.args)
    assert text == "library app:lib is not loaded yet: require it outside the side effect"
    assert same is True
    run.replayed()
