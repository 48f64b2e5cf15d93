"""The pause that a failure asks for survives every way in which errors travel."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from orchestration import errors
from orchestration.core.failures import application_error, failure_of
from orchestration.errors import ActivityError, ApplicationError

FAILURES = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ApplicationError)]


@pytest.mark.parametrize("asked", [timedelta(seconds=90), 90, 90.0], ids=["timedelta", "int", "float"])
def test_the_pause_is_seconds_or_a_timedelta(asked: Any) -> None:
    error = ApplicationError("busy", retry_after=asked)
    assert error.retry_after == timedelta(seconds=90)
    assert error.details == {"retry_after_ms": 90_000}


def test_an_error_that_asks_for_nothing_has_no_details() -> None:
    assert ApplicationError("no").details is None
    assert ApplicationError("no").retry_after is None


@pytest.mark.parametrize("asked", [-1, timedelta(days=-1), float("nan"), float("inf")])
def test_a_pause_that_is_none_is_refused(asked: Any) -> None:
    with pytest.raises(ValueError, match="retry_after is at least 0"):
        ApplicationError("busy", retry_after=asked)


@pytest.mark.parametrize("cls", FAILURES, ids=lambda cls: cls.__name__)
def test_it_survives_pickling(cls: type[ApplicationError]) -> None:
    back = pickle.loads(pickle.dumps(cls("busy", "Unavailable", True, {"n": 1}, retry_after=2)))
    assert type(back) is cls
    assert (back.message, back.kind, back.retryable, back.details) == (
        "busy", "Unavailable", True, {"n": 1, "retry_after_ms": 2000},
    )  # fmt: skip
    assert back.retry_after == timedelta(seconds=2)


def test_it_survives_a_result_backend_of_celery() -> None:
    backend = Celery("x", backend="cache+memory://", set_as_current=False).backend
    stored = json.loads(json.dumps(backend.prepare_exception(ApplicationError("busy", retry_after=2), "json")))
    back = backend.exception_to_python(stored)
    assert isinstance(back, ApplicationError)
    assert back.retry_after == timedelta(seconds=2)


def test_it_survives_as_a_failure() -> None:
    back = application_error(failure_of(ApplicationError("busy", retry_after=2)), ActivityError)
    assert back.retry_after == timedelta(seconds=2)
