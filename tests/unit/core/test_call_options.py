"""Options of function calls outside workflows."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core.call_options import CallRetry, call_retry, call_timeout_ms


def pauses(options: dict[str, Any], failure: dict[str, Any], *, chance: float = 0.5) -> list[float]:
    """Every pause until the failure is final."""
    policy = call_retry({"retry": options})
    found: list[float] = []
    while policy is not None and len(found) < 50:
        delay = policy.delay_ms(failure, attempt=len(found) + 1, chance=chance)
        if delay is None:
            break
        found.append(delay)
    return found


UNAVAILABLE = {"kind": "Unavailable"}


def test_the_first_pause_is_multiplied_already_and_pauses_grow_up_to_the_longest() -> None:
    assert pauses({"max_attempts": 4}, UNAVAILABLE) == [200, 400, 800]
    options = {"max_attempts": 6, "initial_delay": "1s", "max_delay": 5000, "backoff_factor": 3}
    assert pauses(options, UNAVAILABLE) == [3000, 5000, 5000, 5000, 5000]
    huge = CallRetry(max_attempts=10**6, backoff_factor=1e300)
    assert huge.delay_ms(UNAVAILABLE, attempt=5000, chance=0.5) == 10_000


def test_jitter_moves_a_pause_by_its_fraction() -> None:
    assert pauses({"max_attempts": 2}, UNAVAILABLE, chance=0) == [180]
    assert pauses({"max_attempts": 2}, UNAVAILABLE, chance=1) == [pytest.approx(220)]
    assert pauses({"max_attempts": 2, "jitter": 0}, UNAVAILABLE, chance=1) == [200]


@pytest.mark.parametrize(
    ("failure", "lists", "again"),
    [
        ({"kind": ""}, {}, True),
        ({"kind": "Unavailable"}, {}, True),
        ({"kind": "Unavailable", "retryable": True}, {}, True),
        ({"kind": "Unavailable", "retryable": False}, {}, False),
        ({"kind": "Unavailable", "retryable": False}, {"retry_kinds": ["Unavailable"]}, False),
        ({"kind": "Invalid"}, {}, False),
        ({"kind": "PermissionDenied"}, {}, False),
        ({"kind": "Internal"}, {}, False),
        ({"kind": "Internal"}, {"retry_kinds": ["Internal"]}, True),
        ({"kind": "Unavailable"}, {"retry_kinds": ["Timeout"]}, False),
        ({"kind": "Unavailable"}, {"skip_kinds": ["Unavailable"]}, False),
        ({"kind": "Unavailable"}, {"skip_kinds": ["Unavailable"], "retry_kinds": ["Unavailable"]}, False),
        ({"kind": "Canceled"}, {"retry_kinds": ["Canceled"]}, False),
        ({"kind": "Timeout"}, {"skip_kinds": {}}, True),
    ],
)
def test_kinds_decide_what_is_tried_again(failure: dict[str, Any], lists: dict[str, Any], again: bool) -> None:
    assert bool(pauses({"max_attempts": 2, **lists}, failure)) is again


@pytest.mark.parametrize("options", [{}, {"retry": None}, {"retry": "x"}, {"retry": {"max_attempts": 1}}])
def test_without_two_attempts_there_is_no_policy(options: dict[str, Any]) -> None:
    assert call_retry(options) is None


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("max_attempts", 2.5, "whole number"),
        ("max_attempts", True, "must be a number"),
        ("initial_delay", "soon", r"retry\.initial_delay is not a duration"),
        ("max_delay", [], r"retry\.max_delay must be a duration"),
        ("backoff_factor", -1, "not negative"),
        ("jitter", float("nan"), "must be a number"),
        ("retry_kinds", "Timeout", "list of kinds"),
        ("skip_kinds", [1], "list of kinds"),
    ],
)
def test_wrong_fields_are_named(field: str, value: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call_retry({"retry": {"max_attempts": 3, field: value}})


def test_a_timeout_is_milliseconds_or_a_text() -> None:
    assert call_timeout_ms({}) == 0
    assert call_timeout_ms({"timeout": 250}) == 250
    assert call_timeout_ms({"timeout": "1.5s"}) == 1500
    assert call_timeout_ms({"timeout": -5}) == 0
