"""The Lua module text: regular expressions. The expected results are those of Go's regexp package."""

from __future__ import annotations

import time
from typing import Any

import pytest

from orchestration.core.lua.host import HostError
from orchestration.core.lua.hostlib.regexp import Pattern, Scan
from orchestration.errors import StepLimitError
from orchestration.types import Limits
from tests.support.lua import LuaFailure, run_in_both_modes


def lua(source: str, *args: Any, **options: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("text",), **options)


def call(method: str, pattern: str, *args: Any) -> Any:
    return lua(
        f"local pattern, a, b = ... local v, err = assert(text.regexp.compile(pattern)):{method}(a, b)"
        " assert(err == nil) return v",
        pattern,
        *args,
    )


@pytest.mark.parametrize(
    ("method", "pattern", "args", "expected"),
    [
        ("match_string", "^a+$", ("aaa",), True),
        ("match_string", "^a+$", ("aab",), False),
        ("match_string", "", ("",), True),
        ("match_string", r"\pL", ("ñ",), True),
        ("match_string", "(?i)ABC", ("xabcx",), True),
        ("find_string", "a+b", ("xaab",), "aab"),
        ("find_string", "a|ab", ("ab",), "a"),
        ("find_string", "z", ("xaab",), None),
        ("find_string", "z*", ("xaab",), ""),
        ("find_all_string", "a.", ("ab ac ad",), ["ab", "ac", "ad"]),
        ("find_all_string", "z", ("ab",), []),
        ("find_all_string", "a*", ("baaac",), ["", "aaa", ""]),
        ("find_all_string", "", ("añb",), ["", "", "", ""]),
        ("find_all_string", "^a", ("aaa",), ["a"]),
        ("find_string_submatch", r"(\w+)@(\w+)(\.\w+)?", ("to ada@home now",), ["ada@home", "ada", "home", ""]),
        ("find_string_submatch", "a", ("b",), None),
        ("find_all_string_submatch", "(.)=(.)", ("a=1,b=2",), [["a=1", "a", "1"], ["b=2", "b", "2"]]),
        ("find_string_index", "b+", ("abbc",), [2, 3]),
        ("find_string_index", "z", ("abbc",), None),
        ("find_all_string_index", "b", ("abbc",), [[2, 2], [3, 3]]),
        ("find_all_string_index", "ñ", ("añoñ",), [[2, 3], [5, 6]]),
        ("replace_all_string", "(a)(b)?", ("ab-a", "<$1$2>"), "<ab>-<a>"),
        ("replace_all_string", "(?P<n>a)", ("a", "${n}x$nx$$"), "ax$"),
        ("replace_all_string", "a*", ("baaac", "x"), "xbxcx"),
        ("replace_all_string", "", ("añ", "-"), "-a-ñ-"),
        ("replace_all_string", "z", ("abc", "$1"), "abc"),
        ("replace_all_string", "b", ("abc", "$9${bad}$-"), "a$-c"),
        ("split", ",", ("a,b,,c",), ["a", "b", "", "c"]),
        ("split", ",", ("a,b,c", 2), ["a", "b,c"]),
        ("split", ",", ("a,b", 0), []),
        ("split", ",", ("",), [""]),
        ("split", "", ("abc",), ["a", "b", "c"]),
        ("split", "a*", ("abaabaccadaaae", 5), ["", "b", "b", "c", "cadaaae"]),
        ("split", "z+", ("pizza", -1), ["pi", "a"]),
    ],
)
def test_methods(method: str, pattern: str, args: tuple[Any, ...], expected: Any) -> None:
    assert call(method, pattern, *args) == expected


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    assert call("split", ",", b"\xff,\xfe") == [b"\xff", b"\xfe"]


def test_about_the_pattern() -> None:
    found = lua("""local re = text.regexp.compile("(a)(?P<year>b)(?:c)")
      return { re:num_subexp(), re:subexp_names(), re:string(), tostring(re), type(re) }""")
    assert found == [2, ["", "", "year"], "(a)(?P<year>b)(?:c)", "(a)(?P<year>b)(?:c)", "userdata"]


@pytest.mark.parametrize("pattern", ["(", "a**", "(?=a)", r"\1", "[z-a]", "x{1001}", "(?P<n>a)(?P<n>b)", "a" * 9000, 5])
def test_bad_patterns_are_invalid(pattern: Any) -> None:
    assert lua("local v, err = text.regexp.compile(...) return { v == nil, err:kind() }", pattern) == [True, "Invalid"]


@pytest.mark.parametrize(
    "code", ["re:match_string(1)", "re.match_string('x', 'y')", "re:replace_all_string('a')", "re:split('a', {})"]
)
def test_wrong_arguments_raise(code: str) -> None:
    with pytest.raises(LuaFailure, match="bad argument"):
        lua(f"local re = text.regexp.compile('a') {code}")


def test_no_pattern_backtracks() -> None:
    began = time.monotonic()
    assert call("match_string", "(a*)*(a*)*(a|aa)+$", "a" * 200_000 + "b") is False
    assert time.monotonic() - began < 2


def test_finding_all_is_bounded() -> None:
    """Each search runs to the end before it settles for one character: quadratic, so it is counted."""
    began = time.monotonic()
    with pytest.raises(HostError, match="too many matches"):
        Scan(Pattern(b"a.*b|a"), b"a" * 1_000_000).texts()
    with pytest.raises(HostError, match="too large"):
        Pattern(b"a").first(b"a" * 2_000_000)
    with pytest.raises(HostError, match="too complex"):
        Pattern(rb"(\pL{5}\pN{5}){9}").first(b"a" * 1_000_000)
    with pytest.raises(HostError, match="larger than"):
        Scan(Pattern(b"a"), b"a" * 10_000).replace(b"x" * 1_000)
    assert time.monotonic() - began < 40, "seconds; without bounds it would be hours"


def test_repeated_scans_use_up_the_budget() -> None:
    with pytest.raises(StepLimitError):
        lua(
            "local re = text.regexp.compile('a.*b|a') local s = ('a'):rep(9999)"
            " while true do re:find_all_string(s) end",
            limits=Limits(instructions=30_000_000),
        )
