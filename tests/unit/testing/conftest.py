"""A small tree of definitions and environments over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.registry import Registry, load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project
from tests.support.replaying import is_replaying_everything

project = Project()
project.celery_task("charge", "shop.charge")
project.celery_task("ship", "shop.ship")
project.entry("notify", "function.python", callable="shop.mail:notify")
project.function("double", "return function(n) return n * 2 end")
project.function(
    "quote",
    """
    local funcs = require("funcs")
    return function(order) return funcs.call("app:charge", order) end
    """,
)
project.workflow(
    "order",
    """
    local funcs, time = require("funcs"), require("time")
    return function(order)
        local payment, err = funcs.call("app:charge", order)
        if err then return nil, err end
        time.sleep("24h")
        funcs.call("app:ship", order.id)
        return { payment = payment.id, id = order.id }
    end
    """,
)
project.workflow(
    "patient",
    """
    local funcs = require("funcs")
    return function(options)
        local call = funcs.new():with_options(options)
        local value, err = call:call("app:charge", 1)
        if err then return { kind = err:kind(), details = err:details() } end
        return value
    end
    """,
)
project.workflow(
    "approval",
    """
    local time = require("time")
    return function()
        local inbox, timeout = process.inbox(), time.after("48h")
        local got = channel.select{ inbox:case_receive(), timeout:case_receive() }
        if got.channel == timeout then return "too late" end
        return got.value:payload():data()
    end
    """,
)
project.workflow(
    "listener",
    """
    return function()
        local counts, seen = process.listen("count"), 0
        while true do counts:receive() seen = seen + 1 process.send(process.pid(), "seen", seen) end
    end
    """,
)
project.workflow("waits", "return function() return process.listen('go'):receive() end")
project.workflow("cancelled", "return function() process.events():receive() error('stopped') end")
project.workflow(
    "parent",
    """
    return function(n)
        local sum = 0
        for i = 1, n do sum = sum + process.exec("app:child", "celery", i) end
        return sum
    end
    """,
)
project.workflow("child", "local time = require('time') return function(i) time.sleep('1h') return i end")
project.workflow("doubled", "local funcs = require('funcs') return function(n) return funcs.call('app:double', n) end")
project.workflow("quoted", "local funcs = require('funcs') return function(n) return funcs.call('app:quote', n) end")
project.workflow("told", "local funcs = require('funcs') return function(n) return funcs.call('app:notify', n) end")
project.workflow("ticks", "local time = require('time') return function() while true do time.sleep('1m') end end")
project.workflow(
    "counter",
    """
    local time, workflow = require("time"), require("workflow")
    return function()
        local count = 0
        workflow.query("count", function() return count end)
        workflow.update("add", function(n)
            time.sleep("1h")
            count = count + n
            return count
        end, { validate = function(n) if n < 0 then error("only up") end end })
        workflow.wait(function() return count >= 10 end)
        return count
    end
    """,
)
project.workflow("broken", "return function() error('never works') end")
project.workflow(
    "again",
    """
    local time = require("time")
    return function(n)
        time.sleep("1h")
        if n > 0 then process.upgrade(nil, n - 1) end
        return "done"
    end
    """,
)
project.workflow(
    "moments",
    """
    local time = require("time")
    return function()
        local function now() return time.now():unix() end
        local first = now()
        time.sleep("1h")
        local second = now()
        return { first = first, second = second }
    end
    """,
)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def make_env(registry: Registry) -> Iterator[Callable[..., WorkflowEnvironment]]:
    made: list[WorkflowEnvironment] = []

    def make(**options: Any) -> WorkflowEnvironment:
        options.setdefault("replay_everything", is_replaying_everything())
        made.append(WorkflowEnvironment(registry=options.pop("registry", registry), **options))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture
def env(make_env: Callable[..., WorkflowEnvironment]) -> WorkflowEnvironment:
    return make_env()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The same definitions in a folder of the test's own."""
    return project.write(tmp_path / "config")
