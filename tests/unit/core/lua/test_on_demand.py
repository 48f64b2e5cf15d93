# ruff: noqa: E501 - Lua sources read better on one line
"""Parts of the library are loaded when they are first used, and nobody can tell."""

from __future__ import annotations

from itertools import pairwise

import pytest

from orchestration.core.lua.state import prelude_code
from orchestration.errors import StepLimitError
from orchestration.types import Limits
from tests.support.lua_worlds import World, run

FUNCTIONS = {
    "string": "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper",
    "table": "concat insert move pack remove sort unpack",
    "coroutine": "close create isyieldable resume running status wrap yield",
    "math": "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max maxinteger min mininteger mod modf pi pow rad random randomseed sin sinh sqrt tan tanh tointeger type ult",
    "os": "clock date difftime platform time",
    "utf8": "char charpattern codepoint codes len offset",
    "package": "config cpath loadlib path",
}


@pytest.mark.parametrize("library", FUNCTIONS)
@pytest.mark.parametrize(
    "walk",
    [
        "for k in pairs({}) do list[#list + 1] = k end",
        "local k = next({}) while k do list[#list + 1] = k k = next({}, k) end",
    ],
)
def test_a_walk_finds_every_function_of_a_library(library: str, walk: str) -> None:
    source = f"local list = {{}} {walk.replace('{}', library).replace('list = ' + library, 'list = {}')} return table.concat(list, ' ')"
    assert run(source) == FUNCTIONS[library]


@pytest.mark.parametrize("library", FUNCTIONS)
def test_every_function_is_found_by_its_name_alone(library: str) -> None:
    for name in FUNCTIONS[library].split():
        assert run(f"return {library}.{name} == nil, {library}.{name} == {library}.{name}") == (False, True), name
        assert run(f"return rawget({library}, '{name}') == {library}.{name}") is True, name


GLOBALS = (
    "_G _VERSION assert coroutine error getmetatable ipairs math next os package pairs pcall print rawequal rawget rawset "
    "require select setmetatable string table tonumber tostring type unpack utf8 xpcall"
)


@pytest.mark.parametrize(
    "walk",
    [
        "for k in pairs(_G) do list[#list + 1] = k end",
        "local k = next(_G) while k do list[#list + 1] = k k = next(_G, k) end",
    ],
)
def test_a_walk_finds_every_global(walk: str) -> None:
    assert run(f"local list = {{}} {walk} return table.concat(list, ' ')") == GLOBALS


@pytest.mark.parametrize("name", GLOBALS.split())
def test_a_global_can_be_taken_away_before_it_was_used(name: str) -> None:
    assert run(f"{name} = nil return {name} == nil") is True
    assert run(f"{name} = 1 {name} = nil return {name} == nil") is True
    assert run(f"rawset(_G, '{name}', nil) return {name} == nil") is True


def test_what_was_loaded_stays_the_same() -> None:
    assert run(
        "local f, g = string.format, print for _ in pairs(string) do end for _ in pairs(_G) do end return f == string.format, g == print"
    ) == (True, True)


def test_loading_costs_the_code_no_instructions() -> None:
    """A replay, or a query asked in between, may load a file at another moment than the first run did."""
    source = "local n = 0 for i = 1, 2000 do n = n + i end return n"
    budgets = []
    for first in ("", "local _ = string.format, string.find, table.sort, coroutine.wrap, next, print, os.date "):
        low, high = 1000, 200_000
        while high - low > 500:
            middle = (low + high) // 2
            world = World(Limits(memory_bytes=2**24, instructions=middle))
            try:
                world.run(first + source)
                high = middle
            except StepLimitError:
                low = middle
        budgets.append(high)
    assert all(abs(a - b) <= 2000 for a, b in pairwise(budgets)), budgets


def test_a_world_starts_small() -> None:
    """What every world loads at once; the rest waits for its first use."""
    assert (
        sum(len(prelude_code(name)) for name in ("base", "sandbox_order", "sandbox_coroutine", "sandbox_env")) < 20_000
    )
