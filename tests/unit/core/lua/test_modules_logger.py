"""The Lua module logger, which functions have and workflows have not; and print."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.core.machine import Mode
from tests.support.lua import LuaFailure, RecordingHost, run_lua


def lines(source: str) -> list[tuple[str, str, dict[str, Any]]]:
    host = RecordingHost()
    run_lua(source, modules=("logger",), mode=Mode.FUNCTION, host=host)
    return host.lines


def test_levels_message_pid_and_place() -> None:
    found = lines("\nlogger:debug('a')\nlogger:info('b')\nlogger:warn('c')\nlogger:error('d')")
    assert found == [
        (level, text, {"pid": "{n@h|1}", "location": f"main.lua:{line}"})
        for line, (level, text) in enumerate([("debug", "a"), ("info", "b"), ("warn", "c"), ("error", "d")], start=2)
    ]


def test_fields() -> None:
    ((_, _, fields),) = lines("""logger:info("m", { a = 1, b = 2.5, c = true, d = "text", e = { 1, { x = "y" } },
      f = print, error = errors.wrap(errors.new("boom"), "while"), 7, [8] = 9, g = { 1, nil, 3 } })""")
    del fields["pid"], fields["location"]
    assert fields.pop("g").startswith("!(cannot encode sparse array")
    assert str(fields.pop("f")).startswith("function")
    assert fields == {"a": 1, "b": 2.5, "c": True, "d": "text", "e": '[1,{"x":"y"}]', "error": "while: boom"}


def test_with_and_named_make_new_loggers() -> None:
    found = lines("""local one = logger:with({ a = 1 }) local two = one:named("n"):with({ a = 2, b = 3 }):named("m")
      one:info("one", { c = 1 }) two:info("two") logger:info("three")""")
    shown = [{key: value for key, value in fields.items() if key not in ("pid", "location")} for _, _, fields in found]
    assert shown == [{"a": 1, "c": 1}, {"a": 2, "b": 3, "logger": "n.m"}, {}]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("logger:named('')", "name cannot be empty"),
        ("logger:named()", "bad argument #1 to 'named'"),
        ("logger.info('x')", "called with a colon"),
        ("logger:info()", "bad argument #1 to 'info'"),
        ("logger:info('x', 'y')", "bad argument #2 to 'info'"),
        ("logger:with(5)", "bad argument #1 to 'with'"),
    ],
)
def test_wrong_calls_raise(source: str, words: str) -> None:
    with pytest.raises(LuaFailure, match=words):
        lines(source)


def test_long_messages_are_cut() -> None:
    ((_, text, _),) = lines("logger:info(('x'):rep(100000))")
    assert len(text) == 65_539


def test_print_logs_its_arguments_joined_by_a_space() -> None:
    assert lines("print('a', 1, nil, true, 2.5) print()") == [("info", "a 1 nil true 2.5", {}), ("info", "", {})]
