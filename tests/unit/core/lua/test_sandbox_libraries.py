# ruff: noqa: E501 - one script to a line
"""The base functions and libraries of the sandbox do what Lua's do, where they are not meant to differ."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lua_worlds import World, run

CLASS = b"""
local rt = ...
local new = rt.class("Point", { x = function(p) return rt.state(p, "Point").x end }, {
  tostring = function(p) return "point " .. rt.state(p, "Point").x end,
  concat = function(a, b) return rt.tostring(a) .. rt.tostring(b) end,
  eq = function(a, b) return rt.state(a, "Point").x == rt.state(b, "Point").x end,
})
local plain = rt.class("Plain", {})
return function(x) return new({ x = x }) end, function() return plain({}) end
"""


@pytest.fixture
def world() -> World:
    world = World()
    point, plain = world.lua.call(world.lua.rt[b"raw"][b"load"](CLASS, b"=class", b"t"), world.lua.rt)
    world.env[b"point"], world.env[b"plain"] = point, plain
    return world


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return type(point(1)), point(1):x(), point(1).y", ("userdata", 1, None)),
        ("return tostring(point(3)), tostring(plain()), ('%s'):format(point(4))", ("point 3", "Plain: 0x00000001", "point 4")),
        ("return 'a ' .. point(1), point(2) .. ' b', point(1) .. point(2)", ("a point 1", "point 2 b", "point 1point 2")),
        ("return point(1) == point(1), point(1) == point(2), plain() == plain(), rawequal(point(1), point(1))", (True, False, False, False)),
        ("local p = plain() return p == p, ({[p] = 5})[p]", (True, 5)),
        ("return getmetatable(point(1))", (False,)),
        ("return string.find(point(7), '7'), #string.upper(point(7)), string.rep(point(1), 2, point(2))", (7, 7, "point 1point 2point 1")),
        ("return (('x-y'):gsub('-', point(1)))", ("xpoint 1y",)),
        ("return select(2, pcall(table.concat, {point(1)}))", ("invalid value (table) at index 1 in table for 'concat'",)),
        ("return tonumber(point(1))", (None,)),
    ],
)  # fmt: skip
def test_opaque_objects(world: World, source: str, expected: tuple[Any, ...]) -> None:
    assert world.run(source) == expected


@pytest.mark.parametrize(
    "call",
    ["rawget(point(1), 'x')", "rawset(point(1), 'x', 1)", "pairs(point(1))", "next(point(1))", "ipairs(point(1))", "return #point(1)",
     "point(1).x = 2", "setmetatable(point(1), {})", "unpack(point(1))", "table.insert(point(1), 1)", "table.sort(point(1))",
     "table.concat(point(1))", "table.remove(point(1))", "table.move(point(1), 1, 2, 3)", "table.unpack(point(1))", "point(1)()",
     "return point(1) < point(2)", "return -point(1)", "return point(1) + 1", "for k in pairs(point(1)) do end", "('%d'):format(point(1))",
     "return plain() .. 'x'"],
)  # fmt: skip
def test_opaque_objects_are_no_tables(world: World, call: str) -> None:
    ok, text = world.run(f"local ok, err = pcall(function() {call} end) return ok, tostring(err)", name="t.lua")
    assert not ok
    assert text.startswith("t.lua:1: ") or "protected" in text or "Point" in text or "Plain" in text, text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("local t = {1, 2, 3} table.insert(t, 4) table.insert(t, 1, 0) return table.concat(t, ',')", "0,1,2,3,4"),
        ("local t = {1, 2, 3} return table.remove(t), table.remove(t, 1), #t, table.remove({}), table.remove(t, 2)", (3, 1, 1, None, None)),
        ("return select(2, pcall(table.insert, {}, 5, 1))", "test.lua:1: bad argument #2 to 'insert' (position out of bounds)"),
        ("return select(2, pcall(table.insert, {}, 1, 1, 1))", "wrong number of arguments to 'insert'"),
        ("return select(2, pcall(table.insert, nil, 1))", "test.lua:1: bad argument #1 to 'insert' (table expected, got no value)"),
        ("return select(2, pcall(table.insert, {}, 'x', 1))", "test.lua:1: bad argument #2 to 'insert' (number expected, got string)"),
        ("return select(2, pcall(table.remove, {1, 2}, 7))", "test.lua:1: bad argument #2 to 'remove' (position out of bounds)"),
        ("return table.concat(table.move({1, 2, 3}, 1, 3, 2), ',')", "1,1,2,3"),
        ("return table.concat(table.move({1, 2, 3}, 2, 3, 1), ',')", "2,3,3"),
        ("return table.concat(table.move(setmetatable({1, 2, 3}, {}), 1, 3, 2), ',')", "1,1,2,3"),
        ("return table.concat(table.move({1, 2}, 1, 2, 1, {9, 9, 9}), ',')", "1,2,9"),
        ("return select(2, pcall(table.move, {}, 0, math.maxinteger, 1))", "test.lua:1: bad argument #3 to 'move' (too many elements to move)"),
        ("return table.unpack({1, nil, 3}, 1, 3)", (1, None, 3)),
        ("return table.unpack({1, 2, 3}, 2), unpack({4, 5})", (2, 4, 5)),
        ("return table.unpack({1, 2, 3}, '2', 3.0)", (2, 3)),
        ("return select(2, pcall(table.unpack, {}, 1, 1e7))", "too many results to unpack"),
        ("return select(2, pcall(table.concat, {1, {}, 3}))", "invalid value (table) at index 2 in table for 'concat'"),
        ("return table.concat({1, 2, 3}, ', ', 2, 3), table.concat({}), table.concat({1}, nil)", ("2, 3", "", "1")),
        ("return table.concat(setmetatable({}, {__index = function(_, i) return 'v' .. i end, __len = function() return 3 end}), ' ')", "v1 v2 v3"),
        ("local t = table.pack(1, nil) return t.n", 2),
        ("local t = {5, 2, 8} table.sort(t) return table.concat(t, ' ')", "2 5 8"),
        ("local t = {'b', 'a', 'B'} table.sort(t, function(a, b) return a:lower() < b:lower() end) return table.concat(t)", "abB"),
        ("local t = {3, 'x'} return select(2, pcall(table.sort, t))", "attempt to compare string with number"),
        ("return select(2, pcall(table.sort, {1}, 1))", "test.lua:1: bad argument #2 to 'sort' (function expected, got number)"),
        ("local m = {__lt = function(a, b) return a.v < b.v end} local t = {} for i = 1, 20 do t[i] = setmetatable({v = 21 - i}, m) end table.sort(t) return t[1].v, t[20].v", (1, 20)),
        ("return ('%5.1f|%-4d|%q|%s|%%|%c|%x|%i'):format(1.25, 3, 'a\\nb', nil, 65, 255, 3.0)", '  1.2|3   |"a\\\nb"|nil|%|A|ff|3'),
        ("return ('%s %s'):format(setmetatable({}, {__tostring = function() return 'me' end}), true)", "me true"),
        ("return ('%10.2s|'):format('abc')", "        ab|"),
        ("return ('%s'):format(setmetatable({}, {__name = 'Mine'}))", "Mine: 0x00000001"),
        ("return select(2, pcall(string.format, '%y', 1))", "invalid conversion '%y' to 'format'"),
        ("return select(2, pcall(string.format, '%d', 1.5))", "bad argument #2 to 'format' (number has no integer representation)"),
        ("return select(2, pcall(string.format, '%s'))", "bad argument #2 to 'format' (no value)"),
        ("return ('abc'):sub(2), ('abc'):sub(-2, -2), ('abc'):byte(-1), ('abc'):upper(), ('abc'):rep(2, '-'), ('abc'):reverse(), #('abc')", ("bc", "b", 99, "ABC", "abc-abc", "cba", 3)),
        ("return string.rep('x', 0), string.rep('x', -1), string.rep('', 1e9), string.rep('ab', '2')", ("", "", "", "abab")),
        ("return ('abc'):byte(1, -1)", (97, 98, 99)),
        ("return string.char(72, 105), string.len(12), string.lower('Ä')", ("Hi", 2, "Ä")),
        ("return select(2, pcall(string.char, 256))", "bad argument #1 to 'char' (value out of range)"),
        ("return string.unpack('<i4', string.pack('<i4', 7))", (7, 5)),
        ("return math.pow(2, 3), math.log10(100), math.mod(7, 3), math.ldexp(0.5, 3), math.frexp(8)", (8.0, 2.0, 1, 4.0, 0.5, 4)),
        ("return math.atan2(1, 1) == math.atan(1, 1), math.cosh(0), math.sinh(0), math.tanh(100), math.tanh(-100)", (True, 1.0, 0.0, 1.0, -1.0)),
        ("return os.time(), os.platform, os.clock(), os.difftime(5, 3), os.date('!%Y-%m-%d', 0)", (0, "wippy", 0.0, 2.0, "1970-01-01")),
        ("return os.time({year = 2024, month = 2, day = 30, hour = 0}), os.date('!*t', 86400).wday", (1709251200, 6)),
        ("return select('#', nil, nil), select(-1, 1, 2), select(2, 'a', 'b')", (2, 2, "b")),
        ("return tonumber('0x10'), tonumber('z', 36), tonumber('1e1'), tonumber(''), tonumber('10', 2)", (16, 35, 10.0, None, 2)),
        ("return rawequal('a', 'a'), rawget({5}, 1), rawget(setmetatable({}, {__index = {x = 1}}), 'x')", (True, 5, None)),
        ("return utf8.char(241, 8364), utf8.len('ñ€'), utf8.codepoint('ñ')", ("ñ€", 2, 241)),
        ("return getmetatable(setmetatable({}, {__metatable = 'locked'}))", "locked"),
        ("return select(2, pcall(setmetatable, setmetatable({}, {__metatable = 1}), {}))", "cannot change a protected metatable"),
        ("return select(2, pcall(setmetatable, {}, 1))", "test.lua:1: bad argument #2 to 'setmetatable' (nil or table expected, got number)"),
        ("return select(2, pcall(tostring, setmetatable({}, {__tostring = function() return {} end})))", "'__tostring' must return a string"),
        ("return require('string') == string, require('math').pi > 3, select(2, pcall(require, 'json'))", (True, True, "module 'json' not found")),
        ("thing = 5 return require('thing'), _G.thing, undefined", (5, 5, None)),
        ("return string('text'), pcall(string, nil)", ("text", False, "expected string, got nil")),
        ("return _VERSION, package.path, 1 // 1, 7 // 2.0, 3 | 4, '10' + 5", ("Lua 5.4", "", 1, 3.0, 7, 15)),
        ("local s = 0 for i, v in ipairs(setmetatable({}, {__index = function(_, i) if i < 4 then return i end end})) do s = s + v end return s", 6),
        ("return select(2, pcall(error)), select(2, pcall(error, {1}))[1], select(2, pcall(error, 'x', 0)), select(2, pcall(error, 'x', 2))", (None, 1, "x", "x")),
        ("return xpcall(function(...) return select('#', ...) end, print, 1, nil, 3)", (True, 3)),
        ("return xpcall(error, function(e) return e .. '!' end, 'x', 0)", (False, "x!")),
        ("return select(2, pcall(xpcall, error))", "test.lua:1: bad argument #2 to 'xpcall' (function expected, got no value)"),
    ],
)  # fmt: skip
def test_libraries(source: str, expected: Any) -> None:
    assert run(source) == expected


def test_sorting_is_stable_and_right() -> None:
    source = """
        for n = 0, 70 do
          local t, copy = {}, {}
          for i = 1, n do t[i] = {k = (i * 7) % 5, i = i} end
          table.sort(t, function(a, b) return a.k < b.k end)
          for i = 2, n do
            local a, b = t[i - 1], t[i]
            assert(a.k < b.k or a.k == b.k and a.i < b.i)
          end
          assert(#t == n)
        end
        return true"""
    assert run(source) is True


COROUTINES = [
    ("local f = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) return f(1), f(5)", (2, 10)),
    ("local co = coroutine.create(function() error({1}) end) local ok, e = coroutine.resume(co) return ok, e[1], coroutine.status(co)", (False, 1, "dead")),
    ("local co co = coroutine.create(function() return coroutine.status(co), coroutine.isyieldable() end) return coroutine.resume(co)", (True, "running", True)),
    ("return coroutine.isyieldable(), select(2, coroutine.running())", (False, True)),
    ("local co = coroutine.create(function() coroutine.yield() end) coroutine.resume(co) return coroutine.status(co), coroutine.close(co), coroutine.status(co)", ("suspended", True, "dead")),
    ("local f = coroutine.wrap(function() error('oops') end) return pcall(f)", (False, "test.lua:1: oops")),
    ("local f = coroutine.wrap(function() end) f() return pcall(f)", (False, "cannot resume dead coroutine")),
    ("return coroutine.resume(coroutine.create(function(...) return select('#', ...) end), nil, nil)", (True, 2)),
    ("local closed local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() closed = true end}) coroutine.yield() end) coroutine.resume(co) coroutine.close(co) return closed", True),
    ("local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() error('late', 0) end}) coroutine.yield() end) coroutine.resume(co) return coroutine.close(co)", (False, "late")),
    ("return select(2, pcall(coroutine.create, 1)), select(2, pcall(coroutine.resume, 1))", ("test.lua:1: bad argument #1 to 'create' (function expected, got number)", "test.lua:1: bad argument #1 to 'resume' (coroutine expected, got number)")),
    ("local t = {} for a, b in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i, i * i) end end) do t[#t + 1] = a .. '=' .. b end return table.concat(t, ' ')", "1=1 2=4 3=9"),
    ("local co = coroutine.wrap(function() return pcall(function() coroutine.yield(1) error('x', 0) end) end) return co(), co()", (1, False, "x")),
    ("local co = coroutine.create(function() return coroutine.resume(coroutine.running()) end) return coroutine.resume(co)", (True, False, "cannot resume non-suspended coroutine")),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), COROUTINES)
def test_coroutines(source: str, expected: Any) -> None:
    assert run(source) == expected


SCHEDULER = b"""
local rt = ...
local resume = rt.raw.coroutine.resume
-- runs `fn` as a task; whenever it waits, `answer` gives what it wakes with
return function(fn, answer)
  local task = rt.new_task(fn)
  local function step(ok, token, ...)
    if not ok then return "error", token end
    if token ~= rt.block_token then return "done", token, ... end
    return step(resume(task, answer(...)))
  end
  return step(resume(task))
end, rt.suspend
"""


@pytest.fixture
def tasks(world: World) -> World:
    run_task, suspend = world.lua.call(world.lua.rt[b"raw"][b"load"](SCHEDULER, b"=scheduler", b"t"), world.lua.rt)
    world.env[b"task"], world.env[b"wait"] = run_task, suspend
    return world


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return wait(1)", ("done", 2)),
        ("return coroutine.wrap(function() return wait(1) + wait(10) end)()", ("done", 13)),
        ("return coroutine.resume(coroutine.create(function() return wait(1) end))", ("done", True, 2)),
        ("local s = 0 for v in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(wait(i)) end end) do s = s + v end return s", ("done", 9)),
        ("return coroutine.wrap(function() return coroutine.wrap(function() return wait(5) end)() end)()", ("done", 6)),
        ("return pcall(function() return wait(1) end)", ("done", True, 2)),
        ("return xpcall(function() error(wait(1)) end, function(e) return e end)", ("done", False, 2)),
        ("return setmetatable({}, {__index = function(_, k) return wait(k) end})[4]", ("done", 5)),
        ("do local x <close> = setmetatable({}, {__close = function() wait(1) end}) end return 'closed'", ("done", "closed")),
        ("return pcall(function() table.sort({2, 1}, function(a, b) wait(1) return a < b end) end)", ("cannot wait inside table.sort",)),
        ("return pcall(function() return (('x'):gsub('x', function() return wait(1) end)) end)", ("cannot wait inside string.gsub",)),
        ("return pcall(function() return tostring(setmetatable({}, {__tostring = function() return wait(1) end})) end)", ("cannot wait inside __tostring",)),
        ("return pcall(function() table.sort({2, 1}, function() return coroutine.wrap(function() return wait(1) end)() end) end)", ("cannot wait inside table.sort",)),
        ("table.sort({2, 1}, function(a, b) local g = coroutine.wrap(function() coroutine.yield(a < b) end) return g() end) return wait(1)", ("done", 2)),
        ("pcall(table.sort, {2, 1}, function() error('x') end) return wait(1)", ("done", 2)),
        ("return pcall(coroutine.wrap(function() table.sort({2, 1}, function() coroutine.yield() end) end))", ("attempt to yield across table.sort",)),
        ("return select(2, pcall(coroutine.yield, 1))", ("done", "attempt to yield from outside a coroutine")),
    ],
)  # fmt: skip
def test_waiting_inside_coroutines_suspends_the_task(tasks: World, body: str, expected: tuple[Any, ...]) -> None:
    found = tasks.run(f"return task(function() {body} end, function(n) return n + 1 end)")
    if len(expected) == 1:
        assert found[1] is False
        assert expected[0] in found[2]
        return
    assert found == expected


def test_a_coroutine_that_waits_belongs_to_its_task(tasks: World) -> None:
    source = """
        local seen = {}
        local inner = coroutine.create(function() return wait("inner") end)
        local kind, ok, value = task(function() return coroutine.resume(inner) end, function(what)
          seen[#seen + 1] = what
          seen[#seen + 1] = coroutine.status(inner)
          seen[#seen + 1] = select(2, coroutine.resume(inner))
          seen[#seen + 1] = select(2, pcall(coroutine.close, inner))
          return "answer"
        end)
        return kind, ok, value, table.concat(seen, "; ")"""
    assert tasks.run(source) == (
        "done", True, "answer",
        "inner; normal; cannot resume non-suspended coroutine; cannot close a normal coroutine",
    )  # fmt: skip


def test_print_hands_its_line_over() -> None:
    world = World()
    lines: list[bytes] = []
    world.lua.rt[b"on_print"] = lines.append
    world.run("print('a', 1, nil, true, setmetatable({}, {__tostring = function() return 'me' end})) print()")
    assert lines == [b"a 1 nil true me", b""]
