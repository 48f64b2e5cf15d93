"""Every error crosses processes unchanged."""

from __future__ import annotations

import inspect
import pickle

import pytest

from orchestration import errors

FOUND = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.OrchestrationError)]


@pytest.mark.parametrize("cls", FOUND)
def test_an_error_survives_pickling(cls: type[errors.OrchestrationError]) -> None:
    given: tuple[object, ...] = ("what happened",)
    if issubclass(cls, errors.ApplicationError):
        given = ("what happened", "Kind", False, {"a": [1]})
    elif cls is errors.NondeterminismError:
        given = (3, "this", "that", "flow.lua:1")
    error = cls(*given)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (again.args, vars(again), str(again)) == (error.args, vars(error), str(error))


def test_every_error_is_exported() -> None:
    assert sorted(cls.__name__ for cls in FOUND) == sorted(errors.__all__)
