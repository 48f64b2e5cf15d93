"""Cron expressions: when they are due next, in any time zone and in any year."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.core.cron import check_cron, check_zone, next_cron_time


def ms(text: str) -> int:
    """Milliseconds since the epoch of an ISO time; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def due(expression: str, zone: str, after: str, count: int = 1) -> list[str]:
    """The next times of an expression, in UTC."""
    found: list[str] = []
    at = ms(after)
    for _ in range(count):
        following = next_cron_time(expression, zone, at)
        if following is None:
            break
        at = following
        found.append(datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/15 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:15:00"),
        ("*/15 * * * *", "2026-01-01T00:14:59.999", "2026-01-01T00:15:00"),
        ("0 9 * * MON-FRI", "2026-01-02T09:00:00", "2026-01-05T09:00:00"),
        ("0 0 1,15 * *", "2026-01-02T00:00:00", "2026-01-15T00:00:00"),
        ("0 0 13 * 5", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),  # the 13th or a Friday
        ("0 12 L * *", "2026-02-01T00:00:00", "2026-02-28T12:00:00"),
        ("0 12 LW * *", "2026-05-01T00:00:00", "2026-05-29T12:00:00"),
        ("0 12 * * MON#2", "2026-01-01T00:00:00", "2026-01-12T12:00:00"),
        ("0 12 * * 5L", "2026-01-01T00:00:00", "2026-01-30T12:00:00"),
        ("30 0 0 * * *", "2026-01-01T00:00:00", "2026-01-01T00:00:30"),
        ("@hourly", "2026-01-01T00:00:00", "2026-01-01T01:00:00"),
        ("@Daily", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("@every 90m", "2026-01-01T00:00:00.700", "2026-01-01T01:30:00"),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
    ],
)
def test_next_time(expression: str, after: str, expected: str) -> None:
    assert due(expression, "", after) == [expected]


def test_leap_day_comes_every_four_years_and_not_in_2100() -> None:
    assert due("0 0 29 2 *", "UTC", "2026-01-01T00:00:00", 2) == ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]
    assert due("0 0 29 2 *", "UTC", "2096-03-01T00:00:00") == ["2104-02-29T00:00:00"]


def test_fixed_time_in_the_gap_of_spring_is_due_right_after_it() -> None:
    # Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
    found = due("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00", 3)
    assert found == ["2026-03-28T01:30:00", "2026-03-29T01:00:00", "2026-03-30T00:30:00"]


def test_two_fixed_times_that_meet_after_the_gap_are_due_once() -> None:
    assert due("0 2,3 * * *", "Europe/Berlin", "2026-03-28T23:00:00", 2) == [
        "2026-03-29T01:00:00",
        "2026-03-30T00:00:00",
    ]


def test_fixed_time_in_the_repeated_hour_of_autumn_is_due_once() -> None:
    # Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC; 02:30 comes at 00:30 and at 01:30 UTC.
    found = due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00", 2)
    assert found == ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]


def test_time_after_a_moment_within_the_second_pass_does_not_go_back() -> None:
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00") == ["2026-10-26T01:30:00"]


def test_every_half_hour_follows_the_clock_through_both_changes() -> None:
    spring = due("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00", 4)
    assert spring == [f"2026-03-29T{clock}:00" for clock in ("00:30", "01:00", "01:30", "02:00")]
    autumn = due("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00", 4)
    assert autumn == [f"2026-10-25T{clock}:00" for clock in ("00:30", "01:00", "01:30", "02:00")]


def test_gap_of_half_an_hour() -> None:
    # Lord Howe moves by 30 minutes: 2026-10-04, 02:00 becomes 02:30 at 15:30 UTC of the day before.
    assert due("10 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00") == ["2026-10-03T15:30:00"]


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("0 0 31 2 *", "day-of-month"),
        ("0 0 * 13 *", "month"),
        ("0 0 * * 8", "day-of-week"),
        ("*/0 * * * *", "minute"),
        ("@sometimes", "five fields"),
        ("@every soon", "duration"),
        ("@every 10ms", "one second"),
        ("0 " * 200, "at most 255"),
        ("CRON_TZ=Mars/Base 0 0 * * *", "time zone"),
    ],
)
def test_bad_expression_gets_one_clear_error(expression: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        check_cron(expression)
    with pytest.raises(ValueError, match=word):
        next_cron_time(expression, "UTC", 0)


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "europe", "Europe/Berlin\n"])
def test_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="unknown time zone"):
        check_zone(zone)


def test_no_time_after_the_end_of_dates() -> None:
    assert next_cron_time("0 0 1 1 *", "Europe/Berlin", 253_402_300_799_000) is None


@given(
    expression=st.sampled_from(
        ["*/7 * * * *", "15 2 * * *", "0 1-3 * * *", "59 23 L * *", "*/20 30 1,2 * * *", "0 0 29 2 *"]
    ),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
    after=st.integers(-86_400_000, 4_000_000_000_000),
)
def test_time_is_later_and_the_earliest(expression: str, zone: str, after: int) -> None:
    """Asking from just before a due time, or from anywhere between, gives that same time: nothing is left out."""
    first = next_cron_time(expression, zone, after)
    assert first is not None
    assert first > after
    assert next_cron_time(expression, zone, first - 1) == first
    assert next_cron_time(expression, zone, (after + first) // 2) == first
