"""Every known way out of a Lua sandbox, tried."""

# ruff: noqa: E501 - one script to a line
from __future__ import annotations

import pytest

from orchestration.core.lua.runtime import LuaWorld
from orchestration.errors import ForbiddenNameError, LuaSourceError, SandboxError
from tests.support.lua_worlds import World, run

GLOBALS = (
    "_G _VERSION assert coroutine error getmetatable ipairs math next os package pairs pcall print rawequal rawget rawset "
    "require select setmetatable string table tonumber tostring type unpack utf8 xpcall"
)


def test_these_globals_and_no_others() -> None:
    source = "local names = {} for name in pairs(_G) do names[#names + 1] = name end return table.concat(names, ' ')"
    assert sorted(run(source).split()) == sorted(GLOBALS.split())


LIBRARIES = {
    "coroutine": "close create isyieldable resume running status wrap yield",
    "os": "clock date difftime platform time",
    "package": "config cpath loadlib path",
    "string": "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper",
    "table": "concat insert move pack remove sort unpack",
    "utf8": "char charpattern codepoint codes len offset",
    "math": "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max maxinteger min "
    "mininteger mod modf pi pow rad random randomseed sin sinh sqrt tan tanh tointeger type ult",
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_these_library_functions_and_no_others(name: str) -> None:
    found = run(
        f"local names = {{}} for name in pairs({name}) do names[#names + 1] = name end return table.concat(names, ' ')"
    )
    assert sorted(found.split()) == sorted(LIBRARIES[name].split())


@pytest.mark.parametrize(
    "name",
    ["load", "loadstring", "loadfile", "dofile", "collectgarbage", "rawlen", "io", "debug", "python", "newproxy", "getfenv", "setfenv",
     "module", "jit", "ffi", "bit32", "warn", "string.dump", "os.execute", "os.exit", "os.getenv", "os.remove", "os.rename",
     "os.tmpname", "os.setlocale", "package.loaded", "package.preload", "package.searchers", "package.searchpath"],
)  # fmt: skip
def test_absent(name: str) -> None:
    assert run(f"return {name} == nil") is True


RAISES = {
    "write to a library": ("string.upper = 1", "read-only"),
    "new field in a library": ("math.x = 1", "read-only"),
    "rawset on a library": ("rawset(table, 'x', 1)", "read-only"),
    "table.insert into a library": ("table.insert(table, 1)", "read-only"),
    "write through a string": ("('x').y = 1", "attempt to index a string value"),
    "metatable of a library": ("setmetatable(string, {})", "protected"),
    "metatable of the environment": ("setmetatable(_G, {})", "protected"),
    "metatable of a string": ("setmetatable('', {})", "table expected"),
    "__gc": ("setmetatable({}, {['__' .. 'gc'] = 1})", "cannot be set"),
    "__gc by rawset": ("rawset({}, '__gc', 1)", "cannot be set"),
    "__mode": ("setmetatable({}, {['__m' .. 'ode'] = 'k'})", "cannot be set"),
    "__mode by rawset": ("rawset({}, '__mode', 'k')", "cannot be set"),
    "__mode later": ("local m = {} setmetatable({}, m) local k = ('edom__'):reverse() m[k] = 'k'", "cannot be set"),
    "__mode with escapes": ("local m = {} m['\\95_mode'] = 'k'", "cannot be set"),
    "__mode in a list of keys": ("local a, k = {}, '__mo' .. 'de' a[1], a[k] = 1, 2", "cannot be set"),
    "__mode as the second value": ("local k = '__mo' .. 'de' local t = {1, [k] = 'v'}", "cannot be set"),
    "__mode from a library": ("local m = {} for k in ('__mode'):gmatch('.+') do m[k] = 'v' end", "cannot be set"),
    "__mode through __newindex": ("local m = {} setmetatable({}, {__newindex = m})['__' .. 'mode'] = 'k'", "cannot be set"),
    "__mode by an expression": ("local m, k = {}, '__mode' m[k or 1] = 'k'", "cannot be set"),
    "host names": ("require('host')", "module 'host' not found"),
    "Python modules": ("require('os.path')", "module 'os.path' not found"),
    "prelude files": ("require('base')", "module 'base' not found"),
    "sandbox files": ("require('sandbox_env')", "module 'sandbox_env' not found"),
    "debug by require": ("require('debug')", "module 'debug' not found"),
    "package.loaded": ("return package.loaded.debug", "nil value"),
    "C libraries": ("assert(package.loadlib('libc.so', 'system'))", "not enabled"),
    "called with a mode": ("string.format('%p')", "bad argument"),
    "string called": ("string(12)", "expected string, got number"),
    "resume the main task": ("assert(coroutine.resume((coroutine.running())))", "cannot resume"),
    "close the main task": ("coroutine.close((coroutine.running()))", "cannot close"),
    "yield out of the main task": ("coroutine.yield(1)", "outside a coroutine"),
}  # fmt: skip


@pytest.mark.parametrize("name", RAISES)
def test_refused(name: str) -> None:
    source, message = RAISES[name]
    ok, text = run(f"local ok, err = pcall(function() {source} end) return ok, tostring(err)")
    assert not ok
    assert message in text


VALUES = {
    "getmetatable of a string": ("getmetatable('')", False),
    "getmetatable of a library": ("getmetatable(string)", False),
    "getmetatable of the environment": ("getmetatable(_G)", False),
    "getmetatable of a function": ("getmetatable(print)", None),
    "getmetatable of a coroutine": ("getmetatable(coroutine.create(print))", None),
    "getmetatable of nil": ("getmetatable(nil)", None),
    "field of a string": ("('x').dump", None),
    "the raw library behind a proxy": ("rawget(string, 'dump')", None),
    "string.dump by rawget": ("rawget(string, '__index')", None),
    "print is the sandbox's": ("tostring(print):find('builtin')", None),
    "the environment of the world": ("_ENV == _G and _G._G == _G", True),
    "a _ENV of one's own": ("(function() local _ENV = {} return x end)()", None),
    "_ENV of a function": ("(function(_ENV) return debug end)({})", None),
    "_ENV without globals": ("(function() local _ENV <const> = {pcall = pcall} return pcall(1) end)()", False),
    "next of a library": ("type(next(string))", "string"),
    "type of a library": ("type(string)", "table"),
    "bytecode": ("pcall(require, '\\27Lua')", False),
    "select of hidden arguments": ("select('#', (function(...) return ... end)())", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_gives_nothing_away(name: str) -> None:
    source, value = VALUES[name]
    found = run(f"return {source}")
    assert (found[0] if isinstance(found, tuple) and found else found) == value


def test_no_reachable_value_is_a_python_object_or_a_raw_function() -> None:
    """Everything that can be reached from an environment, through fields, is a plain value or a known function."""
    source = """
        local seen, queue, kinds = {}, {_G}, {}
        while #queue > 0 do
          local t = table.remove(queue)
          for k, v in pairs(t) do
            kinds[type(v)] = true
            if type(v) == "table" and not seen[v] then seen[v] = true queue[#queue + 1] = v end
          end
        end
        local list = {}
        for k in pairs(kinds) do list[#list + 1] = k end
        return table.concat(list, " ")"""
    assert run(source) == "function number string table"


def test_a_chunk_gets_no_hidden_arguments() -> None:
    world = World()
    assert world.run("return select('#', ...)") == (0,)
    assert world.run("local a, b = ... return a, b", 1, 2) == (1, 2)


@pytest.mark.parametrize(
    "source",
    ["setmetatable({}, {__gc = print})", "local mt = {} mt.__mode = 'k'", "local t = {__mode = 'v'}", "print(x.__gc)",
     "function mt:__gc() end", "local __mode = 1"],
)  # fmt: skip
def test_names_that_the_code_may_not_have(source: str) -> None:
    with pytest.raises(ForbiddenNameError, match=r"test\.lua:3: __(gc|mode) is not available.*remove"):
        run("-- __gc\nlocal s = [[__mode]]\n" + source)


@pytest.mark.parametrize(
    "source",
    ["\x1bLuaT", "end", "end, function(...)", "return function(...) end", "end) print(1) (function()", "]] end", "return _k",
     "local _k = 1 return _k(1)"],
)  # fmt: skip
def test_code_cannot_leave_the_chunk_that_it_is_put_into(source: str) -> None:
    try:
        found = run(source)
    except (LuaSourceError, SandboxError):
        return
    assert found is None or found == () or not isinstance(found, bytes)


def test_syntax_errors_read_as_lua_says_them() -> None:
    with pytest.raises(LuaSourceError) as caught:
        run("local x = 1\nlocal t = {}\nt[x = 2")
    assert str(caught.value) == "test.lua:3: ']' expected near '='"
    with pytest.raises(LuaSourceError, match=r"test\.lua:2: 'end' expected \(to close 'if' at line 1\) near <eof>"):
        run("if x then\n")
    with pytest.raises(LuaSourceError, match=r"test\.lua:1: attempt to load a binary chunk"):
        run("\x1bLua")


def test_an_exception_of_the_host_never_becomes_a_lua_value() -> None:
    def host(_name: bytes, _packed: bytes) -> tuple[bool, bytes]:
        raise KeyError("secret")

    world = LuaWorld(host=host)
    env = world.call(world.rt[b"new_env"])[0]
    env[b"ask"] = world.call(
        world.rt[b"raw"][b"load"](b"local rt = ... return function() return rt.host_bytes('x', '') end"), world.rt
    )[0]
    chunk = world.load_user("local ok, err = pcall(ask) return 'caught', tostring(err)", "test.lua", env)
    with pytest.raises(KeyError, match="secret"):
        world.call(chunk)


def test_an_interrupt_in_the_host_goes_through() -> None:
    def host(_name: bytes, _packed: bytes) -> tuple[bool, bytes]:
        raise KeyboardInterrupt

    world = LuaWorld(host=host)
    env = world.call(world.rt[b"new_env"])[0]
    env[b"ask"] = world.call(
        world.rt[b"raw"][b"load"](b"local rt = ... return function() return rt.host_bytes('x', '') end"), world.rt
    )[0]
    chunk = world.load_user("while true do pcall(ask) end", "test.lua", env)
    with pytest.raises(KeyboardInterrupt):
        world.call(chunk)


def test_worlds_share_nothing() -> None:
    one, other = World(), World()
    one.run("shared = 1 string_of_one = string")
    assert other.run("return shared") == (None,)
    second = one.lua.call(one.lua.rt[b"new_env"])[0]
    assert one.lua.call(one.lua.load_user("return shared", "second.lua", second)) == (None,)


@pytest.mark.parametrize("name", ["../base", "/etc/passwd", "", "base.lua", "a\0b", "sandbox_env/../base"])
def test_prelude_files_are_named_by_words(name: str) -> None:
    world = World()
    with pytest.raises((FileNotFoundError, SandboxError)):
        world.lua.load_prelude(name)
