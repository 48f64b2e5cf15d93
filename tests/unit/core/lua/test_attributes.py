"""What ``workflow.attrs`` takes, and what it refuses with an error that the author can read."""

from __future__ import annotations

import pytest

from orchestration.core import events
from tests.support.lua_runs import Run


def _answer(given: str) -> object:
    run = Run(f"return function() local ok, err = workflow.attrs{{ {given} }} return ok or err:message() end")
    run.start()
    return run.result


@pytest.mark.parametrize(
    "search",
    [
        "a = 'text'", "a = 1, b = 1.5, c = true, d = false", "a = {}", "a = { 'x', 'y', 'x' }", "a = ''",
        "a = ('x'):rep(1024)", "[('n'):rep(128)] = 1", "a = 1/0",
    ],
)  # fmt: skip
def test_search_attributes_that_are_taken(search: str) -> None:
    assert _answer(f"search = {{ {search} }}, memo = {{ note = {{ deep = {{ 1 }} }} }}") is True


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("search = { a = { b = 1 } }", "search 'a': a table is a list of texts"),
        ("search = { a = { 'x', nil, 'z' } }", "search 'a': a table is a list of texts"),
        ("search = { a = { 'x', 1 } }", "search 'a': a list has texts only, not number"),
        ("search = { a = print }", "search 'a': it is text, a number, a boolean or a list of texts, not function"),
        ("search = { a = 0/0 }", "search 'a': NaN cannot be searched for"),
        ("search = { a = ('x'):rep(1025) }", "search 'a': a text of 1025 bytes is too long, 1024 is the most"),
        ("search = { a = 'x\\0' }", "search 'a': it has a NUL character"),
        ("search = { a = '\\xff' }", "search 'a': it is not valid UTF-8"),
        ("search = { [''] = 1 }", "search '': its name is empty"),
        ("search = { 'x' }", "the names in search are text"),
        ("memo = { 'x' }", "the names in memo are text"),
        ("memo = { [''] = 1 }", "memo '': its name is empty"),
        ("search = { z = print, a = print, m = print }", "search 'a': it is text"),
        ("memo = { a = { [1.5] = 1 } }", "attributes cannot be carried: "),
    ],
)
def test_search_attributes_that_are_refused_are_named(given: str, message: str) -> None:
    answer = _answer(given)
    assert isinstance(answer, str)
    assert answer.startswith(message)


def test_a_refused_attribute_leaves_no_command() -> None:
    run = Run("return function() workflow.attrs{ search = { a = print } } workflow.attrs{ search = { a = 1 } } end")
    run.start()
    assert [type(command) for command in run.last] == [events.UpsertAttributes, events.Complete]
