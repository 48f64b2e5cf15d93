"""The Lua module json."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.core.lua.host import HostError
from orchestration.core.lua.hostlib.json_schema import validate
from orchestration.core.lua.hostlib.json_text import decode_json, encode_json, format_float
from orchestration.errors import StepLimitError
from orchestration.types import Limits
from tests.support.lua import run_in_both_modes


def lua(source: str, *args: Any, **options: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("json",), **options)


def failure(expression: str, *args: Any) -> Any:
    """Kind and text of the error object that an expression gives second."""
    return lua(f"local v, err = {expression} return {{ v == nil, err:kind(), err:message(), err:retryable() }}", *args)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("nil", "null"),
        ("true", "true"),
        ("1", "1"),
        ("-9223372036854775807 - 1", "-9223372036854775808"),
        ("3.0", "3"),
        ("2.5", "2.5"),
        ("-0.0", "-0"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("1e-6", "0.000001"),
        ("1.5e-7", "1.5e-7"),
        ("123456789.125e3", "123456789125"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("1 / 0", "null"),
        ("-1 / 0", "null"),
        ("0 / 0", "null"),
        ("''", '""'),
        ("'a\"b\\\\c\\n\\t\\1'", '"a\\"b\\\\c\\n\\t\\u0001"'),
        ("'<a>&'", '"\\u003ca\\u003e\\u0026"'),
        ("'ñ\\u{2028}'", '"ñ\\u2028"'),
        ("'a\\xffb'", '"a�b"'),
        ("{}", "[]"),
        ("{ 1, { 2 }, {} }", "[1,[2],[]]"),
        ("{ b = 1, a = { c = false } }", '{"a":{"c":false},"b":1}'),
        ("{ f = print, n = 1 }", '{"f":null,"n":1}'),
        ("errors.wrap(errors.new('boom'), 'while')", '"while: boom"'),
        ("{ e = errors.new('boom') }", '{"e":"boom"}'),
        ("channel.new()", "null"),
    ],
)
def test_encode(value: str, text: str) -> None:
    assert lua(f"return json.encode({value})") == text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{ 1, nil, 3 }", "sparse array"),
        ("{ [2] = 1 }", "sparse array"),
        ("{ [0] = 1 }", "sparse array"),
        ("{ 1, a = 2 }", "mixed keys"),
        ("{ [true] = 1 }", "mixed keys"),
        ("{ [1.5] = 1 }", "mixed keys"),
        ("(function() local t = {} t.t = t return t end)()", "contains itself"),
        ("(function() local t = {} for i = 1, 129 do t = { t } end return t end)()", "128 levels"),
    ],
)
def test_encode_refuses(value: str, words: str) -> None:
    is_nil, kind, message, retryable = failure(f"json.encode({value})")
    assert (is_nil, kind, retryable) == (True, "Internal", False)
    assert words in message


def test_encode_takes_128_levels_and_shared_tables() -> None:
    assert lua("local t = {} for i = 1, 127 do t = { t } end return #json.encode(t)") == 256
    assert lua("local t = { 1 } return json.encode({ t, t })") == "[[1],[1]]"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-0", 0),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
        ("-9223372036854775808", -(2**63)),
        ('"a\\u00f1\\ud83d\\ude00\\ud800"', "añ😀�"),
        ('{"a": {"b": [true, false]}}', {"a": {"b": [True, False]}}),
        (' [1, 2.5, "x"] ', [1, 2.5, "x"]),
        ("null", None),
        (b'"a\xff"', "a�"),
    ],
)
def test_decode(text: str | bytes, value: Any) -> None:
    found = lua("local v, err = json.decode(...) assert(err == nil) return v", text)
    assert found == value
    assert type(found) is type(value)


def test_decode_leaves_holes_and_drops_null_members() -> None:
    found = lua("""
      local list = json.decode("[1,null,3]")
      local map = json.decode('{"a":null,"b":1}')
      local keys = 0
      for _ in pairs(map) do keys = keys + 1 end
      return { list[1], list[2] == nil, list[3], keys,
               json.encode(json.decode("{}")), json.encode(json.decode("[]")) }""")
    assert found == [1, True, 3, 1, "[]", "[]"]


@pytest.mark.parametrize(
    "text",
    ["{", "[1,]", '{"a"}', "nul", "NaN", "Infinity", "01", "'a'", '"\n"', "1 2", "1e999", "[" * 200 + "]" * 200],
)
def test_decode_refuses_what_is_no_json(text: str) -> None:
    assert failure("json.decode(...)", text)[:2] == [True, "Internal"]


@pytest.mark.parametrize("value", ["nil", "1", "{}", "''", "('1'):rep(8 * 1024 * 1024 + 1)"])
def test_decode_refuses_arguments(value: str) -> None:
    assert failure(f"json.decode({value})")[:2] == [True, "Invalid"]


def test_huge_numbers_and_deep_texts_end_at_once() -> None:
    for text in ("9" * 1_000_000, "[" * 1_000_000, "-" + "1" * 5_000, "1." + "1" * 1_000_000):
        began = time.monotonic()
        try:
            decode_json(text.encode())
        except HostError as error:
            assert error.kind == "Internal"  # noqa: PT017
        assert time.monotonic() - began < 2


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_written_in_their_shortest_form(number: float) -> None:
    text = format_float(number)
    assert float(text) == number
    assert math.copysign(1, float(text)) == math.copysign(1, number)
    assert len(text.replace("e", "").replace("+", "")) <= 26
    assert ("e" in text) == (number != 0 and (abs(number) < 1e-6 or abs(number) >= 1e21))


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-(2.0**53), 2.0**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_values)
@settings(deadline=None)
def test_any_json_reader_reads_what_is_written(value: Any) -> None:
    text = encode_json(value)
    assert json.loads(text) == value
    assert decode_json(text.encode(), keeps_all=True) == value


PERSON = """{ type = "object", required = { "name" }, additionalProperties = false,
  properties = { name = { type = "string", minLength = 1 }, age = { type = "integer", minimum = 0 } } }"""


@pytest.mark.parametrize("data", ['{ name = "Ada" }', '{ name = "Ada", age = 3 }', '{ name = "Ada", age = 3.0 }'])
def test_validate_accepts(data: str) -> None:
    assert lua(f"local ok, err = json.validate({PERSON}, {data}) return {{ ok, err == nil }}") == [True, True]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{}", "'name' is a required property"),
        ("{ name = 1 }", "name: 1 is not of type 'string'"),
        ('{ name = "" }', "name: "),
        ('{ name = "Ada", age = -1 }', "age: -1 is less than the minimum"),
        ('{ name = "Ada", more = 1 }', "additional property 'more' is not allowed"),
        ("1", "is not of type 'object'"),
    ],
)
def test_validate_refuses(data: str, words: str) -> None:
    ok, kind, message = lua(
        f"local ok, err = json.validate({PERSON}, {data}) return {{ ok, err:kind(), err:message() }}"
    )
    assert (ok, kind) == (False, "Invalid")
    assert words in message


@pytest.mark.parametrize(
    "call",
    [
        "json.validate(nil, {})",
        "json.validate({}, nil)",
        "json.validate({ type = 'nothing' }, 1)",
        "json.validate('{', 1)",
        "json.validate(3, 1)",
        "json.validate({ 1, nil, 3 }, 1)",
        "json.validate({}, { 1, a = 2 })",
        "json.validate({ pattern = '(?=a)' }, 'x')",
        "json.validate({ ['$ref'] = 'http://127.0.0.1:1/schema' }, 1)",
        "json.validate({ ['$ref'] = '#/nowhere' }, 1)",
        "json.validate({ ['$ref'] = '#' }, 1)",
        "json.validate({ ['$schema'] = 'http://example.org' }, 1)",
        "json.validate({ items = { ['$schema'] = 'http://json-schema.org/draft-07/schema#' } }, {})",
        "json.validate({ unevaluatedProperties = false }, {})",
        "json.validate_string({}, 1)",
        "json.validate_string({}, nil)",
        "json.validate_string({}, '{')",
        "json.validate_string({ type = 'array' }, '{}')",
    ],
)
def test_all_errors_of_validation_are_invalid(call: str) -> None:
    assert lua(f"local ok, err = {call} return {{ ok, err:kind() }}") == [False, "Invalid"]


@pytest.mark.parametrize(
    "call",
    [
        "json.validate({}, 1)",
        'json.validate(true and \'{"type": ["string", "null"]}\', \'x\')',
        "json.validate({ type = 'object', properties = {} }, {})",
        "json.validate({ type = 'array' }, {})",
        "json.validate({ type = 'array', items = { type = 'integer' }, uniqueItems = true }, { 1, 2 })",
        "json.validate({ patternProperties = { ['^x'] = { minimum = 1 } }, additionalProperties = false }, { x1 = 1 })",
        "json.validate_string({ type = 'object' }, '{}')",
        "json.validate_string({ properties = { a = { type = 'null' } }, required = { 'a' } }, '{\"a\": null}')",
        "json.validate({ ['$schema'] = 'http://json-schema.org/draft-07/schema#', const = 1 }, 1)",
        "json.validate({ ['$defs'] = { n = { type = 'integer' } }, ['$ref'] = '#/$defs/n' }, 1)",
        "json.validate({ enum = { 1, 'a' } }, 1.0)",
    ],
)
def test_what_is_valid(call: str) -> None:
    assert lua(f"local ok, err = {call} return {{ ok, err and err:message() or '' }}") == [True, ""]


def _doubling(levels: int) -> dict[str, Any]:
    names = {
        f"n{level}": {"allOf": [{"$ref": f"#/$defs/n{level + 1}"}, {"$ref": f"#/$defs/n{level + 1}"}]}
        for level in range(levels)
    }
    return {"$defs": {**names, f"n{levels}": {}}, "$ref": "#/$defs/n0"}


@pytest.mark.parametrize(
    ("schema", "data", "words"),
    [
        (_doubling(40), 1, "too much work"),
        ({"anyOf": [{"type": "string"}] * 900}, {"k": "x" * 1_000_000}, "too much work"),
        ({"anyOf": [{"type": "string"}] * 3000}, 1, "at most 1000 parts"),
        ({"pattern": "(a+)+$"}, "a" * 100_000 + "b", "does not match"),
        ({"uniqueItems": True}, [[number] for number in range(50_000)], None),
        (
            {"items": {"enum": [str(number) for number in range(5_000)]}},
            [str(n) for n in range(50_000)],
            "too much work",
        ),
    ],
)
def test_hostile_schemas_end_soon(schema: Any, data: Any, words: str | None) -> None:
    """Doubling references, quoted megabytes, backtracking, quadratic comparison: each is bounded."""
    began = time.monotonic()
    mistake = validate(schema, data).mistake
    assert mistake is None if words is None else words in (mistake or "")
    assert time.monotonic() - began < 10


def test_validation_is_paid_for() -> None:
    with pytest.raises(StepLimitError):
        lua(
            "while true do json.validate({ anyOf = { { type = 'string' }, { type = 'integer' } } }, {}) end",
            limits=Limits(instructions=10_000_000),
        )
