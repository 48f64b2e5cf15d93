"""Go's layouts in the Lua module time: writing and reading. What is expected is what Go's package time gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.core.lua.hostlib.layout_reader import Location, parse_time
from orchestration.core.lua.hostlib.layouts import format_time
from tests.support.lua import run_in_both_modes

UTC = Location("UTC")


def lua(source: str, *args: Any, **options: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("time",), **options)


SECOND = 1_233_810_057  # Thu Feb  5 05:00:57 UTC 2009
EIGHT_HOURS = -8 * 3600


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("Mon Jan _2 15:04:05 2006", "Wed Feb  4 21:00:57 2009"),
        ("Mon Jan _2 15:04:05 MST 2006", "Wed Feb  4 21:00:57 PST 2009"),
        ("Mon Jan 02 15:04:05 -0700 2006", "Wed Feb 04 21:00:57 -0800 2009"),
        ("02 Jan 06 15:04 MST", "04 Feb 09 21:00 PST"),
        ("Monday, 02-Jan-06 15:04:05 MST", "Wednesday, 04-Feb-09 21:00:57 PST"),
        ("2006-01-02T15:04:05Z07:00", "2009-02-04T21:00:57-08:00"),
        ("2006-01-02T15:04:05.999999999Z07:00", "2009-02-04T21:00:57.0123456-08:00"),
        ("3:04PM", "9:00PM"),
        ("3pm", "9pm"),
        ("06/01/02 03:4:5", "09/02/04 09:0:57"),
        ("January 2 2006 002 __2", "February 4 2009 035  35"),
        ("Janurary Monda", "Janurary Monda".replace("Mon", "Mon")),
        ("15h1.2.2006_2006", "21h2.4.2009_2009"),
        (".000 ,00 .9 .999999999 .0000000000", ".012 ,01  .0123456 .012345600"),
        ("05.000", "57.012"),
        ("-07 -07:00:00 -070000 Z07 Z0700", "-08 -08:00:00 -080000 -08 -0800"),
        ("no elements; ñ", "no elements; ñ"),
        ("", ""),
    ],
)
def test_format(layout: str, text: str) -> None:
    assert format_time(layout, SECOND, 12_345_600, offset=EIGHT_HOURS, abbreviation="PST") == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RFC3339", "2009-02-05T05:00:57Z"),
        ("RFC3339NANO", "2009-02-05T05:00:57.0123456Z"),
        ("RFC822", "05 Feb 09 05:00 UTC"),
        ("RFC822Z", "05 Feb 09 05:00 +0000"),
        ("RFC850", "Thursday, 05-Feb-09 05:00:57 UTC"),
        ("RFC1123", "Thu, 05 Feb 2009 05:00:57 UTC"),
        ("RFC1123Z", "Thu, 05 Feb 2009 05:00:57 +0000"),
        ("KITCHEN", "5:00AM"),
        ("STAMP", "Feb  5 05:00:57"),
        ("STAMP_MILLI", "Feb  5 05:00:57.012"),
        ("STAMP_MICRO", "Feb  5 05:00:57.012345"),
        ("STAMP_NANO", "Feb  5 05:00:57.012345600"),
        ("DATE_TIME", "2009-02-05 05:00:57"),
        ("DATE_ONLY", "2009-02-05"),
        ("TIME_ONLY", "05:00:57"),
    ],
)
def test_named_layouts_there_and_back(name: str, text: str) -> None:
    found = lua(
        """local layout, second = time[(...)], select(2, ...)
      local t = time.unix(second, 12345600):utc()
      local back = assert(time.parse(layout, t:format(layout)))
      return { t:format(layout), back:format(layout) }""",
        name,
        SECOND,
    )
    assert found == [text, text]


def test_other_constants() -> None:
    found = lua("""return { time.NANOSECOND, time.MICROSECOND, time.MILLISECOND, time.SECOND, time.MINUTE, time.HOUR,
      time.JANUARY, time.DECEMBER, time.SUNDAY, time.SATURDAY }""")
    assert found == [1, 10**3, 10**6, 10**9, 60 * 10**9, 3600 * 10**9, 1, 12, 0, 6]


@pytest.mark.parametrize(
    ("layout", "text", "expected"),
    [
        ("2006-01-02", "2024-02-29", "2024-02-29T00:00:00Z"),
        ("2006-01-02T15:04:05Z07:00", "2024-02-29T10:00:00Z", "2024-02-29T10:00:00Z"),
        ("2006-01-02T15:04:05Z07:00", "2024-02-29T10:00:00.5+02:00", "2024-02-29T10:00:00.5+02:00"),
        ("2006-01-02 15:04:05.000", "2024-02-29 10:00:00,123", "2024-02-29T10:00:00.123Z"),
        ("2006-01-02 15:04:05.999", "2024-02-29 10:00:00", "2024-02-29T10:00:00Z"),
        ("3:04PM", "12:05am", None),
        ("3:04PM", "12:05AM", "0000-01-01T00:05:00Z"),
        ("3:04pm", "12:05pm", "0000-01-01T12:05:00Z"),
        ("January 2, 2006", "MARCH 7, 1999", "1999-03-07T00:00:00Z"),
        ("Jan 2 06", "feb 3 70", "1970-02-03T00:00:00Z"),
        ("Jan 2 06", "feb 3 68", "2068-02-03T00:00:00Z"),
        ("2006 002", "2024 060", "2024-02-29T00:00:00Z"),
        ("2006 __2", "2023  60", "2023-03-01T00:00:00Z"),
        ("Mon Jan _2 2006", "Thu Feb    4 2010", "2010-02-04T00:00:00Z"),
        ("2006-01-02 MST", "2024-01-01 UTC", "2024-01-01T00:00:00Z"),
        ("2006-01-02 MST", "2024-01-01 WAT", "2024-01-01T00:00:00Z"),
        ("2006-01-02 -0700 MST", "2024-01-01 +0530 IST", "2024-01-01T00:00:00+05:30"),
        ("15:04:05 -07:00:00", "10:00:00 +01:02:03", "0000-01-01T10:00:00+01:02"),
        ("2006-01-02", "2023-02-29", None),
        ("2006-01-02", "2024-13-01", None),
        ("2006-01-02", "2024-01-32", None),
        ("2006-01-02", "2024-1-1", None),
        ("2006-01-02", "2024-01-01x", None),
        ("2006-01-02", "", None),
        ("15:04", "24:00", None),
        ("15:04", "10:60", None),
        ("3PM", "13PM", None),
        ("Mon", "Xyz", None),
        ("2006 002", "2023 366", None),
        ("2006-01-02 002", "2024-03-01 060", None),
        ("Z07:00", "+25:00", None),
        ("MST", "abc", None),
    ],
)
def test_parse(layout: str, text: str, expected: str | None) -> None:
    found = lua(
        """local t, err = time.parse(...)
      if not t then return err:kind() end
      return t:format("2006-01-02T15:04:05.999999999Z07:00")""",
        layout,
        text,
    )
    assert found == (expected or "Invalid")


def test_parse_says_what_does_not_fit() -> None:
    found = lua("""local _, a = time.parse("2006-01-02", "2024-13-01") local _, b = time.parse("2006-01-02", "hello")
      local _, c = time.parse("15:04", "10:00 more")
      return { a:message(), b:message(), c:message() }""")
    assert found == [
        'parsing time "2024-13-01": month out of range',
        'parsing time "hello" as "2006-01-02": cannot parse "hello" as "2006"',
        'parsing time "10:00 more": extra text: " more"',
    ]


def test_parse_in_a_location() -> None:
    found = lua("""local berlin = time.load_location("Europe/Berlin")
      local a = time.parse("2006-01-02 15:04", "2024-07-01 12:00", berlin)
      local b = time.parse("2006-01-02 15:04 MST", "2024-07-01 12:00 CEST", berlin)
      local c = time.parse("2006-01-02 15:04 -0700", "2024-07-01 12:00 +0200", berlin)
      local d = time.parse("2006-01-02 15:04 -0700", "2024-07-01 12:00 +0300", berlin)
      local e = time.parse("2006-01-02", "2024-07-01", time.fixed_zone("F", 60))
      local f = time.parse("2006-01-02 MST", "2024-07-01 UTC", berlin)
      return { tostring(a), tostring(b), tostring(c), c:location():string(), tostring(d), tostring(e), tostring(f) }""")
    assert found == [
        "2024-07-01 12:00:00 +0200 CEST", "2024-07-01 12:00:00 +0200 CEST", "2024-07-01 12:00:00 +0200 CEST",
        "Europe/Berlin", "2024-07-01 12:00:00 +0300 +0300", "2024-07-01 00:00:00 +0001 F",
        "2024-07-01 00:00:00 +0000 UTC",
    ]  # fmt: skip


_LAYOUT = "Mon 2006-01-02T15:04:05.000000000 -07:00:00"


@given(
    st.integers(-62_167_219_200 + 86_400, 253_402_300_799 - 86_400),
    st.integers(0, 999_999_999),
    st.integers(-86_000, 86_000),
)
def test_what_is_formatted_is_parsed(second: int, nanosecond: int, offset: int) -> None:
    text = format_time(_LAYOUT, second, nanosecond, offset=offset, abbreviation="")
    found = parse_time(_LAYOUT, text, default=UTC, local=UTC)
    assert (found.second, found.nanosecond) == (second, nanosecond)
