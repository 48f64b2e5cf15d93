# ruff: noqa: E501 - Lua sources read better on one line
"""What Lua code logs, as Python's logging gets it: who wrote it, for which run, and the fields apart from the text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestration.registry import load_registry
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

project = Project()
project.function(
    "inner",
    "local logger = require('logger') return function(...) logger:named('inner'):warn('from inside', { n = ... }) end",
    modules=("logger",),
)
project.function(
    "outer",
    """
  local logger, funcs = require('logger'), require('funcs')
  return function(n)
      logger:with({ order = 'o-1' }):info('begun', { items = { 1, 2 }, error = errors.wrap(errors.new('low'), 'stock') })
      print('printed', 1, nil)
      return funcs.call('app:inner', n)
  end""",
    modules=("logger", "funcs"),
)
project.workflow(
    "flow",
    "return function(n) print('in the run') return require('funcs').call('app:outer', n) end",
    modules=("funcs",),
)

Logged = Callable[[], dict[str, Any]]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkflowEnvironment]:
    registry = load_registry(project.write(tmp_path_factory.mktemp("definitions")))
    with WorkflowEnvironment(registry=registry) as env:
        yield env


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    """Gives the records of Lua code by their texts."""
    caplog.set_level(logging.DEBUG, "orchestration.lua")
    return lambda: {record.getMessage(): record for record in caplog.records if record.name == "orchestration.lua"}


def test_a_line_of_a_function_has_its_level_text_fields_address_and_place(
    env: WorkflowEnvironment, logged: Logged
) -> None:
    env.client.call("app:outer", 5, timeout=10)
    found = logged()
    begun = found["begun"]
    assert (begun.levelname, begun.function_id) == ("INFO", "app:outer")
    assert begun.process_id.startswith("{")
    assert begun.process_id.endswith("}")
    assert "@app:outer|" in begun.process_id
    assert begun.fields == {"location": "outer.lua:3", "pid": begun.process_id, "order": "o-1", "items": "[1,2]", "error": "stock: low"}
    assert not hasattr(begun, "run_id"), "nobody's run"


def test_print_is_a_line_at_info_with_one_space_between_its_arguments(env: WorkflowEnvironment, logged: Logged) -> None:
    env.client.call("app:outer", 5, timeout=10)
    printed = logged()["printed 1 nil"]
    assert (printed.levelname, printed.function_id) == ("INFO", "app:outer")


def test_a_function_that_a_function_calls_has_an_address_and_a_name_of_its_own(
    env: WorkflowEnvironment, logged: Logged
) -> None:
    env.client.call("app:outer", 5, timeout=10)
    found = logged()
    inside = found["from inside"]
    assert (inside.levelname, inside.function_id) == ("WARNING", "app:inner")
    assert inside.process_id != found["begun"].process_id
    assert (inside.fields["logger"], inside.fields["n"]) == ("inner", 5)


def test_lines_of_a_run_and_of_the_functions_that_it_calls_name_the_run(
    env: WorkflowEnvironment, logged: Logged
) -> None:
    handle = env.start("app:flow", 7, id="named")
    handle.result()
    run = {"workflow_id": "named", "run_id": handle.run_id, "workflow_type": "app:flow"}
    found = logged()
    assert set(found) == {"in the run", "begun", "printed 1 nil", "from inside"}
    for record in found.values():
        assert {name: getattr(record, name) for name in run} == run, record.getMessage()
    assert not hasattr(found["in the run"], "process_id")
