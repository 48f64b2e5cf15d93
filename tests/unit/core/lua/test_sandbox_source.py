"""The rewriting of keys: what is touched, what is not, and that nothing confuses it."""

# ruff: noqa: E501 - one script to a line
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.core.lua.source import prepare
from orchestration.errors import ForbiddenNameError
from tests.support.lua_worlds import run

PREFIX, SUFFIX = b"local _k = ... return function(...) ", b"\nend"


def rewritten(source: str) -> str:
    text = prepare(source.encode())
    assert text.startswith(PREFIX)
    assert text.endswith(SUFFIX)
    return text[len(PREFIX) : -len(SUFFIX)].decode()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("t[k] = 1", "t[_k(k)] = 1"),
        ("t[k]=1", "t[_k(k)]=1"),
        ("t[a[b]] = 1", "t[_k(a[b])] = 1"),
        ("t[a][b] = 1", "t[a][_k(b)] = 1"),
        ("t[a].x[b] = 1", "t[a].x[_k(b)] = 1"),
        ("t[f()].x = 1", "t[f()].x = 1"),
        ("t[a], t[b] = 1, 2", "t[_k(a)], t[_k(b)] = 1, 2"),
        ("x, t[ --[[ ] ]] k ] = 1, 2", "x, t[_k( --[[ ] ]] k )] = 1, 2"),
        ("t = {[k] = v, [1] = 2}", "t = {[_k(k)] = v, [1] = 2}"),
        ("t = {[ [[x]] ] = [=[ [y] = ]=]}", "t = {[ [[x]] ] = [=[ [y] = ]=]}"),
        ("t[ [[x]] ] = 1", "t[ [[x]] ] = 1"),
        ("t['x'] = 1 t[\"y\"] = 2 t[1] = 3 t[-1] = 4 t[0x10] = 5 t[1e3] = 6 t[true] = 7", None),
        ("t['\\95'] = 1", "t[_k('\\95')] = 1"),
        ("t[ [[__x]] ] = 1", "t[_k( [[__x]] )] = 1"),
        ("t[#t + 1] = v t[i + 1] = v t[a.b - 1] = v t[#a.b + 1] = v", None),
        ("t[a .. 1] = v", "t[_k(a .. 1)] = v"),
        ("t[a or b + 1] = v", "t[_k(a or b + 1)] = v"),
        ("t[f() + 1] = v", "t[_k(f() + 1)] = v"),
        ("x = t[k] == 1", None),
        ("f(t[k], 1)", None),
        ("x = {t[k], 1}", None),
        ("f(function() t[a], t[b] = 1, 2 end)", "f(function() t[_k(a)], t[_k(b)] = 1, 2 end)"),
        ("if x then t[a], y = 1, 2 end", "if x then t[_k(a)], y = 1, 2 end"),
        ("return t[k]", None),
        ("t[...] = 1", "t[_k(...)] = 1"),
        ("t[function() return 1 end] = 1", "t[_k(function() return 1 end)] = 1"),
        ("t[{[k] = 1}] = 1", "t[_k({[_k(k)] = 1})] = 1"),
        ("s = '[k] = 1' -- t[k] = 1", None),
        ("--[==[ t[k] = 1 ]] ]==] t[k] = 1", "--[==[ t[k] = 1 ]] ]==] t[_k(k)] = 1"),
        ("s = [[\nt[k] = 1 ]] t[k] = 1", "s = [[\nt[k] = 1 ]] t[_k(k)] = 1"),
        ("s = 'a\\'[k] = 1' t[k] = 1", "s = 'a\\'[k] = 1' t[_k(k)] = 1"),
        ("s = \"a\\\n[k] = \\z   \n  1\" t[k] = 1", "s = \"a\\\n[k] = \\z   \n  1\" t[_k(k)] = 1"),
        ("goto done t[k] = 1 ::done::", "goto done t[_k(k)] = 1 ::done::"),
        ("x = a < b t[k] = 1", "x = a < b t[_k(k)] = 1"),
        ("local x <const> = 1 t[x] = 1", "local x <const> = 1 t[_k(x)] = 1"),
        ("x = ('s'):rep(2)[k] t[k] = 1", "x = ('s'):rep(2)[k] t[_k(k)] = 1"),
        ("('x')[k] = 1", "('x')[_k(k)] = 1"),
        ("f{[k] = 1}[j] = 2", "f{[_k(k)] = 1}[_k(j)] = 2"),
        ("t[k] = 1 -- no newline at the end", "t[_k(k)] = 1 -- no newline at the end"),
    ],
)  # fmt: skip
def test_rewriting(source: str, expected: str | None) -> None:
    assert rewritten(source) == (source if expected is None else expected)


def test_the_hidden_name_is_one_that_the_code_has_not() -> None:
    text = prepare(b"local _k, _k1 = 1, 2 t[x] = _k").decode()
    assert text.startswith("local _k2 = ... ")
    assert "t[_k2(x)] = _k" in text


def test_forbidden_names_have_their_line() -> None:
    with pytest.raises(ForbiddenNameError, match=r"^orders\.lua:4: __gc is not available"):
        prepare(b"--[[\n__gc\n]]\nlocal t = {__gc = 1}", "orders.lua")


def test_lines_do_not_move() -> None:
    source = """
        local t = {}
        t[1
          + 0] = 1
        local ok, err = pcall(function()
          t[nil or
            t.x.y] = 1
        end)
        return err"""
    assert run(source) == "test.lua:7: attempt to index a nil value (field 'x')"


def test_an_index_that_is_nil_or_nan_is_lua_s_error() -> None:
    assert (
        run("local t, k = {}, nil return select(2, pcall(function() t[k] = 1 end))") == "test.lua:1: table index is nil"
    )
    assert run("local t = {} return select(2, pcall(function() t[0/0] = 1 end))") == "test.lua:1: table index is NaN"


PIECES = st.sampled_from(
    ["t[k] = 1", "t[ [[x]] ] = 2", "-- ] = \n", "--[[ t[k] = ]]", "s = '] = ['", "t = {[k] = {[j] = 1}}", "f(t[k], t[j])",
     "t[a[b[c]]] = 'x'", "t[k], t[j] = 1, 2", "s = [==[ ]] t[k] = ]==]", "x = t[k] == t[j]", "if x then t[k] = 1 end",
     "for i = 1, 2 do t[i] = i end", "s = \"\\\"[\"", "g = function() t[k] = function() end end"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=12))
def test_taking_the_marks_away_gives_the_code_back(pieces: list[str]) -> None:
    source = " ".join(pieces)
    text = rewritten(source)
    assert text.count("\n") == source.count("\n")
    assert (
        text.replace("_k(a[b[c]])", "a[b[c]]").replace("_k(k)", "k").replace("_k(j)", "j").replace("_k(i)", "i")
        == source
    )
