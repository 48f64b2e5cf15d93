"""Code that never ends, never has enough, or wants out: the run or the call ends, the worker and all others go on."""

from __future__ import annotations

import os
import re

import pytest
from celery.exceptions import WorkerLostError

from orchestration.errors import ApplicationError, MemoryLimitError, RegistryError, StepLimitError, WorkflowFailedError
from tests.support import wait_until
from tests.support.projects import Project, deployed

LIMITS = {"ORCHESTRATION_INSTRUCTIONS": "10000000", "ORCHESTRATION_MEMORY_BYTES": str(16 * 1024 * 1024)}

project = Project(tasks=["tests.acceptance.tasks"], env=LIMITS)
project.celery_task("add", "accept.add")

bad_step = """
local funcs = require("funcs")

local function bad()
    {code}
end

local function main()
    funcs.call("app:add", 1, 2)
    local answer = process.listen("go"):receive()
    funcs.async("app:add", 100, 200)
    bad()
    return "out"
end
return main
"""
bad_function = """
local function bad()
    {code}
end

local function main()
    bad()
    return "out"
end
return main
"""

LOOPS = {
    "loop": "while true do end",
    "goto": "::again:: goto again",
    "caught": "while true do pcall(function() while true do end end) end",
    "resumed": "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "spawned": "coroutine.spawn(function() while true do end end) process.inbox():receive()",
    "metamethod": "return setmetatable({}, { __index = function() while true do end end }).x",
    "pattern": 'return ("a"):rep(40):find(("a-"):rep(25) .. "b")',
    "move": "table.move({}, 1, math.maxinteger - 1, 2)",
    "sort": "table.sort({ 3, 2, 1 }, function() while true do end end)",
}
MEMORY = {
    "tables": "local t = {} while true do t[#t + 1] = {} end",
    "strings": 'local s = ("x"):rep(1000) while true do s = s .. s end',
    "caught_strings": 'local s = "xy" while true do pcall(function() s = s .. s end) end',
    "rep": 'return ("x"):rep(50000000)',
    "concat": 'local t = {} for i = 1, 100 do t[i] = ("x"):rep(1000000) end return table.concat(t)',
}
DEPTH = {
    "recursion": "local function f() return 1 + f() end f()",
    "mutual": "local f, g function f() g() return 1 end function g() f() return 1 end f()",
    "tostring": "local t t = setmetatable({}, { __tostring = function() return tostring(t) end }) tostring(t)",
}
WORDS = {
    "loop": "more than 10000000 instructions",
    "memory": "more than 16777216 bytes of memory",
    "depth": "stack overflow|bytes of memory|instructions",  # whatever the stack meets first
}
ENDLESS = {**LOOPS, **MEMORY, **DEPTH}
ESCAPES = {
    "os.execute": 'os.execute("true")',
    "os.exit": "os.exit(1)",
    "io": 'io.open("/etc/passwd")',
    "require os.path": 'require("os.path")',
    "require undeclared": 'require("crypto")',
    "require host": 'require("host")',
    "load": 'load("return 1")()',
    "bytecode": "string.dump(main)",
    "debug": "debug.getregistry()",
    "loadlib": 'assert(package.loadlib("libc.so.6", "system"))',
    "python": 'python.eval("1")',
    "python attribute": "return print.__class__.__mro__[2]",
    "patch a library": "string.upper = function() end",
    "patch by rawset": 'rawset(math, "floor", nil)',
    "metatable of strings": 'getmetatable("").__index = {}',
    "protected metatable": "setmetatable(_G, {})",
    "collector": "collectgarbage()",
    "finalizer": 'setmetatable({}, { ["__" .. "gc"] = function() end })',
    "environment": "_ENV.funcs = nil setmetatable(_ENV, nil)",
    "inside of an object": "rawget(process.inbox(), 1)",
    "close main": "coroutine.close(coroutine.running())",
}


def name_of(kind, name):
    return f"{kind}_{name.replace(' ', '_').replace('.', '_')}"


for kind, template, make in (("w", bad_step, project.workflow), ("f", bad_function, project.function)):
    for name, code in {**ENDLESS, **ESCAPES}.items():
        make(name_of(kind, name), template.replace("{code}", code))

steady = project.workflow(
    "steady",
    """
    local funcs, time = require("funcs"), require("time")

    local function main(rounds)
        local total = 0
        for i = 1, rounds do
            total = funcs.call("app:add", total, i)
            time.sleep("20ms")
        end
        return total
    end
    return main
    """,
)


@pytest.fixture(autouse=True)
def neighbour(running):
    """Another run of the same worker, which notices nothing, whatever a test does."""
    worker = running.workers[0]
    handle = running.client.start_workflow(steady, 5)
    yield
    assert handle.result(timeout=20) == 15
    assert worker.is_running


def park(client, entry):
    """Start a workflow, let it do a good step, then its bad one; returns the handle and the history before that."""
    handle = client.start_workflow(f"app:{entry}")
    wait_until(lambda: any("listen" in place.waits_for or "receive" in place.waits_for for place in
                           handle.describe().places), message="the good step")  # fmt: skip
    before = list(handle.raw_history())
    handle.signal("go")
    wait_until(
        lambda: handle.describe().status != "running", deadline_s=30, message=lambda: f"an end: {handle.describe()}"
    )
    return handle, before


@pytest.mark.parametrize("name", ENDLESS)
def test_a_workflow_without_end_is_parked_before_its_bad_step(client, name):
    handle, before = park(client, name_of("w", name))
    description = handle.describe()
    assert description.status == "parked", list(handle.history())[-1]
    assert description.parked.startswith("limit: ")
    assert re.search(WORDS["loop" if name in LOOPS else "memory" if name in MEMORY else "depth"], description.parked)
    assert list(handle.raw_history()) == before
    assert description.unread == 1
    assert description.pending == ()
    assert client.count_workflows()["parked"] >= 1
    handle.terminate("the test is over")


@pytest.mark.parametrize("name", ENDLESS)
def test_a_function_without_end_ends_with_its_own_error(client, name):
    expected = StepLimitError if name in LOOPS else MemoryLimitError if name in MEMORY else Exception
    words = WORDS["loop" if name in LOOPS else "memory" if name in MEMORY else "depth"]
    with pytest.raises(expected, match=words):
        client.call(f"app:{name_of('f', name)}", timeout=30)


@pytest.mark.parametrize("name", ESCAPES)
def test_no_way_out_of_the_sandbox(client, name):
    """What the sandbox lacks is an ordinary Lua error: a function answers with it, a workflow fails with it."""
    with pytest.raises(ApplicationError) as caught:
        client.call(f"app:{name_of('f', name)}", timeout=20)
    assert caught.value.kind in ("Internal", "NotFound")
    handle, before = park(client, name_of("w", name))
    with pytest.raises(WorkflowFailedError):
        handle.result(timeout=1)
    events = list(handle.raw_history())
    assert events[: len(before)] == before


def test_names_that_cannot_be_had_are_refused_when_definitions_are_loaded(tmp_path, redis_url):
    bad = Project()
    bad.workflow("weak", "local t = setmetatable({}, { __mode = 'k' })\nreturn function() return t end")
    bad.workflow("asks", "return function() end", modules=["io"])
    with pytest.raises(RegistryError) as caught, deployed(bad, tmp_path, redis_url) as deployment:
        _ = deployment.orchestration.registry
    assert "weak.lua:1: entry app:weak" in str(caught.value)
    assert "__mode is not available" in str(caught.value)
    assert "app:asks" in str(caught.value)


def test_an_activity_that_leaves_its_limits_is_not_tried_again(running):
    """Retries are without limit by default; the same code would leave the same limits for ever."""
    client = running.client
    handle = client.start_workflow(call_loop)
    with pytest.raises(WorkflowFailedError, match="10000000 instructions") as caught:
        handle.result(timeout=20)
    assert caught.value.retryable is False


call_loop = project.workflow(
    "call_loop",
    f"""
    local funcs = require("funcs")
    local function main() return funcs.call("app:{name_of("f", "loop")}") end
    return main
    """,
)

heavy = project.workflow(
    "heavy",
    """
    local funcs = require("funcs")
    local function main(rounds)
        local first = funcs.call("app:add", 1, 2)
        local sum = 0
        for i = 1, rounds do sum = sum + i end
        return { first = first, sum = sum }
    end
    return main
    """,
)


@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.slow)])
def test_a_parked_run_goes_on_after_the_limit_was_raised(pool, tmp_path, redis_url):
    with deployed(project, tmp_path, redis_url) as deployment:
        worker = deployment.worker(pool=pool, concurrency=1)
        handle = deployment.client.start_workflow(heavy, 30_000_000)
        wait_until(lambda: handle.describe().status == "parked", deadline_s=20, message="parked")
        first = list(handle.history())
        worker.stop()
        deployment.worker(pool=pool, concurrency=1, env={"ORCHESTRATION_INSTRUCTIONS": "200000000"})
        handle.retry()
        assert handle.result(timeout=20) == {"first": 3, "sum": 450000015000000}
        assert list(handle.history())[: len(first)] == first
        assert handle.describe().parked == ""


def test_a_retry_under_the_same_limits_parks_again(client):
    handle = client.start_workflow(heavy, 30_000_000)
    for _ in range(7):  # more often than a step that kills its worker may be tried
        wait_until(lambda: handle.describe().status == "parked", deadline_s=20, message="parked")
        assert handle.describe().parked.startswith("limit: ")
        handle.retry()
    wait_until(lambda: handle.describe().status == "parked", deadline_s=20, message="parked")
    handle.terminate()


STUCK = {
    "ORCHESTRATION_INSTRUCTIONS": str(10**13), "ORCHESTRATION_WATCHDOG_MS": "1000", "ORCHESTRATION_LEASE_MS": "500",
    "ORCHESTRATION_HEARTBEAT_MS": "200", "ORCHESTRATION_SWEEP_INTERVAL_MS": "100",
    "ORCHESTRATION_RESUME_GRACE_MS": "200", "ORCHESTRATION_DEAD_AFTER_MS": "1000",
}  # fmt: skip


def test_the_watchdog_ends_a_child_whose_function_does_not_come_back(tmp_path, redis_url):
    """No call into C is known that takes this long; a budget without end stands for one that is not known yet."""
    with deployed(project, tmp_path, redis_url) as deployment:
        worker = deployment.worker(pool="prefork", concurrency=1, env=STUCK)
        (child,) = worker.children()
        with pytest.raises(WorkerLostError):
            deployment.client.call(f"app:{name_of('f', 'loop')}", timeout=20)
        wait_until(lambda: child not in worker.children(), message="the child gone")
        assert deployment.client.call("app:add", 1, 2, timeout=20) == 3
        assert worker.is_running
        assert os.getpid() != child


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_parked_in_the_end(tmp_path, redis_url):
    with deployed(project, tmp_path, redis_url) as deployment:
        deployment.worker(pool="prefork", concurrency=2, env=STUCK)
        handle = deployment.client.start_workflow(heavy, 10**12)
        other = deployment.client.start_workflow(steady, 200)
        wait_until(lambda: handle.describe().status == "parked", deadline_s=60, message=lambda: str(handle.describe()))
        assert "workers gave up or died" in handle.describe().parked
        assert other.result(timeout=60) == 20100
