"""Endless loops, endless memory, endless depth: each ends with its own error, soon, and the process goes on."""

# ruff: noqa: E501 - one script to a line
from __future__ import annotations

import time

import pytest

from orchestration.errors import MemoryLimitError, StepLimitError
from orchestration.types import Limits
from tests.support.lua_worlds import SMALL, World, run

SECONDS = 20.0

STEPS = {
    "plain loop": "while true do end",
    "goto": "::again:: goto again",
    "repeat": "repeat until false",
    "numeric for": "for i = 1, math.maxinteger do end",
    "loop inside pcall": "pcall(function() while true do end end)",
    "loop of pcalls": "while true do pcall(function() while true do end end) end",
    "pcall of an endless function in a loop": "local function f() while true do end end while true do pcall(f) end",
    "loop of xpcalls": "while true do xpcall(function() while true do end end, function() return 1 end) end",
    "handler that loops": "xpcall(error, function() while true do end end)",
    "handler of a spent budget": "xpcall(function() while true do end end, function() while true do end end)",
    "coroutine.wrap": "local f = coroutine.wrap(function() while true do end end) f()",
    "coroutine.wrap in a loop": "while true do pcall(coroutine.wrap(function() while true do end end)) end",
    "coroutine.resume in a loop": "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "many short coroutines": "while true do coroutine.wrap(function() for i = 1, 900 do end end)() end",
    "generator": "local g = coroutine.wrap(function() while true do coroutine.yield() end end) while true do g() end",
    "__index": "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
    "__close": "do local x <close> = setmetatable({}, {__close = function() while true do end end}) end",
    "__close after the limit": """
        local x <close> = setmetatable({}, {__close = function() while true do end end})
        local y <close> = setmetatable({}, {__close = function() while true do pcall(error) end end})
        while true do end""",
    "__close of a coroutine that was spent": """
        local co = coroutine.create(function()
          local x <close> = setmetatable({}, {__close = function() while true do end end})
          while true do end
        end)
        coroutine.resume(co) coroutine.close(co)""",
    "__close run by coroutine.close": """
        local co = coroutine.create(function()
          local x <close> = setmetatable({}, {__close = function() while true do end end})
          coroutine.yield()
        end)
        coroutine.resume(co) pcall(coroutine.close, co)""",
    "__tostring": "tostring(setmetatable({}, {__tostring = function() while true do end end}))",
    "__concat": "local t = setmetatable({}, {__concat = function() while true do end end}) return t .. t",
    "__pairs": "pairs(setmetatable({}, {__pairs = function() while true do end end}))",
    "__lt in sort": "local m = {__lt = function() while true do end end} table.sort({setmetatable({}, m), setmetatable({}, m)})",
    "comparator": "table.sort({3, 2, 1}, function() while true do end end)",
    "gsub callback": "('x'):gsub('x', function() while true do end end)",
    "gsub table": "('x'):gsub('x', setmetatable({}, {__index = function() while true do end end}))",
    "endless iterator": "for x in function() return 1 end do end",
    "string.rep in a loop": "local s while true do s = ('x'):rep(1000000) end",
    "string.rep of much": "return ('x'):rep(1e9)",
    "string.rep with a long separator": "return (''):rep(1e9, 'x')",
    "deep backtracking": "return ('a'):rep(40):find(('a-'):rep(25) .. 'b')",
    "backtracking on a long subject": "return ('a'):rep(2000):find('a-a-a-b')",
    "backtracking with *": "return ('a'):rep(40):find(('a*'):rep(25) .. 'b')",
    "backtracking with ?": "return ('a'):rep(60):find(('a?'):rep(60) .. ('a'):rep(60) .. 'b')",
    "match": "return ('a'):rep(3000):match('.-.-.-b')",
    "gmatch": "for x in ('a'):rep(3000):gmatch('.-.-.-b') do end",
    "gsub": "return ('a'):rep(3000):gsub('.-.-.-b', '')",
    "quadratic find in a loop": "local s = ('a'):rep(4000) while true do s:find('a-b') end",
    "nested balance": "return ('('):rep(20000):find('%b().-%b()x')",
    "plain find, quadratic": "local s, p = ('a'):rep(1000000), ('a'):rep(500000) .. 'b' return s:find(p, 1, true)",
    "table.move": "table.move({}, 1, 1e12, 2)",
    "table.move backwards": "table.move({}, 1, math.maxinteger - 1, 1, {})",
    "table.move after other work": "for i = 1, 3000 do end table.move({}, 1, math.maxinteger - 1, 2)",  # the sum wraps
    "table.insert, lying length": "table.insert(setmetatable({}, {__len = function() return 1 << 40 end}), 1, 1)",
    "table.remove, lying length": "table.remove(setmetatable({}, {__len = function() return 1 << 40 end}), 1)",
    "table.unpack in a loop": "local t = {} while true do pcall(table.unpack, t, 1, 100000) end",
    "string.byte in a loop": "local s = ('x'):rep(100000) while true do local _ = s:byte(1, 100000) end",
    "long strings compared": "local a, b = ('x'):rep(1000000) .. 'a', ('x'):rep(1000000) .. 'b' while true do local _ = a == b end",
    "long strings joined": "local s = ('x'):rep(1000000) while true do local _ = s .. 'x' end",
    "pairs in a loop": "local t = {} for i = 1, 1000 do t['k' .. i] = i end while true do for k in pairs(t) do end end",
    "next in a loop": "local t = {a = 1, b = 2} while true do next(t) end",
    "tostring in a loop": "while true do tostring({}) end",
    "format": "local f = ('%99d'):rep(50) while true do pcall(string.format, f) end",
    "date": "while true do os.date('%c') end",
}


@pytest.mark.parametrize("name", STEPS)
def test_what_never_ends_spends_its_instructions(name: str) -> None:
    start = time.process_time()
    with pytest.raises(StepLimitError, match="20000000 instructions"):
        run(STEPS[name])
    assert time.process_time() - start < SECONDS


LYING = {
    "table.move with metamethods": "table.move(setmetatable({}, {__index = function() return 1 end}), 1, 1e12, 2)",
    "table.concat": "table.concat(setmetatable({}, {__index = function() return '' end}), '', 1, 1e12)",
    "table.concat, lying length": "table.concat(setmetatable({}, {__len = function() return 1e12 // 1 | 0 end, __index = function() return '' end}))",
    "table.sort, lying length": """
        table.sort(setmetatable({}, {__len = function() return 1 << 30 end, __index = function(_, i) return 1 end}))""",
}


@pytest.mark.parametrize("name", LYING)
def test_what_lies_about_its_length_reaches_a_limit(name: str) -> None:
    start = time.process_time()
    with pytest.raises((StepLimitError, MemoryLimitError)):
        run(LYING[name])
    assert time.process_time() - start < SECONDS


MEMORY = {
    "table": "local t = {} while true do t[#t + 1] = {} end",
    "table in pcall": "local t = {} while true do pcall(function() t[#t + 1] = {} end) end",
    "one string": "local s = ('x'):rep(1000) while true do s = s .. s end",
    "one string in pcall": "local s = ('x'):rep(1000) while true do pcall(function() s = s .. s end) end",
    "xpcall": "local s = ('x'):rep(1000) while true do xpcall(function() s = s .. s end, function(e) return e end) end",
    "caught by resume": """
        local s = ('x'):rep(1000)
        while true do coroutine.resume(coroutine.create(function() s = s .. s end)) end""",
    "string.rep": "return ('x'):rep(50000000)",
    "table.concat": "local t = {} for i = 1, 100 do t[i] = ('x'):rep(1000000) end return table.concat(t)",
    "gsub": "return ('x'):rep(1000):gsub('x', ('y'):rep(100000))",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
    "closures": "local t = {} while true do t[#t + 1] = function() return t end end",
    "format": "local s = ('x'):rep(2000000) return string.format('%s%s%s%s%s%s%s%s', s, s, s, s, s, s, s, s)",
}


@pytest.mark.parametrize("name", MEMORY)
def test_what_always_allocates_reaches_the_memory_limit(name: str) -> None:
    start = time.process_time()
    with pytest.raises(MemoryLimitError, match="16777216 bytes"):
        run(MEMORY[name], limits=Limits(memory_bytes=SMALL.memory_bytes, instructions=1_000_000_000))
    assert time.process_time() - start < SECONDS


RECURSION = {
    "function": "local function f() return 1 + f() end f()",
    "__index function": "local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k .. 'x'] end return t.x",
    "__index chain": "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
    "__tostring": "local t t = setmetatable({}, {__tostring = function() return tostring(t) end}) return tostring(t)",
    "__concat": "local t t = setmetatable({}, {__concat = function() return t .. t end}) return t .. t",
    "__eq": "local m = {} m.__eq = function(a, b) return a == b end return setmetatable({}, m) == setmetatable({}, m)",
    "__call": "local t = setmetatable({}, {}) getmetatable(t).__call = function(s) return 1 + s() end return t()",
    "__newindex chain": "local t = setmetatable({}, {}) getmetatable(t).__newindex = t t.x = 1",
    "__close": """
        local function f() local x <close> = setmetatable({}, {__close = function() f() end}) end f()""",
    "pcall": "local function f() local ok, e = pcall(f) if not ok then error(e, 0) end end f()",
    "gsub": "local function f() return ('x'):gsub('x', f) end f()",
    "sort": "local function f() table.sort({2, 1}, f) end f()",
    "sort with C": "local m = {} m.__lt = function(a, b) table.sort({a, b}) end table.sort({setmetatable({}, m), setmetatable({}, m)})",
    "coroutines": "local function f() local ok, e = coroutine.resume(coroutine.create(f)) if not ok then error(e, 0) end end f()",
    "wrap": "local function f() coroutine.wrap(f)() end f()",
    "xpcall handler": "local function f(e) error('again') end local ok, e = xpcall(error, f) error(e, 0)",
    "string.format": "local t t = setmetatable({}, {__tostring = function() return ('%s'):format(t) end}) return tostring(t)",
    "pairs": "local t t = setmetatable({}, {__pairs = function() return pairs(t) end}) pairs(t)",
    "require": "local function f() require('nothing' .. #tostring(pcall(f))) end f()",
}


@pytest.mark.parametrize("name", RECURSION)
def test_endless_depth_is_an_error_that_code_may_catch(name: str) -> None:
    world = World(Limits(memory_bytes=64 * 1024 * 1024, instructions=50_000_000))
    source = f"local ok, err = pcall(function() {RECURSION[name]} end) return ok, tostring(err), 1 + 1"
    try:
        ok, text, after = world.run(source)
    except StepLimitError:
        assert name in {"xpcall handler", "pcall", "require", "__close"}, "only what goes on trying"
        return
    assert after == 2
    assert not ok
    assert any(
        part in text
        for part in (
            "overflow",
            "too long; possible loop",
            "error in error handling",
            "again",
            "not found",
            "stack error",
        )
    ), text


def test_the_worst_depth_with_little_memory() -> None:
    for name, source in RECURSION.items():
        try:
            run(f"pcall(function() {source} end)")
        except (MemoryLimitError, StepLimitError):
            continue
        assert name


def test_a_spent_world_stays_spent_and_others_do_not_notice() -> None:
    spent, other = World(), World()
    with pytest.raises(StepLimitError):
        spent.run("while true do end")
    with pytest.raises(StepLimitError):
        spent.run("return 1")
    assert other.run("return 1") == (1,)


def test_code_sees_nothing_of_the_limit() -> None:
    source = """
        local seen = ...
        local ok, err = pcall(function()
          local x <close> = setmetatable({}, {__close = function(_, e) seen(e) end})
          xpcall(function() while true do end end, function(e) seen(e) end)
        end)
        seen(err)"""
    seen: list[object] = []
    with pytest.raises(StepLimitError):
        run(source, seen.append)
    assert seen == []


def test_the_budget_is_for_one_step() -> None:
    world = World(Limits(instructions=1_000_000))
    for _ in range(5):
        world.run("for i = 1, 400000 do end")
    with pytest.raises(StepLimitError):
        world.run("for i = 1, 1200000 do end")


def test_work_that_is_done_ends_with_its_result() -> None:
    source = """
        local t = {}
        for i = 1, 20000 do t[i] = (i * 7919) % 20011 end
        table.sort(t, function(a, b) return a > b end)
        local parts = {}
        for i = 1, 1000 do parts[i] = string.format("%d", t[i]) end
        return #table.concat(parts, ","), t[1], t[20000]"""
    assert run(source) == (5999, 20010, 1)
