"""The metered matcher gives what the C library gives: values, captures, errors."""

# ruff: noqa: E501 - one script to a line
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.lua_worlds import World

COMPARE = b"""
local rt = ...
local raw = rt.raw
local patterns = rt.require_prelude("patterns")
local string, pack, pcall, type, tostring = raw.string, raw.table.pack, raw.pcall, raw.type, raw.tostring

local function same(a, b)
  if a.n ~= b.n then return false end
  for i = 1, a.n do
    local x, y = a[i], b[i]
    if not a[1] and type(x) == "string" then x = string.gsub(x, "^compare:%d+: ", "") end
    if x ~= y then return false end
  end
  return true
end

local function show(r)
  local parts = {}
  for i = 1, r.n do parts[i] = tostring(r[i]) end
  return raw.table.concat(parts, "|")
end

local function all(iterate, s, p, init)
  local list, n = {}, 0
  for a, b, c in iterate(s, p, init) do
    n = n + 1
    list[n] = tostring(a) .. "," .. tostring(b) .. "," .. tostring(c)
  end
  return raw.table.concat(list, ";")
end

local function start(s, init)
  if init < 0 then init = #s + init + 1 end
  return init < 1 and 1 or init
end

return function(what, s, p, init, repl)
  local c, l
  if what == "find" or what == "match" then
    c = pack(pcall(string[what], s, p, init))
    if start(s, init) > #s + 1 then return true end
    l = pack(pcall(patterns.find, s, p, start(s, init), what == "match"))
    if what == "find" and not string.find(p, "[%^%$%*%+%?%.%(%[%%%-]") then return true end
  elseif what == "gmatch" then
    c = pack(pcall(all, string.gmatch, s, p, init))
    l = pack(pcall(all, patterns.gmatch, s, p, start(s, init)))
  else
    if repl == "function" then repl = function(a) if a == "a" then return "<" .. a .. ">" end end end
    if repl == "table" then repl = { a = "b", b = 7, ab = "" } end
    c = pack(pcall(string.gsub, s, p, repl, init < 0 and -init or init))
    l = pack(pcall(patterns.gsub, s, p, repl, init < 0 and -init or init))
  end
  if same(c, l) then return true end
  return false, show(c), show(l)
end
"""


@pytest.fixture(scope="module")
def compare() -> Any:
    world = World()
    chunk = world.lua.rt[b"raw"][b"load"](COMPARE, b"=compare", b"t")
    return world.lua, world.lua.call(chunk, world.lua.rt)[0]


SUBJECT = st.text(alphabet="aab01 ()[]%.\0_", max_size=14)
ITEM = st.sampled_from(
    ["a", "b", ".", "%a", "%d", "%s", "%w", "%W", "%p", "%.", "%%", "%(", "[ab]", "[^a]", "[a-z]", "[%w_]", "[]]", "[^]]",
     "[%]]", "[a-]", "[-a]", "[%a-z]", "(", ")", "()", "%1", "%2", "%0", "%b()", "%b[]", "%baa", "%f[%w]", "%f[^%w]", "%f",
     "$", "^", "[", "]", "%", "%b", "-", "*", "\0", "[^", "[%", "[a"]
)  # fmt: skip
QUANTIFIED = st.builds(lambda item, mark: item + mark, ITEM, st.sampled_from(["", "", "", "*", "+", "-", "?"]))
PATTERN = st.builds(
    lambda anchor, items: anchor + "".join(items), st.sampled_from(["", "", "^"]), st.lists(QUANTIFIED, max_size=7)
)
REPLACEMENT = st.sampled_from(["", "x", "%0", "%1", "%2", "<%0%1>", "%%", "%", "%a", "a%", "function", "table"])


@settings(max_examples=3000, deadline=None)
@given(
    what=st.sampled_from(["find", "match", "gmatch", "gsub"]),
    subject=SUBJECT, pattern=PATTERN, init=st.integers(-6, 8), replacement=REPLACEMENT,
)  # fmt: skip
@example(what="gsub", subject="hello world", pattern="(o)", init=9, replacement="%1%0")
@example(what="gsub", subject="abc", pattern="", init=9, replacement="-")
@example(what="gsub", subject="abc", pattern="b*", init=9, replacement="-")
@example(what="gmatch", subject="a,b,,c", pattern="([^,]*)", init=1, replacement="")
@example(what="find", subject="THE (quick) fox", pattern="%f[%a]%a+%f[%A]", init=1, replacement="")
@example(what="match", subject="a" * 300, pattern="a?" * 250, init=1, replacement="")
@example(what="match", subject="a" * 300, pattern="a*" * 150, init=1, replacement="")
@example(what="match", subject="a" * 300, pattern="()" * 33, init=1, replacement="")
@example(what="match", subject="x", pattern="a*" * 300, init=1, replacement="")
def test_same_as_the_c_library(
    compare: Any, what: str, subject: str, pattern: str, init: int, replacement: str
) -> None:
    lua, function = compare
    lua.reset_budget()
    same, *sides = lua.call(
        function, what.encode(), subject.encode("latin-1"), pattern.encode("latin-1"), init, replacement.encode()
    )
    assert same, sides


def test_large_subjects_take_the_metered_matcher_with_the_same_results() -> None:
    source = """
        local line = ("key = value, "):rep(2000)
        local n, last = 0
        for k, v in line:gmatch("(%w+) = (%w+)") do n = n + 1 last = k .. v end
        local padded = (" "):rep(3000) .. "middle  text" .. (" "):rep(3000)
        local a, b, c = line:find("(v%w-)e, k%w-y = v%w-e, $")
        local swapped, count = line:gsub("(%w+) = (%w+)", "%2=%1")
        return n, last, padded:match("^%s*(.-)%s*$"), a, b, c, swapped:sub(1, 22), count,
          select(2, line:gsub("k%w-y", string.upper))"""
    assert World().run(source) == (
        2000, "keyvalue", "middle  text", 25981, 26000, "valu", "value=key, value=key, ", 2000, 2000,
    )  # fmt: skip


def test_plain_search_in_linear_time() -> None:
    source = """
        local s = ("ab"):rep(300000) .. "c" .. ("ab"):rep(10)
        local p = ("ab"):rep(500) .. "c"
        return s:find(p, 1, true)"""
    assert World().run(source) == (599001, 600001)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("local x = ('x'):find('[a')", "t.lua:1: malformed pattern (missing ']')"),
        ("local x = ('x'):find('%')", "t.lua:1: malformed pattern (ends with '%')"),
        ("local x = ('x'):match('x)')", "t.lua:1: invalid pattern capture"),
        ("local x = ('x'):gsub('x', '%2')", "t.lua:1: invalid capture index %2"),
        ("local x = ('x'):gsub('x', '%a')", "t.lua:1: invalid use of '%' in replacement string"),
        ("local x = ('x'):gsub('x', function() return {} end)", "t.lua:1: invalid replacement value (a table)"),
        ("local x = ('x'):gsub('x', true)", "bad argument #3 to 'gsub' (string/function/table expected, got boolean)"),
        ("local x = ('x'):find({})", "t.lua:1: bad argument #2 to 'find' (string expected, got table)"),
        ("local x = ('x'):find('x', {})", "t.lua:1: bad argument #3 to 'find' (number expected, got table)"),
        ("local x = ('x'):gsub('x', function() error('mine', 0) end)", "mine"),
        ("local x = ('x'):gsub('x', function() error('mine') end)", "t.lua:1: mine"),
    ],
)  # fmt: skip
def test_errors_name_the_line(call: str, message: str) -> None:
    ok, text = World().run(f"return pcall(function() {call} end)", name="t.lua")
    assert not ok
    assert message in text
