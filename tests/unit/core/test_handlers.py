# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Queries and updates on a machine: who may do what, and what of it is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core import events, handlers, payload
from orchestration.core.machine import Machine, Mode
from orchestration.core.replay import replay
from orchestration.errors import NondeterminismError
from orchestration.types import Limits
from tests.support.lua_runs import Run, bundle, returned

COUNTER = """
local workflow, time, funcs = require("workflow"), require("time"), require("funcs")
return function()
  local total, over = 0, false
  workflow.query("total", function(...) return total, nil end)
  workflow.query("echo", function(...)
    local n = select("#", ...)
    return { n, (select(1, ...)), tostring((select(2, ...))), (select(3, ...)) }
  end)
  workflow.query("spoil", function() total = total + 1 return total end)
  workflow.update("add", function(n) total = total + n return total end, {
    validate = function(n)
      total = total + 100 -- lost: it runs on a machine of its own
      if type(n) ~= "number" then return nil, errors.new{ message = "a number, please", kind = "Invalid" } end
      if n < 0 then error("not below zero") end
      if n == 0 then return false end
    end,
  })
  workflow.update("slow", function(n) time.sleep("1s") return (funcs.call("app:double", n)) end)
  workflow.update("fails", function() return nil, errors.new{ message = "no luck", kind = "Luck", retryable = false } end)
  workflow.update("raises", function() error("boom") end)
  workflow.update("finish", function() over = true return "bye" end)
  workflow.wait(function() return over end)
  return total
end
"""


def asked(run: Run, name: str, *args: Any) -> Any:
    """A query's result, or its failure."""
    machine = run.replayed()
    answer = handlers.ask(machine, name, payload.encode(list(args)))
    machine.close()
    return payload.decode(answer.value) if answer.ok else payload.decode_failure(answer.value)


def update(run: Run, name: str, *args: Any, update_id: str = "u-1") -> list[events.Event]:
    return run.apply(events.Update(run.tick(), update_id, name, payload.encode(list(args))))


def refusal(run: Run, name: str, *args: Any) -> dict[str, Any] | None:
    machine = run.replayed()
    failure = handlers.validate(machine, name, payload.encode(list(args)))
    machine.close()
    return payload.decode_failure(failure) if failure is not None else None


@pytest.fixture
def counter() -> Run:
    run = Run(COUNTER)
    run.start()
    return run


def test_a_query_reads_the_state_that_replay_brings_back(counter: Run) -> None:
    update(counter, "add", 5)
    assert asked(counter, "total") == 5
    assert asked(counter, "echo", 1, None, "x", None) == [4, 1, "nil", "x"]


def test_a_query_leaves_no_trace(counter: Run) -> None:
    before = list(counter.history)
    assert asked(counter, "spoil") == 1
    assert asked(counter, "spoil") == 1, "each query has a machine of its own"
    assert counter.history == before


def test_a_query_works_on_a_finished_run(counter: Run) -> None:
    update(counter, "add", 2)
    update(counter, "finish")
    assert counter.result == 2
    assert asked(counter, "total") == 2
    assert asked(counter, "@places") == []


def test_an_unknown_query_lists_those_there_are(counter: Run) -> None:
    failure = asked(counter, "sum")
    assert failure["kind"] == "NotFound"
    assert failure["message"] == "no query handler is registered for 'sum' (registered: echo, spoil, total)"


def test_the_built_in_queries_tell_names_and_places(counter: Run) -> None:
    assert asked(counter, "@handlers") == {
        "queries": ["echo", "spoil", "total"], "updates": ["add", "fails", "finish", "raises", "slow"],
    }  # fmt: skip
    (place,) = asked(counter, "@places")
    assert (place["file"], place["line"], place["waits_for"]) == ("flow.lua", 23, "workflow.wait")


FORBIDDEN = {
    "activity": 'funcs.call("app:x")', "future": 'funcs.async("app:x")', "timer": 'time.sleep("1s")', "after": 'time.after("1s")',
    "child": 'process.spawn("app:x", "")', "signal": 'process.send("{a:c@b:w|x}", "t")', "own signal": 'process.send(process.pid(), "t")',
    "version": 'workflow.version("v", 1, 2)', "attributes": "workflow.attrs{ memo = { a = 1 } }", "effect": "workflow.side_effect(print)",
    "wait": "workflow.wait(function() return true end)", "spawn": "coroutine.spawn(print)", "yield": "coroutine.yield()",
    "receive": "ch:receive()", "send": "ch:send(1)", "select": "channel.select{ ch:case_receive() }", "close": "ch:close()",
    "inbox": "process.inbox()", "events": "process.events()", "listen": 'process.listen("t")', "subscribe": 'subscribe("t", ch)',
    "query": 'workflow.query("q", print)', "update": 'workflow.update("u", print)', "options": "process.set_options{ trap_links = true }",
    "timer stop": "timer:stop()", "future cancel": "future:cancel()", "cancel": 'process.cancel("{a:c@b:w|x}")', "upgrade": "process.upgrade()",
    "cancel pending": "workflow.cancel_pending()",
}  # fmt: skip

LOOKERS = {
    "a query": ('workflow.query("q", fn)', lambda run: asked(run, "q")),
    "a validator": ('workflow.update("u", print, { validate = fn })', lambda run: refusal(run, "u")),
    "a side effect": ("local ok, err = pcall(workflow.side_effect, fn) out = { kind = err:kind(), message = err:message() }", None),
    "a condition": ("local ok, err = pcall(workflow.wait, fn) out = { kind = err:kind(), message = err:message() }", None),
}


@pytest.mark.parametrize("verb", FORBIDDEN)
@pytest.mark.parametrize("looker", LOOKERS)
def test_what_only_looks_may_not_act_even_if_it_catches_the_refusal(looker: str, verb: str) -> None:
    register, ask = LOOKERS[looker]
    run = Run(f"""
    local workflow, time, funcs = require("workflow"), require("time"), require("funcs")
    return function()
      local ch, timer, future, out = channel.new(1), time.timer("1h"), funcs.async("app:y"), nil
      local function fn()
        pcall(function() {FORBIDDEN[verb]} end)
        return true
      end
      {register}
      if out then return out end
      time.sleep("1h")
    end
    """)
    run.start()
    found = ask(run) if ask else run.result
    assert found["kind"] == "Invalid"
    assert "flow.lua:6: refused inside" in found["message"]
    if not ask:
        run.replayed()


def test_what_only_looks_may_use_coroutines_of_its_own(counter: Run) -> None:
    run = Run("""
    local workflow = require("workflow")
    return function()
      workflow.query("q", function()
        local list = {}
        for value in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do list[#list + 1] = value end
        table.sort(list, function(a, b) return a > b end)
        return list
      end)
      process.inbox():receive()
    end""")
    run.start()
    assert asked(run, "q") == [3, 2, 1]


def test_a_query_has_limits_of_its_own() -> None:
    run = Run(
        'local workflow = require("workflow") return function() workflow.query("q", function() while true do end end) process.inbox():receive() end',
        limits=Limits(instructions=10_000_000),
    )
    run.start()
    machine = Machine(run.bundle, limits=Limits(instructions=1_000_000))
    replay(machine, run.history)
    answer = handlers.ask(machine, "q", payload.EMPTY_ARRAY)
    assert not answer.ok
    assert "left its limits" in payload.decode_failure(answer.value)["message"]
    run.signal("end")
    assert run.machine.closed


def test_an_update_is_an_input_whose_handler_answers(counter: Run) -> None:
    assert update(counter, "add", 3) == [events.UpdateDone("u-1", True, payload.encode(3))]
    assert update(counter, "add", 4, update_id="u-2") == [events.UpdateDone("u-2", True, payload.encode(7))]
    counter.replayed()


def test_an_update_handler_may_wait(counter: Run) -> None:
    (timer,) = update(counter, "slow", 4, update_id="u-1")
    assert update(counter, "add", 1, update_id="u-2") == [events.UpdateDone("u-2", True, payload.encode(1))]
    (activity,) = counter.fire(timer.seq, 1000)  # type: ignore[attr-defined]
    assert counter.complete(activity.seq, 8) == [events.UpdateDone("u-1", True, payload.encode(8))]  # type: ignore[attr-defined]
    counter.replayed()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fails", {"message": "no luck", "kind": "Luck", "retryable": False}),
        ("raises", {"message": "flow.lua:21: boom", "kind": "Internal"}),
    ],
)
def test_a_failing_update_handler_fails_the_update_not_the_run(counter: Run, name: str, expected: dict[str, Any]) -> None:
    (done,) = update(counter, name)
    assert isinstance(done, events.UpdateDone)
    assert not done.ok
    failure = payload.decode_failure(done.value)
    assert {key: failure.get(key) for key in expected} == expected
    assert not counter.machine.closed


def test_an_update_that_ends_the_run_is_answered_before_its_end(counter: Run) -> None:
    assert update(counter, "finish") == [
        events.UpdateDone("u-1", True, payload.encode("bye")), events.Complete(payload.encode(0)),
    ]  # fmt: skip


def test_an_update_whose_run_ends_has_no_answer(counter: Run) -> None:
    update(counter, "slow", 1, update_id="u-1")
    update(counter, "finish", update_id="u-2")
    done = [event for event in map(events.decode, counter.history) if isinstance(event, events.UpdateDone)]
    assert [event.update_id for event in done] == ["u-2"]
    counter.replayed()


@pytest.mark.parametrize(
    ("value", "message", "kind"),
    [("x", "a number, please", "Invalid"), (-1, "flow.lua:15: not below zero", "Internal"), (0, "refused by the validator of 'add'", "Invalid")],
)
def test_a_validator_refuses_by_an_error_or_by_false(counter: Run, value: Any, message: str, kind: str) -> None:
    failure = refusal(counter, "add", value)
    assert failure is not None
    assert (failure["message"], failure["kind"]) == (message, kind)


def test_a_validator_cannot_change_the_run(counter: Run) -> None:
    assert refusal(counter, "add", 1) is None
    assert asked(counter, "total") == 0


def test_admission_tells_validated_plain_and_unknown_apart(counter: Run) -> None:
    assert handlers.admit(counter.machine, "add").status == "validated"
    assert handlers.admit(counter.machine, "slow").status == "plain"
    unknown = handlers.admit(counter.machine, "nope")
    assert unknown.status == "unknown"
    assert "registered: add, fails, finish, raises, slow" in payload.decode_failure(unknown.failure)["message"]
    update(counter, "add", 1)
    assert asked(counter, "total") == 1, "asking changes nothing"


def test_a_later_handler_takes_the_place_of_an_earlier_one() -> None:
    run = Run("""local workflow = require("workflow") return function()
      workflow.query("q", function() return "old" end)
      workflow.query("q", function() return "new" end)
      workflow.update("u", function() return "old" end, { validate = error })
      workflow.update("u", function() return "new" end)
      process.inbox():receive()
    end""")
    run.start()
    assert asked(run, "q") == "new"
    assert handlers.admit(run.machine, "u").status == "plain"
    assert update(run, "u") == [events.UpdateDone("u-1", True, payload.encode("new"))]


def test_a_run_with_an_update_handler_is_not_deadlocked(counter: Run) -> None:
    assert not counter.machine.closed
    run = Run('local workflow = require("workflow") return function() workflow.wait(function() return false end) end')
    run.start()
    assert "deadlock" in run.failure["message"]


def test_code_without_the_handler_does_not_fit_a_history_with_an_update(counter: Run) -> None:
    update(counter, "add", 1)
    for source in (
        "return function() process.inbox():receive() end",
        'local workflow = require("workflow") return function() workflow.update("sub", print) process.inbox():receive() end',
    ):
        with pytest.raises(NondeterminismError, match="handler"):
            replay(Machine(bundle(source)), counter.history)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('workflow.query("", print)', "query name required"),
        ('workflow.query("@q", print)', "query names cannot begin with @"),
        ('workflow.update("", print)', "update name required"),
        ('workflow.update("@u", print)', "update names cannot begin with @"),
        ('workflow.update("u", print, { verify = print })', "option verify is not supported"),
    ],
)
def test_a_bad_name_gives_an_error(call: str, message: str) -> None:
    assert returned(f"local ok, err = {call} return {{ tostring(ok), err:message(), err:kind(), err:retryable() }}", prelude='local workflow = require("workflow")') == [
        "nil", message, "Invalid", False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("workflow.query(1, print)", "bad argument #1 to 'query' (string expected, got number)"),
        ('workflow.query("q")', "bad argument #2 to 'query' (function expected, got no value)"),
        ('workflow.update("u", {})', "bad argument #2 to 'update' (function expected, got table)"),
        ('workflow.update("u", print, 1)', "bad argument #3 to 'update' (table expected, got number)"),
        ('workflow.update("u", print, { validate = 1 })', "bad argument #3 to 'update' (validate: function expected, got number)"),
        ("workflow.side_effect(1)", "bad argument #1 to 'side_effect' (function expected, got number)"),
        ("workflow.wait()", "bad argument #1 to 'wait' (function expected, got no value)"),
    ],
)
def test_a_wrong_type_raises(call: str, message: str) -> None:
    found = returned(f"local ok, err = pcall(function() {call} end) return err", prelude='local workflow = require("workflow")')
    assert found == f"flow.lua:2: {message}"


@pytest.mark.parametrize("call", ['query("q", print)', 'update("u", print)', "side_effect(print)", "wait(print)"])
def test_outside_workflows_there_is_nobody_to_ask(call: str) -> None:
    run = Run(f'local workflow = require("workflow") return function() local ok, err = workflow.{call} return {{ tostring(ok), err:kind(), err:message() }} end', mode=Mode.FUNCTION)
    run.start()
    name = call.partition("(")[0]
    assert run.result == ["nil", "Invalid", f"workflow.{name} only available in workflow context"]


def test_a_result_that_cannot_be_carried_is_a_failure() -> None:
    run = Run('local workflow = require("workflow") return function() workflow.query("q", function() return { [{}] = 1 } end) process.inbox():receive() end')
    run.start()
    assert "failed to encode result" in asked(run, "q")["message"]


def test_a_line_tells_where_it_stands() -> None:
    run = Run("""local workflow = require("workflow")
local function deep() return { workflow.now_line(), workflow.where() } end
return function()
  local found = deep()
  return found
end""")
    run.start()
    line, frames = run.result
    assert line == "flow.lua:2"
    assert [(frame["file"], frame["line"]) for frame in frames] == [("flow.lua", 2), ("flow.lua", 4)]
    run.replayed()


@pytest.mark.parametrize("options", ["aa = 1, zz = 1", "zz = 1, aa = 1", "[true] = 1, [2] = 1, aa = 1", "aa = 1, [2] = 1, [true] = 1"])
def test_which_unknown_option_an_update_complains_of_depends_on_no_order(options: str) -> None:
    """It was the first that the table gave: another one in another process, so that a replay did not fit."""
    first = "2" if "[2]" in options else "aa"
    code = f'return tostring(select(2, require("workflow").update("x", function() end, {{ {options} }})))'
    assert {returned(code) for _ in range(10)} == {f"option {first} is not supported"}
