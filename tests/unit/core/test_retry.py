"""Whether and when an activity is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core.failures import failure_of
from orchestration.core.retry import retry_delay_ms
from orchestration.errors import ApplicationError


def delay(
    options: dict[str, Any] | None = None, *, attempt: int = 1, elapsed_ms: int = 0, **failure: Any
) -> int | None:  # fmt: skip
    return retry_delay_ms(options or {}, attempt=attempt, failure=failure, elapsed_ms=elapsed_ms)


def test_pauses_double_from_a_second_up_to_a_hundred() -> None:
    assert [delay(attempt=attempt) for attempt in (1, 2, 3, 7, 8, 5000)] == [1000, 2000, 4000, 64_000, 100_000, 100_000]


@pytest.mark.parametrize(("asked", "pause"), [(0, 0), (300, 300), (300.2, 301), (7_200_000, 7_200_000)])
def test_a_failure_may_ask_for_its_own_pause_which_no_maximum_bounds(asked: float, pause: int) -> None:
    policy = {"retry": {"initial_interval_ms": 50, "maximum_interval_ms": 100}}
    assert delay(policy, details={"retry_after_ms": asked}) == pause


@pytest.mark.parametrize("asked", [-1, True, "soon", None, float("nan"), float("inf"), 2**70])
def test_what_is_no_pause_is_left_to_the_policy(asked: Any) -> None:
    assert delay(details={"retry_after_ms": asked}) == 1000


def test_an_asked_pause_makes_nothing_retryable_and_lifts_no_limit() -> None:
    details = {"retry_after_ms": 500}
    assert delay(retryable=False, details=details) is None
    assert delay({"retry": {"maximum_attempts": 1}}, details=details) is None
    assert delay({"schedule_to_close_timeout_ms": 1000}, elapsed_ms=501, details=details) is None
    assert delay({"retry": {"non_retryable_error_types": ["Busy"]}}, kind="Busy", details=details) is None


def test_the_pause_of_an_application_error_is_the_one_that_is_read() -> None:
    error = ApplicationError("busy", retry_after=1.5)
    assert retry_delay_ms({}, attempt=1, failure=failure_of(error), elapsed_ms=0) == 1500


def test_the_longest_pause_is_a_hundred_times_the_first_unless_it_is_said() -> None:
    policy = {"initial_interval_ms": 10, "backoff_coefficient": 100}
    assert [delay({"retry": policy}, attempt=attempt) for attempt in (1, 2, 3)] == [10, 1000, 1000]
    policy = {"initial_interval_ms": 10, "backoff_coefficient": 3, "maximum_interval_ms": 50}
    assert [delay({"retry": policy}, attempt=attempt) for attempt in (1, 2, 3)] == [10, 30, 50]


def test_attempts_count_the_first_and_zero_is_no_end() -> None:
    assert [delay({"retry": {"maximum_attempts": 2}}, attempt=attempt) for attempt in (1, 2, 3)] == [1000, None, None]
    assert delay({"retry": {"maximum_attempts": 0}}, attempt=10**6) is not None


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        ({}, True), ({"retryable": None}, True), ({"retryable": True}, True), ({"retryable": False}, False),
        ({"kind": "Listed"}, False), ({"kind": "Other"}, True), ({"kind": "Listed", "retryable": True}, False),
        ({"kind": "Internal", "details": {"exception": "OutOfPaper"}}, False),
        ({"kind": "Internal", "details": {"exception": "KeyError"}}, True),
    ],
)  # fmt: skip
def test_what_is_not_retryable_or_of_a_listed_kind_is_final(failure: dict[str, Any], again: bool) -> None:
    policy = {"retry": {"non_retryable_error_types": ["Listed", "OutOfPaper"]}}
    assert (delay(policy, **failure) == 1000) is again


def test_no_attempt_begins_when_the_time_of_all_is_over() -> None:
    assert delay({"schedule_to_close_timeout_ms": 5000}, elapsed_ms=3999) == 1000
    assert delay({"schedule_to_close_timeout_ms": 5000}, elapsed_ms=4000) is None
