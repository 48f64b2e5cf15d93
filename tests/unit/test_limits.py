"""What is said of a run that comes near to a limit: once in the log, as long as it is so in its description."""

from __future__ import annotations

import logging
import pickle
from types import SimpleNamespace

import pytest

from orchestration.core import payload
from orchestration.core.machine import Usage
from orchestration.errors import InboxFullError
from orchestration.settings import Settings
from orchestration.tasks.limits import PENDING_MAX, exceeded, near_limits, warn_near_limits

SETTINGS = Settings(history_limit=1000, history_bytes=100_000, inbox_limit=100)


def test_four_fifths_of_a_limit_are_near() -> None:
    assert near_limits(SETTINGS, Usage(799, 79_999, PENDING_MAX * 4 // 5 - 1), 79) == ()
    assert near_limits(SETTINGS, Usage(800, 80_000, PENDING_MAX * 4 // 5), 80) == (
        "800 events in the history, the limit is 1,000",
        "80,000 bytes in the history, the limit is 100,000",
        "8,000 commands pending, the limit is 10,000",
        "80 inputs unread, the limit is 100",
    )


def test_what_is_near_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        session = SimpleNamespace(usage=Usage(), run_id="r", workflow_id="w", machine=SimpleNamespace())
        for events in (700, 801, 900):
            session.machine.usage = lambda events=events: Usage(events)
            warn_near_limits(SETTINGS, session)  # type: ignore[arg-type]
    (record,) = caplog.records
    assert record.getMessage() == "run near a limit: 801 events in the history, the limit is 1000"
    assert (record.run_id, record.workflow_id) == ("r", "w")  # type: ignore[attr-defined]


def test_a_step_beyond_a_limit_is_told() -> None:
    assert exceeded(SETTINGS, Usage(1000, 100_000)) == ""
    assert exceeded(SETTINGS, Usage(1001, 0)) == "the history would have more than 1000 events"
    assert exceeded(SETTINGS, Usage(0, 100_001)) == "the history would have more than 100000 bytes"


def test_a_large_value_is_logged_before_it_is_too_large(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        payload.encode("x" * 700, limit=1000)
        assert caplog.records == []
        payload.encode("x" * 850, limit=1000)
    assert caplog.records[0].getMessage() == "a value of 853 bytes is near to the limit of 1000"


def test_a_full_inbox_has_its_own_error() -> None:
    error = pickle.loads(pickle.dumps(InboxFullError("order-1", 10_000)))
    assert (error.workflow_id, error.unread) == ("order-1", 10_000)
    assert str(error) == "the inbox of workflow 'order-1' is full (10,000 unread): try again later"
