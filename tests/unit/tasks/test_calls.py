"""What is final whatever the options of a call say."""

from __future__ import annotations

import threading

import pytest
from celery.exceptions import Ignore, Retry, SoftTimeLimitExceeded

from orchestration import activity
from orchestration.errors import ApplicationError
from orchestration.tasks.calls import with_retries

OPTIONS = {"retry": {"max_attempts": 5, "initial_delay": 0, "retry_kinds": ["Internal", "Canceled", ""]}}


@pytest.mark.parametrize(
    "error",
    [
        Retry("of Celery"), Ignore("complete later"), activity.CompleteLater(), SoftTimeLimitExceeded(),
        ApplicationError("stop", kind="Canceled"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_speaks_to_celery_and_what_ends_a_body_is_not_tried_again(error: Exception) -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        with_retries(call, OPTIONS)
    assert len(calls) == 1


def test_a_pause_ends_when_nobody_wants_the_result_any_more() -> None:
    stop = threading.Event()
    stop.set()

    def call() -> None:
        raise ValueError("no")

    slow = {"retry": {"max_attempts": 5, "initial_delay": "1h", "max_delay": "1h", "retry_kinds": ["Internal"]}}
    with pytest.raises(ApplicationError, match="canceled") as caught:
        with_retries(call, slow, stop=stop)
    assert caught.value.kind == "Canceled"
