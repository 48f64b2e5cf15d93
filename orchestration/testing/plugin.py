"""The pytest plugin: the fixture ``workflow_env``.

pytest loads it in every project that has this package, so nothing is imported before the fixture is used;
``-p no:orchestration`` leaves it out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orchestration.registry import Registry
    from orchestration.testing.environment import WorkflowEnvironment

__all__ = ["workflow_env"]

_loaded = pytest.StashKey[dict[tuple[str, ...], "Registry"]]()

_MARKER = (
    "workflow_env(config=..., start=..., replay_everything=..., **settings): how the fixture workflow_env is made: "
    "paths of the definitions, the time at which the clock begins, no Lua machine kept, settings without prefix"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Make the options known."""
    parser.addini(
        "orchestration_config", "Paths of the workflow definitions for workflow_env; default: config", type="paths"
    )
    group = parser.getgroup("orchestration", "tests of workflows")
    group.addoption(
        "--replay-workflows",
        action="store_true",
        help="workflow_env keeps no Lua machine: each step replays the whole history on a fresh one",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def workflow_env(request: pytest.FixtureRequest) -> Iterator[WorkflowEnvironment]:
    """Workflows without a server, see :class:`orchestration.testing.WorkflowEnvironment`.

    The definitions are those of the marker ``workflow_env(config=...)``, else of the ini option
    ``orchestration_config``, else of the variable ``ORCHESTRATION_CONFIG``, else the folder ``config``. They are read
    once for all tests.
    """
    from orchestration.testing.environment import WorkflowEnvironment

    options = _options(request)
    paths = _paths(options.pop("config", None), request.config)
    with WorkflowEnvironment(paths, registry=_registry(request.config, paths), **options) as environment:
        yield environment


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    marker = request.node.get_closest_marker("workflow_env")
    options: dict[str, Any] = dict(marker.kwargs) if marker else {}
    if marker and marker.args:
        raise pytest.UsageError("the marker workflow_env takes named arguments only")
    if request.config.getoption("replay_workflows"):
        options["replay_everything"] = True
    return options


def _paths(given: Any, config: pytest.Config) -> tuple[str, ...]:
    if given is not None:
        return (os.fspath(given),) if isinstance(given, (str, os.PathLike)) else tuple(map(os.fspath, given))
    found = config.getini("orchestration_config")
    if found:
        return tuple(map(str, found))
    variable = os.environ.get("ORCHESTRATION_CONFIG")
    return tuple(variable.split(os.pathsep)) if variable else (str(config.rootpath / "config"),)


def _registry(config: pytest.Config, paths: tuple[str, ...]) -> Registry:
    from orchestration.registry import load_registry

    loaded = config.stash.setdefault(_loaded, {})
    if paths not in loaded:
        loaded[paths] = load_registry(list(paths))
    return loaded[paths]
