"""Numbers in JSON stay the numbers that they are, or are refused."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.core.export import as_json
from orchestration.core.json_values import read_json


@pytest.mark.parametrize(
    "text",
    ["9007199254740993", "10.0", "-0.0", "9223372036854775807", "-9223372036854775808", "1.2345678901234567e+19"],
)
def test_what_is_read_is_written_the_same(text: str) -> None:
    assert as_json(read_json(text)) == text


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_comes_back_with_its_type(number: float) -> None:
    back = read_json(as_json(number))
    assert type(back) is type(number)
    assert back == number
    assert math.copysign(1, back) == math.copysign(1, number)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1e400", "1e400 is beyond all floats; send it as text"), ("[-1e999]", "-1e999 is beyond all floats"),
        ("9" * 5000, "of 5000 characters does not fit in 64 bits; send it as text"), ("NaN", "NaN is no JSON value"),
        ("[-Infinity]", "-Infinity is no JSON value"),
    ],
)  # fmt: skip
def test_a_number_that_nothing_can_hold_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_json(text)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 150


def test_what_is_no_json_says_where() -> None:
    with pytest.raises(json.JSONDecodeError, match="line 1 column 4"):
        read_json("[1 2]")
