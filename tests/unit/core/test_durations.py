"""Durations: Go style texts and numbers of milliseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.core.durations import format_duration, parse_duration_ms


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1h30m", 5_400_000),
        ("250ms", 250),
        ("1.5s", 1_500),
        (".5s", 500),
        ("1h2m3.004s", 3_723_004),
        ("24h", 86_400_000),
        ("0", 0),
        ("0s", 0),
        ("-2s", -2_000),
        ("+2s", 2_000),
        ("1us", 1),
        ("1000µs", 1),
        ("1000μs", 1),
        ("1ns", 1),
        ("1.0000001s", 1_001),
        (30, 30),
        (0.5, 1),
        (-0.5, -1),
        (1500.0, 1_500),
    ],
)
def test_values(value, expected):
    assert parse_duration_ms(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "5", "s", "1x", "1 s", "1h 2m", "--1s", "1e3s", "１s", "1s!", None, True, [], float("nan"),
     float("inf"), "9" * 200 + "s",
     "3000000h", 10**40],
)  # fmt: skip
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        parse_duration_ms(value)


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (0, "0s"),
        (1, "1ms"),
        (1_500, "1.5s"),
        (61_000, "1m1s"),
        (5_400_000, "1h30m0s"),
        (-250, "-250ms"),
        (60_001, "1m0.001s"),
    ],
)
def test_texts(ms, expected):
    assert format_duration(ms) == expected


@given(st.integers(min_value=-9 * 10**12, max_value=9 * 10**12))
def test_round_trip(ms):
    assert parse_duration_ms(format_duration(ms)) == ms
