"""What a workflow may not see of the process it runs in: hash seeds, addresses, the collector, the clock."""

# ruff: noqa: E501 - one script to a line
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orchestration.core.lua.runtime import LuaWorld
from orchestration.errors import OrchestrationError
from tests.support.lua_worlds import World, run

WALK = """
local out = {}
local function say(...) out[#out + 1] = table.concat({...}, " ") end

local words = {}
for i = 1, 300 do words["key" .. (i * 7919) % 1009] = i end
for k, v in pairs(words) do say(k, v) end

local objects, mixed = {}, {}
for i = 1, 40 do objects[i] = i % 3 == 0 and {} or i % 3 == 1 and function() end or coroutine.create(print) end
for i = 1, 40 do
  local o = objects[(i * 17) % 40 + 1]
  mixed[o] = i
  mixed[i * 1.5], mixed[-i], mixed["s" .. i], mixed[i] = i, i, i, i
end
mixed[true], mixed[false] = 1, 2
for k, v in pairs(mixed) do say(tostring(k), v) end
local k = next(mixed)
while k ~= nil do say("next", tostring(k)) k = next(mixed, k) end

local set = {[objects[3]] = 1, [objects[1]] = 2, [objects[2]] = 3}
for o, v in pairs(set) do say(tostring(o), v, ("%p"):format(o)) end

local people = {}
for i = 1, 500 do people[i] = {age = i * 37 % 11, name = i} end
table.sort(people, function(a, b) return a.age < b.age end)
for _, p in ipairs(people) do say(p.age, p.name) end
local numbers = {}
for i = 1, 300 do numbers[i] = i % 2 == 0 and i // 2 or i / 2 end
table.sort(numbers)
for _, n in ipairs(numbers) do say(tostring(n)) end

for i = 1, 20 do say(math.random(1000), math.random()) end
math.randomseed(42) say(math.random(1000))
math.randomseed() say(math.random(1000))
say(tostring(print), tostring({}), tostring(coroutine.running()))
say(select(2, pcall(function() return {} < {} end)), select(2, pcall(function() return #print end)))
say(select(2, pcall(error, {})) ~= nil and "table", os.time(), os.date(), os.clock(), os.date("%A %d %B %Y", 86400 * 365))
local junk for i = 1, 20000 do junk = {junk and 1} end
for o in pairs(mixed) do say(tostring(o)) end
return table.concat(out, "\\n")
"""

SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from tests.support.lua_worlds import World
from orchestration.types import Limits
garbage = [object() for _ in range({seed} * 1000)]
worlds = [World() for _ in range({seed} % 3 + 1)]
print(worlds[-1].run(sys.stdin.read())[0])
"""


def test_the_same_in_every_process() -> None:
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))
    outputs = set()
    for seed in range(6):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(seed),
            "TZ": ["UTC", "Asia/Tokyo"][seed % 2],
            "LANG": "C.UTF-8",
        }
        script = SCRIPT.format(root=root, seed=seed)
        done = subprocess.run(
            [sys.executable, "-c", script], input=WALK, env=environment, capture_output=True, text=True, check=True
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) > 1500


def test_the_order_of_keys() -> None:
    source = """
        local a, b, c = {}, print, coroutine.create(print)
        local t = {[c] = 1, z = 1, [false] = 1, [b] = 1, [2.5] = 1, [a] = 1, [-1] = 1, [true] = 1, y = 1, [7] = 1, [math.mininteger] = 1, "x", "y"}
        local seen = {}
        for k in pairs(t) do seen[#seen + 1] = type(k) == "number" and k or type(k) == "string" and k or type(k) end
        local walked, k = {}, next(t)
        while k ~= nil do walked[#walked + 1] = type(k) == "number" and k or type(k) == "string" and k or type(k) k = next(t, k) end
        return table.concat(seen, " "), table.concat(walked, " ") == table.concat(seen, " "), tostring(c), tostring(a)"""
    assert run(source) == (
        "1 2 -9223372036854775808 -1 2.5 7 y z boolean boolean thread function table", True, "thread: 0x00000001", "table: 0x00000003"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("fields may change", "local t = {a = 1, b = 2} for k in pairs(t) do t[k] = 5 end return t.a + t.b", 10),
        ("fields may go", "local t, n = {a = 1, b = 2, c = 3}, 0 for k in pairs(t) do t[k] = nil n = n + 1 end return n", 3),
        ("later fields may go", "local t, n = {1, 2, 3}, 0 for k in pairs(t) do t[3] = nil n = n + 1 end return n", 2),
        ("new fields are not met", "local t, n = {a = 1}, 0 for k in pairs(t) do n = n + 1 t['x' .. n] = 1 end return n", 1),
        ("an array may grow", "local t, n = {1}, 0 for i in pairs(t) do n = n + 1 t[#t + 1] = 1 end return n", 1),
        ("fields may go under next", "local t, n = {a = 1, b = 2, 3}, 0 local k = next(t) while k do t[k] = nil n = n + 1 k = next(t, k) end return n, next(t)", (3, None)),
        ("next from an array", "return next({5, 6}, 1)", (2, 6)),
        ("next at the end", "return next({5, 6}, 2)", None),
        ("next of an absent key", "return next({a = 1, c = 3}, 'b')", ("c", 3)),
        ("walks inside walks", "local t, n = {a = 1, b = 2, c = 3}, 0 local i = next(t) while i do local j = next(t) while j do n = n + 1 j = next(t, j) end i = next(t, i) end return n", 9),
        ("__pairs", "for k, v in pairs(setmetatable({}, {__pairs = function(t) return function(_, k) if not k then return 1, 2 end end, t end})) do return k, v end", (1, 2)),
        ("holes", "local s = '' for k in pairs({1, nil, 3, nil, 5}) do s = s .. k end return s", "135"),
        ("float keys", "local s = '' local t = {[1.0] = 1, [2] = 2, [3.5] = 3} for k in pairs(t) do s = s .. k .. ' ' end return s", "1 2 3.5 "),
        ("nil", "return select(2, pcall(pairs))", "test.lua:1: bad argument #1 to 'for iterator' (table expected, got no value)"),
        ("bytes in order", "local s = '' for k in pairs({['\\255'] = 1, ['\\0'] = 1, Z = 1, a = 1, ['é'] = 1}) do s = s .. #k .. k:byte() .. ' ' end return s", "10 190 197 2195 1255 "),
        ("setting nil keeps the order", "local a, b = {}, {} local t = {} t[b] = 1 t[a] = 1 t[b] = nil t[b] = 2 local s = '' for k in pairs(t) do s = s .. (k == a and 'a' or 'b') end return s", "ba"),
        ("rawset", "local a, b, t = {}, {}, {} rawset(t, b, 1) rawset(t, a, 1) for k in pairs(t) do return k == b end", True),
        ("one object by a library", "local t = table.pack({}) return (next(t))", 1),
    ],
)  # fmt: skip
def test_walking(name: str, source: str, expected: object) -> None:
    assert run(source) == expected, name


def test_object_keys_that_nobody_saw_are_an_error_instead_of_a_guess() -> None:
    world = World()
    raw_fill = b"local rt = ... return function(t, a, b) t[a], t[b] = 1, 2 end"
    world.env[b"fill"] = world.lua.call(world.lua.rt[b"raw"][b"load"](raw_fill), world.lua.rt)[0]
    ok, text = world.run("local t = {} fill(t, {}, {}) return pcall(function() for k in pairs(t) do end end)")
    assert not ok
    assert "cannot order the keys" in text


def test_serial_numbers_do_not_depend_on_the_collector() -> None:
    source = """
        local text = {}
        for i = 1, 2000 do
          local t = {}
          if i % 500 == 0 then text[#text + 1] = tostring(t) end
          local s = {[t] = i}
        end
        return table.concat(text, " ")"""
    assert run(source) == "table: 0x000001f4 table: 0x000003e8 table: 0x000005dc table: 0x000007d0"


def test_a_query_leaves_no_trace_in_the_numbers() -> None:
    world = World()
    mark, reset = world.lua.rt[b"serial_mark"], world.lua.rt[b"serial_reset"]
    world.run("kept = {} return tostring(kept)")
    (before,) = world.lua.call(mark)
    world.run("seen = {} return tostring(seen)")
    world.lua.call(reset, before)
    assert world.run("return tostring(kept), tostring({})") == ("table: 0x00000001", "table: 0x00000002")


def test_random_numbers_follow_the_seed() -> None:
    def draw(a: int, b: int) -> tuple[object, ...]:
        world = World()
        world.lua.call(world.lua.rt[b"seed_random"], a, b)
        return world.run(
            "local a, b = math.random(1 << 40), math.random() math.randomseed() return a, b, math.random(1 << 40) == a"
        )

    assert draw(1, 2) == draw(1, 2)
    assert draw(1, 2)[:2] != draw(1, 3)[:2]
    assert draw(1, 2)[2] is True


def test_a_locale_that_changes_the_order_of_strings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import locale

    for name in ("en_US.UTF-8", "de_DE.UTF-8", "es_ES.UTF-8"):
        try:
            locale.setlocale(locale.LC_COLLATE, name)
        except locale.Error:
            continue
        try:
            with pytest.raises(OrchestrationError, match="LC_COLLATE"):
                LuaWorld()
        finally:
            locale.setlocale(locale.LC_COLLATE, "C")
        return
    # No such locale on this machine: the check is seen by what it says to a made-up one.
    from orchestration.core.lua.runtime import _creation_error

    assert "LC_COLLATE is 'xx'" in str(_creation_error("[base]:1: locale:collate:xx"))
