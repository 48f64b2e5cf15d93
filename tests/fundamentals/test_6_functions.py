"""Functions: in Lua, in Python, or a Celery task that is there already. Callable from anywhere."""

from __future__ import annotations

import pytest
from celery import chain

from orchestration.errors import ApplicationError, EntryNotFoundError
from tests.support.projects import Project

project = Project(tasks=["tests.fundamentals.tasks"])

divide = project.function(
    "divide",
    """
    local function main(a, b)
        if b == 0 then
            return nil, errors.new {
                message = "division by zero", kind = errors.INVALID, retryable = false, details = { dividend = a },
            }
        end
        return a // b
    end
    return main
    """,
    modules=[],
)
shout = project.entry("shout", "function.python", callable="tests.fundamentals.tasks:shout")
add = project.celery_task("add", "shop.add")

half_of_sum = project.function(
    "half_of_sum",
    """
    local funcs = require("funcs")

    local function main(a, b)
        local sum, err = funcs.call("app:add", a, b)
        if err then return nil, err end
        return funcs.call("app:divide", sum, 2)
    end
    return main
    """,
    modules=["funcs"],
)

all_three = project.workflow(
    "all_three",
    """
    local funcs = require("funcs")

    local function main()
        return {
            lua = funcs.call("app:divide", 84, 2),
            python = funcs.call("app:shout", "hello"),
            celery = funcs.call("app:add", 40, 2),
        }
    end
    return main
    """,
    modules=["funcs"],
)


def test_a_function_in_lua_is_a_celery_task(running):
    assert running.app.send_task(divide, args=[84, 2]).get(timeout=10) == 42


def test_its_errors_arrive_in_the_async_result(running):
    with pytest.raises(ApplicationError) as caught:
        running.app.send_task(divide, args=[84, 0]).get(timeout=10)
    error = caught.value
    assert (error.message, error.kind, error.retryable) == ("division by zero", "Invalid", False)
    assert error.details == {"dividend": 84}


def test_a_function_in_python_is_one_too(running):
    assert running.app.send_task(shout, args=["hello"]).get(timeout=10) == "HELLO"
    with pytest.raises(ApplicationError) as caught:
        running.app.send_task(shout, args=[""]).get(timeout=10)
    error = caught.value
    assert (error.message, error.kind, error.retryable) == ("nothing to shout", "Invalid", False)
    assert error.details == {"field": "text"}


def test_the_client_calls_all_kinds(client):
    assert client.call(divide, 84, 2, timeout=10) == 42
    assert client.call(shout, "hello", timeout=10) == "HELLO"
    assert client.call(add, 40, 2, timeout=10) == 42
    with pytest.raises(ApplicationError, match="division by zero"):
        client.call(divide, 1, 0, timeout=10)
    with pytest.raises(EntryNotFoundError, match=r"app:divid.*app:divide"):
        client.call("app:divid", 1, 0)


def test_a_workflow_calls_all_kinds(client):
    assert client.start_workflow(all_three).result(timeout=10) == {"lua": 42, "python": "HELLO", "celery": 42}


def test_functions_call_functions(client):
    assert client.call(half_of_sum, 40, 44, timeout=10) == 42


def test_functions_and_workflows_stand_in_a_canvas(running):
    tasks = running.app.tasks
    result = chain(tasks[divide].s(84, 2), tasks[divide].s(6), tasks[divide].s(7)).apply_async()
    assert result.get(timeout=10) == 1
