# ruff: noqa: E501 - tables of Lua read better on one line
"""The Lua module errors, and error objects wherever code meets them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lua import LuaFailure, run_in_both_modes


def lua(source: str, *args: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("json",))


def facts(expression: str) -> Any:
    """Kind, message, retryable and details of an error object."""
    return lua(f"local e = {expression} return {{ kind = e:kind(), message = e:message(), retryable = e:retryable(), details = e:details() }}")


def test_the_constants_are_the_names_of_the_kinds() -> None:
    names = {
        "NOT_FOUND": "NotFound", "ALREADY_EXISTS": "AlreadyExists", "INVALID": "Invalid",
        "PERMISSION_DENIED": "PermissionDenied", "UNAVAILABLE": "Unavailable", "INTERNAL": "Internal",
        "CANCELED": "Canceled", "CONFLICT": "Conflict", "TIMEOUT": "Timeout", "RATE_LIMITED": "RateLimited", "UNKNOWN": "",
    }  # fmt: skip
    assert lua("local t = {} for k, v in pairs(errors) do if type(v) == 'string' then t[k] = v end end return t") == names


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("errors.new('x')", {"kind": "", "message": "x"}),
        ("errors.new('Invalid', 'x')", {"kind": "", "message": "Invalid"}),
        ("errors.new{ message = 'x' }", {"kind": "", "message": "x"}),
        ("errors.new{ message = 'x', kind = 'MyOwn' }", {"kind": "MyOwn", "message": "x"}),
        ("errors.new{ message = 'x', kind = 5, retryable = 'yes', details = 'no' }", {"kind": "", "message": "x"}),
        ("errors.new{ message = 'x', retryable = false }", {"kind": "", "message": "x", "retryable": False}),
        ("errors.new{ message = 'x', details = { a = { 1, b = nil }, [1] = 2 } }", {"kind": "", "message": "x", "details": {"a": [1]}}),
        ("errors.new{ message = 'x', details = {} }", {"kind": "", "message": "x"}),
    ],
)  # fmt: skip
def test_new_takes_a_text_or_a_table_of_which_it_reads_what_has_the_right_type(expression: str, expected: Any) -> None:
    assert facts(expression) == expected


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("errors.new{}", "message field is required"),
        ("errors.new{ message = 5 }", "message must be a string"),
        ("errors.new()", "bad argument #1 to 'new'"),
        ("errors.wrap(5, 'x')", "bad argument #1 to 'wrap'"),
        ("errors.wrap(errors.new('x'), 5)", "bad argument #2 to 'wrap'"),
        ("errors.wrap(errors.new('x'))", "bad argument #2 to 'wrap'"),
    ],
)
def test_wrong_arguments_of_new_and_wrap_raise(call: str, words: str) -> None:
    with pytest.raises(LuaFailure, match=words):
        lua(call)


FULL = "errors.new{ message = 'x', kind = 'K', retryable = true, details = { a = 1 } }"


@pytest.mark.parametrize(
    ("expression", "message", "full"),
    [
        ("errors.wrap(errors.new('x'), 'c1')", "x", "c1: x"),
        ("errors.wrap(errors.wrap(errors.new('x'), 'c1'), 'c2')", "c1: x", "c2: c1: x"),
        ("errors.wrap('x', 'c1')", "x", "c1: x"),
        ("errors.wrap(errors.new('x'), errors.new('c1'))", "x", "c1: x"),
        ("errors.wrap(errors.new('x'), errors.wrap(errors.new('c1'), 'c0'))", "x", "c0: c1: x"),
    ],
)
def test_the_message_leaves_out_the_outermost_context_and_json_has_all(expression: str, message: str, full: str) -> None:
    found = lua(f"local e = {expression} return {{ e:message(), tostring(e), '' .. e, json.decode(json.encode(e)) }}")
    assert found == [message, message, message, full]


def test_wrapping_keeps_kind_retryable_and_details() -> None:
    expected = {"kind": "K", "message": "c1: x", "retryable": True, "details": {"a": 1}}
    assert facts(f"errors.wrap(errors.wrap({FULL}, 'c1'), 'c2')") == expected
    assert facts("errors.wrap('x', 'c1')") == {"kind": "", "message": "x"}


def test_is_knows_error_objects_by_their_kind_and_nothing_else() -> None:
    found = lua(f"""local e, plain = {FULL}, errors.new("x")
      return {{ errors.is(e, "K"), errors.is(errors.wrap(e, "c"), "K"), errors.is(plain, errors.UNKNOWN), errors.is(e, "k"),
               errors.is("K", "K"), errors.is(nil, ""), errors.is({{}}, ""), errors.is(channel.new(), "") }}""")
    assert found == [True, True, True, False, False, False, False, False]


def test_call_stack_has_the_frames_of_the_code() -> None:
    found = lua("""local function fails()
        local e = errors.new("x")
        return e
      end
      local e = fails()
      return { errors.call_stack(e), errors.call_stack("x") == nil, errors.call_stack(nil) == nil, #e:stack() > 0 }""")
    stack, *others = found
    assert others == [True, True, True]
    assert isinstance(stack["thread"], str)
    assert [(frame["level"], frame["source"], frame["line"]) for frame in stack["frames"]][:2] == [(0, "main.lua", 2), (1, "main.lua", 5)]
    assert all({"level", "source", "line", "name", "type"} == set(frame) for frame in stack["frames"])


def test_methods_only_read() -> None:
    found = lua(f"""local e = {FULL}
      local kind, message = e:kind("other"), e:message("other")
      e:details().a = 5
      local ok, problem = pcall(function() e.text = 1 end)
      return {{ kind, message, e:kind(), e:message(), e:details().a, e:details() ~= e:details(), type(e), ok }}""")
    assert found == ["K", "x", "K", "x", 1, True, "userdata", False]


def test_concatenation_works_on_both_sides_and_equality_is_identity() -> None:
    found = lua("local a, b = errors.new('a'), errors.new('a') return { 'x' .. a, a .. 1, a .. b, a == a, a == b }")
    assert found == ["xa", "a1", "aa", True, False]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("string.find(e, 'found', 1, true)", 5),
        ("string.find('not found here', e, 1, true)", 1),
        ("string.match(e, 'f%a+')", "found"),
        ("string.gsub(e, 'not', 'was')", "was found"),
        ("string.gmatch(e, '%a+')()", "not"),
        ("string.sub(e, 5)", "found"),
        ("string.len(e)", 9),
        ("string.upper(e)", "NOT FOUND"),
        ("string.lower(e)", "not found"),
        ("string.reverse(e)", "dnuof ton"),
        ("string.rep(e, 2, ',')", "not found,not found"),
        ("string.byte(e)", 110),
        ("string.format('<%s>', e)", "<not found>"),
        ("string.format(e)", "not found"),
    ],
)
def test_string_functions_take_an_error_object_for_its_text(expression: str, expected: Any) -> None:
    assert lua(f"local e = errors.wrap(errors.new('not found'), 'context') local v = {expression} return v") == expected


def test_a_raised_error_object_stays_one_and_texts_stay_texts() -> None:
    found = lua("""local e = errors.new("x")
      local _, object = pcall(error, e)
      local _, text = pcall(function() error("text") end)
      local _, runtime = pcall(function() local t = nil return t.x end)
      return { object == e, type(text), text, type(runtime) }""")
    assert found == [True, "string", "main.lua:3: text", "string"]


def test_an_index_that_is_nil_raises() -> None:
    with pytest.raises(LuaFailure, match="index is nil"):
        lua("local t = {} t[nil] = 1")
