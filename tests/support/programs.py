# ruff: noqa: E501 - Lua reads better on one line
"""Random workflows as Lua text, out of a small grammar, each with the value that it returns in whatever order things
arrive: activities, their failures and retries, futures and their cancelling, timers, select, coroutines with channels,
signals and children. The tasks that they call are here too, for workers and for environments in memory.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import shared_task

from orchestration import activity
from orchestration.errors import ApplicationError
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

__all__ = ["Program", "add_helpers", "make_full_program", "make_program", "replace_activities"]


@dataclass(frozen=True)
class Program:
    """A workflow.

    Attributes:
        source: Lua text.
        result: What it returns.
    """

    source: str
    result: Any


@shared_task(name="programs.echo")
def echo(value: Any) -> Any:
    return value


@shared_task(name="programs.fails")
def fails(value: Any) -> None:
    raise ApplicationError(f"no {value}", kind="Broken", retryable=False)


@shared_task(name="programs.flaky")
def flaky(value: Any) -> Any:
    """Succeed at the second attempt."""
    if activity.info().attempt < 2:
        raise ApplicationError("not yet", kind="Unavailable")
    return value


TASKS: dict[str, Callable[..., Any]] = {"echo": echo, "fails": fails, "flaky": flaky}

_HEAD = """
local funcs, time, errors = require("funcs"), require("time"), require("errors")
local patient = funcs.new():with_options{ ["activity.retry_policy"] = { initial_interval = "20ms" } }

-- together(fns): what each returns, all of them in coroutines of their own
local function together(fns)
  local done, results = channel.new(), {}
  for i, fn in ipairs(fns) do
    coroutine.spawn(function()
      results[i] = fn()
      done:send(i)
    end)
  end
  for _ = 1, #fns do done:receive() end
  return results
end

"""

_KID = """
local funcs, time = require("funcs"), require("time")
return function(n)
  time.sleep("20ms")
  return funcs.call("app:echo", n) * 2
end
"""

_SITTER = """
local errors = require("errors")
return function()
  process.events():receive()
  return nil, errors.new{ message = "stopped", kind = "Stopped", retryable = false }
end
"""


def add_helpers(project: Project) -> None:
    """Add the entries that programs call."""
    for name in TASKS:
        project.celery_task(name, f"programs.{name}")
    project.workflow("kid", _KID)
    project.workflow("sitter", _SITTER)


def replace_activities(env: WorkflowEnvironment) -> None:
    """Let an environment run the same tasks as a worker does."""
    for name, task in TASKS.items():
        env.activity(f"app:{name}", task)


class _Writer:
    """Writes one program."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._count = 0

    def number(self) -> int:
        self._count += 1
        return self._count

    def leaf(self) -> tuple[str, Any]:
        """Body of a function, and what it returns."""
        return self._chance.choice(self.leaves())

    def leaves(self) -> list[tuple[str, Any]]:
        """Each of the things that a program may do."""
        n, ms = self.number(), self._chance.choice((10, 30, 60))
        return [
            (f"return (funcs.call('app:echo', {n}))", n),
            (f"local _, err = funcs.call('app:fails', {n}) return err:kind() .. {n}", f"Broken{n}"),
            (f"return (patient:call('app:flaky', {n}))", n),
            (f"time.sleep('{ms}ms') return {n}", n),
            (f"local a, b = funcs.async('app:echo', {n}), funcs.async('app:echo', 1) return b:response():receive():data() + a:response():receive():data()", n + 1),
            (f"local f = funcs.async('app:echo', {n}) f:cancel() return 'cancelled'", "cancelled"),
            ("local t = time.timer('1h') t:stop() return 'stopped'", "stopped"),
            (f"local f, t = funcs.async('app:echo', {n}), time.after('10m') local r = channel.select{{ f:response():case_receive(), t:case_receive() }} return r.channel == t and 'late' or r.value:data()", n),
            (f"local c = channel.new() local r = channel.select{{ c:case_receive(), time.after('{ms}ms'):case_receive() }} return r.channel == c and 'no' or 'timeout'", "timeout"),
            (f"local t = process.listen('t{n}') process.send(process.pid(), 't{n}', {n}) return (t:receive())", n),
            (f"local c = channel.new() coroutine.spawn(function() time.sleep('{ms}ms') c:send({n}) end) return (c:receive())", n),
            (f"return (process.exec('app:kid', 'celery', {n}))", 2 * n),
        ]  # fmt: skip

    def block(self, depth: int) -> tuple[str, Any]:
        """Body of a function that does several things, one after the other or at once."""
        if depth == 0 or self._chance.random() < 0.3:
            return self.leaf()
        parts = [self.block(depth - 1) for _ in range(self._chance.randint(2, 3))]
        functions = ", ".join(f"function() {body} end" for body, _ in parts)
        values = [value for _, value in parts]
        if self._chance.random() < 0.6:
            return f"return together{{ {functions} }}", values
        steps = " ".join(f"out[{i}] = (function() {body} end)()" for i, (body, _) in enumerate(parts, 1))
        return f"local out = {{}} {steps} return out", values


_CANCELLED_CHILD = """
  local pid = process.spawn_monitored("app:sitter", "celery")
  process.cancel(pid, "enough")
  local exit = process.events():receive()
  while exit.kind ~= "pid.exit" or exit.from ~= pid do exit = process.events():receive() end
  out[#out + 1] = exit.result.error:kind()
"""


def make_program(chance: random.Random) -> Program:
    """Make a workflow."""
    writer = _Writer(chance)
    parts = [writer.block(2) for _ in range(chance.randint(1, 4))]
    return _program(parts, cancels_child=chance.random() < 0.3)


def make_full_program() -> Program:
    """Make a workflow that does everything, first one after the other, then at once."""
    writer = _Writer(random.Random(0))
    one_by_one, at_once = writer.leaves(), writer.leaves()
    functions = ", ".join(f"function() {body} end" for body, _ in at_once)
    together = (f"return together{{ {functions} }}", [value for _, value in at_once])
    return _program([*one_by_one, together], cancels_child=True)


def _program(parts: list[tuple[str, Any]], *, cancels_child: bool) -> Program:
    lines = [f"  out[{i}] = (function() {body} end)()" for i, (body, _) in enumerate(parts, 1)]
    result = [value for _, value in parts]
    if cancels_child:
        lines.append(_CANCELLED_CHILD)
        result.append("Stopped")
    return Program(_HEAD + "return function()\n  local out = {}\n" + "\n".join(lines) + "\n  return out\nend\n", result)
