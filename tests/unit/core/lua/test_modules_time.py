"""The Lua module time: instants, durations, zones. What is expected is what Go's package time gives."""

from __future__ import annotations

import datetime
import importlib.resources
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.core.lua.hostlib.calendar import civil_from_seconds, days_from_civil
from orchestration.core.lua.hostlib.zones import load_zone, offset_at
from tests.support.lua import START_MS, LuaFailure, run_in_both_modes


def lua(source: str, *args: Any, **options: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("time",), **options)


def raises(source: str) -> str:
    with pytest.raises(LuaFailure) as caught:
        lua(source)
    return caught.value.message


# Durations -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("5s", 5_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("250ms", 250_000_000),
        ("1.5s", 1_500_000_000),
        ("-1.5h", -5_400_000_000_000),
        ("+5s", 5_000_000_000),
        (".5s", 500_000_000),
        ("5.s", 5_000_000_000),
        ("1us", 1_000),
        ("1µs", 1_000),
        ("1μs", 1_000),
        ("12ns", 12),
        ("3h2m1s4ms5us6ns", 10_921_004_005_006),
        ("1m1m", 120_000_000_000),
        ("0.3333333333333333333h", 1_200_000_000_000),
        ("9007199254.740993s", 9_007_199_254_740_993_000),
        ("9223372036854775807ns", 2**63 - 1),
    ],
)
def test_parse_duration(text: str, nanoseconds: int) -> None:
    assert lua("return time.parse_duration(...):nanoseconds()", text) == nanoseconds


@pytest.mark.parametrize(
    "value",
    [
        "''",
        "'3'",
        "'-'",
        "'s'",
        "'.'",
        "'.s'",
        "'+.s'",
        "'1.2.3s'",
        "'1d'",
        "'1e3s'",
        "'1 s'",
        "'3000000h'",
        "'9223372036854775808ns'",
        "'9223372036854775807ns1ns'",
        "nil",
        "{}",
        "true",
        "0/0",
        "1/0",
        "2^63",
        "('1s'):rep(1000)",
    ],
)
def test_bad_durations_are_invalid(value: str) -> None:
    found = lua(f"""local a, one = time.parse_duration({value}) local b, two = time.sleep({value})
      local c, three = time.after({value})
      return {{ a == nil, one:kind(), b == nil, two:kind(), c == nil, three:kind() }}""")
    assert found == [True, "Invalid"] * 3


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (60_000_000_000, "1m0s"),
        (5_445_000_000_000, "1h30m45s"),
        (3_600_000_000_000, "1h0m0s"),
        (3_600_000_000_001, "1h0m0.000000001s"),
        (-5_000_000_000, "-5s"),
        (-1, "-1ns"),
        (2**63 - 1, "2562047h47m16.854775807s"),
        (-(2**63), "-2562047h47m16.854775808s"),
    ],
)
def test_durations_as_text(nanoseconds: int, text: str) -> None:
    assert lua("return tostring(time.parse_duration(...))", nanoseconds) == text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_durations_read_back(nanoseconds: int) -> None:
    found = lua("return time.parse_duration(tostring(time.parse_duration(...))):nanoseconds()", nanoseconds)
    assert found == nanoseconds


def test_duration_methods() -> None:
    found = lua("""local d = time.parse_duration("-1h30m1.5s")
      return { d:nanoseconds(), d:microseconds(), d:milliseconds(), d:seconds(), d:minutes(), d:hours(), type(d),
               time.parse_duration(d) == d, time.parse_duration(1) < time.parse_duration(2),
               time.parse_duration(-1.9):nanoseconds(), time.parse_duration(-1500):microseconds() }""")
    assert found == [
        -5401500000000,
        -5401500000,
        -5401500,
        -5401.5,
        -90.025,
        -5401.5 / 3600,
        "userdata",
        True,
        True,
        -1,
        -1,
    ]
    assert [type(value) for value in found[:6]] == [int] * 3 + [float] * 3


# Instants ------------------------------------------------------------------------------------------------------------


def test_now_is_the_time_of_the_run_and_stands_still() -> None:
    found = lua("""local a = time.now() for i = 1, 1000 do end local b = time.now()
      time.sleep("1h") local c = time.now()
      return { a:unix_nano(), a == b, tostring(c:sub(a)), a:location():string(), type(a) }""")
    assert found == [START_MS * 1_000_000, True, "1h0m0s", "Local", "userdata"]


def test_parts() -> None:
    found = lua("""local t = time.date(2024, 2, 29, 23, 58, 7, 123456789, time.utc)
      local y, mo, d = t:date() local h, mi, s = t:clock()
      return { y, mo, d, h, mi, s, t:year(), t:month(), t:day(), t:hour(), t:minute(), t:second(), t:nanosecond(),
               t:weekday(), t:year_day(), t:unix(), t:unix_nano(), t:is_zero(), t:location():string() }""")
    assert found == [2024, 2, 29, 23, 58, 7, 2024, 2, 29, 23, 58, 7, 123456789, 4, 60, 1709251087, 1709251087123456789,
                     False, "UTC"]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("2023, 13, 1", "2024-01-01T00:00:00Z"),
        ("2024, 2, 30", "2024-03-01T00:00:00Z"),
        ("2024, 1, 0", "2023-12-31T00:00:00Z"),
        ("2024, -11, 1", "2023-01-01T00:00:00Z"),
        ("2024, 1, 1, 25, 61, 61", "2024-01-02T02:02:01Z"),
        ("2024, 1, 1, 0, 0, 0, -1", "2023-12-31T23:59:59Z"),
        ("1, 1, 1", "0001-01-01T00:00:00Z"),
        ("12024, 1, 1", "12024-01-01T00:00:00Z"),
        ("2024.0, 1, 1", "2024-01-01T00:00:00Z"),
    ],
)
def test_date_takes_what_is_out_of_range(arguments: str, text: str) -> None:
    assert lua(f"return time.date({arguments}):format_rfc3339()") == text


def test_unix() -> None:
    found = lua("""return { time.unix(0, 0):format_rfc3339(), time.unix(-1, -1):unix_nano(),
      time.unix(1, 1500000000):unix_nano(),
      time.unix(-62135596800, 0):is_zero(), time.date(1, 1, 1):is_zero(), time.unix(7):unix() }""")
    assert found == ["1970-01-01T00:00:00Z", -1000000001, 2500000000, True, True, 7]


def test_arithmetic_and_comparison() -> None:
    found = lua("""local a = time.unix(100, 5) local b = a:add("1.5s")
      local early, late = time.date(1, 1, 1), time.date(9999, 1, 1)
      return { b:unix_nano(), tostring(b:sub(a)), tostring(a:sub(b)), a:before(b), a:after(b), b:after(a), a:equal(b),
               a:equal(a:in_location(time.fixed_zone("X", 3600))), a < b, a <= a, a == time.unix(100, 5), a ~= b,
               a:add(-5):unix_nano(), a:add(time.parse_duration("1ns")):nanosecond(),
               tostring(late:sub(early)), tostring(early:sub(late)) }""")
    assert found == [101500000005, "1.5s", "-1.5s", True, False, True, False, True, True, True, True, True,
                     100000000000, 6, "2562047h47m16.854775807s", "-2562047h47m16.854775808s"]  # fmt: skip


@pytest.mark.parametrize(
    ("date", "shift", "expected"),
    [
        ("2024, 1, 31", "0, 1, 0", "2024-03-02"),
        ("2024, 2, 29", "1, 0, 0", "2025-03-01"),
        ("2024, 1, 1", "0, -1, -1", "2023-11-30"),
        ("2024, 1, 1", "-1, 13, 366", "2025-02-01"),
    ],
)
def test_add_date(date: str, shift: str, expected: str) -> None:
    assert lua(f"return time.date({date}):add_date({shift}):format(time.DATE_ONLY)") == expected


@pytest.mark.parametrize(
    ("length", "truncated", "rounded"),
    [
        ("1ns", "12:15:30.918273645", "12:15:30.918273645"),
        ("1us", "12:15:30.918273000", "12:15:30.918274000"),
        ("1ms", "12:15:30.918000000", "12:15:30.918000000"),
        ("1s", "12:15:30.000000000", "12:15:31.000000000"),
        ("2s", "12:15:30.000000000", "12:15:30.000000000"),
        ("1m", "12:15:00.000000000", "12:16:00.000000000"),
        ("10m", "12:10:00.000000000", "12:20:00.000000000"),
        ("1h", "12:00:00.000000000", "12:00:00.000000000"),
        ("0s", "12:15:30.918273645", "12:15:30.918273645"),
        ("-1s", "12:15:30.918273645", "12:15:30.918273645"),
    ],
)
def test_truncate_and_round(length: str, truncated: str, rounded: str) -> None:
    """The table of Go's documentation of Time.Truncate and Time.Round."""
    found = lua(
        """local t = time.date(2012, 12, 7, 12, 15, 30, 918273645, time.utc)
      local layout = "15:04:05.000000000"
      return { t:truncate(...):format(layout), t:round(...):format(layout) }""",
        length,
    )
    assert found == [truncated, rounded]


@given(st.integers(-(10**18), 10**18), st.integers(1, 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_truncate_counts_from_the_year_one(nanosecond: int, length: int) -> None:
    whole = nanosecond + 62135596800 * 10**9
    found = lua(
        "local ns, d = ... return time.unix(0, ns):sub(time.unix(0, ns):truncate(d)):nanoseconds()", nanosecond, length
    )
    assert found == min(whole % length, 2**63 - 1)


# Zones ---------------------------------------------------------------------------------------------------------------


def test_locations() -> None:
    found = lua("""local berlin = assert(time.load_location("Europe/Berlin"))
      local t = time.date(2024, 7, 1, 12, 0, 0, 0, berlin)
      local fixed = time.fixed_zone("XYZ", -5400)
      return { berlin:string(), tostring(berlin), t:format_rfc3339(), t:utc():format_rfc3339(), tostring(t),
               t:in_location(fixed):format(time.RFC1123), t:in_location(fixed):format(time.RFC3339), type(berlin),
               t:in_local():location():string(), time.utc:string(), time.localtz:string(), t:hour(),
               t:utc():hour() }""")
    assert found == [
        "Europe/Berlin", "Europe/Berlin", "2024-07-01T12:00:00+02:00", "2024-07-01T10:00:00Z",
        "2024-07-01 12:00:00 +0200 CEST", "Mon, 01 Jul 2024 08:30:00 XYZ", "2024-07-01T08:30:00-01:30", "userdata",
        "Local", "UTC", "Local", 12, 10,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", "Invalid"),
        ("Nowhere/City", "NotFound"),
        ("../../etc/passwd", "NotFound"),
        ("Europe", "NotFound"),
        ("tzdata.zi", "NotFound"),
        ("/Europe/Berlin", "NotFound"),
        ("x" * 300, "NotFound"),
        (5, "Invalid"),
    ],
)
def test_bad_locations(name: Any, kind: str) -> None:
    assert lua("local v, err = time.load_location(...) return { v == nil, err:kind() }", name) == [True, kind]


def test_the_local_zone_is_the_one_of_the_run() -> None:
    found = lua(
        """local t = time.date(2024, 1, 1, 0, 0, 0, 0)
      return { t:format_rfc3339(), t:in_local():format("MST"), time.unix(0, 0):format_rfc3339(),
               time.parse("2006-01-02", "2024-07-01"):format_rfc3339(), time.now():format("Z07:00") }""",
        tz="America/New_York",
    )
    assert found == ["2024-01-01T00:00:00-05:00", "EST", "1969-12-31T19:00:00-05:00", "2024-07-01T00:00:00Z", "-05:00"]


@pytest.mark.parametrize(
    ("zone", "clock", "utc"),
    [
        ("Europe/Berlin", (2024, 3, 31, 2, 30), "2024-03-31T01:30:00Z"),  # this reading never was
        ("Europe/Berlin", (2024, 10, 27, 2, 30), "2024-10-27T01:30:00Z"),  # it was twice
        ("America/New_York", (2024, 3, 10, 2, 30), "2024-03-10T06:30:00Z"),
        ("Australia/Lord_Howe", (2024, 1, 1, 0, 0), "2023-12-31T13:00:00Z"),
        ("Asia/Kathmandu", (2500, 6, 1, 0, 0), "2500-05-31T18:15:00Z"),
        ("Europe/Berlin", (12024, 7, 1, 0, 0), "12024-06-30T22:00:00Z"),
    ],
)
def test_clocks_in_gaps_and_overlaps(zone: str, clock: tuple[int, ...], utc: str) -> None:
    found = lua(
        "local zone, y, mo, d, h, mi = ... local loc = time.load_location(zone)"
        " return time.date(y, mo, d, h, mi, 0, 0, loc):utc():format_rfc3339()",
        zone,
        *clock,
    )
    assert found == utc


@given(st.integers(-(10**10), 2 * 10**11), st.sampled_from(["Europe/London", "America/Sao_Paulo", "Asia/Tehran"]))
def test_offsets_are_those_of_the_database(second: int, name: str) -> None:
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=second)
    # Not ZoneInfo(name): the system's database may be of another year, and say something else of 1965.
    with importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        there = moment.astimezone(zoneinfo.ZoneInfo.from_file(file, key=name))
    offset = there.utcoffset()
    assert offset is not None
    assert offset_at(load_zone(name), second) == (int(offset.total_seconds()), there.tzname())


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_the_calendar_is_that_of_datetime(second: int) -> None:
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=second)
    civil = civil_from_seconds(second)
    assert civil[:6] == moment.timetuple()[:6]
    assert civil.weekday == moment.isoweekday() % 7
    assert days_from_civil(*civil[:3]) == second // 86_400


# Arguments and borders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("time.date()", "bad argument #1 to 'date' (integer expected, got no value)"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0, 'UTC')", "bad argument #8 to 'date' (Location expected, got string)"),
        ("time.date(2024.5, 1, 1)", "bad argument #1 to 'date'"),
        ("time.unix('x')", "bad argument #1 to 'unix'"),
        ("time.parse(1, 'x')", "bad argument #1 to 'parse'"),
        ("time.parse('x')", "bad argument #2 to 'parse'"),
        ("time.fixed_zone('x')", "bad argument #2 to 'fixed_zone'"),
        ("time.now():add('x')", "bad argument #1 to 'add'"),
        ("time.now():sub(5)", "bad argument #1 to 'sub' (Time expected, got number)"),
        ("time.now():format(5)", "bad argument #1 to 'format'"),
        ("time.now():in_location('UTC')", "bad argument #1 to 'in_location'"),
        ("time.now().year()", "bad argument #1 to 'year'"),
        ("time.now().x = 1", "read-only"),
        ("time.RFC3339 = 1", "read-only"),
        ("local _ = time.now() < 5", "bad argument"),
    ],
)
def test_wrong_arguments_raise_where_they_were_given(source: str, words: str) -> None:
    message = raises(f"\n\n{source}")
    assert words in message
    assert "main.lua:3:" in message


def test_times_become_nil_when_they_leave() -> None:
    assert lua("return { a = time.now(), b = time.parse_duration('1s'), c = time.utc, d = 1 }") == {
        "a": None, "b": None, "c": None, "d": 1,
    }  # fmt: skip


def test_long_layouts_and_texts_are_refused() -> None:
    found = lua("""local _, a = time.parse(("x"):rep(5000), "x") local _, b = time.parse("2006", ("1"):rep(5000))
      local _, c = time.now():format(("x"):rep(5000))
      return { a:kind(), b:kind(), c:kind() }""")
    assert found == ["Invalid"] * 3
