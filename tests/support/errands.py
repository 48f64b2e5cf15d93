"""A project that uses every way in which the engine sends messages, for tests of brokers and stores.

``errand`` does activities one after the other and side by side, one of which fails at first, sleeps, waits for a
signal, has a child, and asks a process that itself calls a Celery task.
"""

from __future__ import annotations

from typing import Any

from orchestration import Client
from orchestration.client import WorkflowHandle
from orchestration.core import events
from tests.support.projects import ALL_MODULES, Project

__all__ = ["errands", "lateness_ms", "run_errands"]

_HEAD = 'local time, funcs, workflow, process = require("time"), require("funcs"), require("workflow"), process\n'


def errands(**options: Any) -> Project:
    """The project; options are those of the class."""
    project = Project(tasks=("tests.acceptance.tasks",), **options)
    retry = {"maximum_attempts": 5, "initial_interval": "200ms", "maximum_interval": "1500ms"}
    project.celery_task("add", "accept.add")
    project.celery_task("flaky", "accept.info", retry_policy=retry)
    project.celery_task("sleeps", "accept.sleeps", start_to_close_timeout="60s")
    project.host()
    process = ("funcs", "process")
    project.process("adder", _HEAD + 'return function(a, b) return assert(funcs.call("app:add", a, b)) end')
    project.function(
        "ask",
        """
        return function(a, b)
            local pid = assert(process.spawn_monitored("app:adder", "app:host", a, b))
            local event = process.events():receive()
            return event.result.value
        end
        """,
        modules=process,
    )

    def workflow(name: str, body: str) -> None:
        project.workflow(name, f"{_HEAD}return function(...)\n{body}\nend", modules=(*ALL_MODULES, "process"))

    workflow("half", 'local value = ... time.sleep("50ms") return funcs.call("app:add", value, value)')
    workflow("nap", 'local ms = ... time.sleep(ms .. "ms") return ms')
    workflow(
        "long_step",
        """
        local key, seconds = ...
        local slept = assert(funcs.call("app:sleeps", key, seconds, true))
        return { slept, funcs.call("app:add", 20, 22) }
        """,
    )
    workflow(
        "errand",
        """
        local ms = ...
        local go = process.listen("go")
        local total = funcs.call("app:add", 1, 2)
        local attempts = assert(funcs.call("app:flaky", 2)).attempt
        local done = channel.new(3)
        for i = 1, 3 do
            coroutine.spawn(function() done:send(assert(funcs.call("app:add", i, 10))) end)
        end
        for i = 1, 3 do total = total + done:receive() end
        time.sleep(ms .. "ms")
        local word = go:receive()
        local child = assert(workflow.exec("app:half", 4))
        total = assert(funcs.call("app:ask", total, 1))
        return { total = total, attempts = attempts, word = word, child = child }
        """,
    )
    return project


def run_errands(client: Client, count: int = 3, *, deadline_s: float = 60) -> list[WorkflowHandle]:
    """Run some at the same time and check what they return."""
    handles = [client.start_workflow("app:errand", 300) for _ in range(count)]
    for handle in handles:
        handle.signal("go", "now")
    for handle in handles:
        found = handle.result(timeout=deadline_s)
        assert found == {"total": 1 + 2 + 11 + 12 + 13 + 1, "attempts": 3, "word": "now", "child": 8}
    return handles


def lateness_ms(handle: WorkflowHandle, slept_ms: int) -> int:
    """Of a ``nap``: how long after it was due its timer fired, by Redis' clock."""
    history = list(handle.history())
    started = next(event for event in history if isinstance(event, events.Started))
    fired = next(event for event in history if isinstance(event, events.TimerFired))
    return fired.time_ms - (started.time_ms + slept_ms)
