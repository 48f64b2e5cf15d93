"""The Lua module yaml."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.core.lua.host import HostError
from orchestration.core.lua.hostlib.yaml_text import decode_yaml, encode_yaml
from tests.support.lua import run_in_both_modes


def lua(source: str, *args: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("yaml",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [x, 2.5, true]\n", {"a": 1, "b": ["x", 2.5, True]}),
        ("- 1\n- - 2\n", [1, [2]]),
        ("a: yes\nb: on\nc: 1:30\nd: 2024-01-02\n", {"a": "yes", "b": "on", "c": "1:30", "d": "2024-01-02"}),
        ("a: 0x10\nb: 0o17\nc: -5\nd: 1e3\ne: .5", {"a": 16, "b": 15, "c": -5, "d": 1000.0, "e": 0.5}),
        ("a: 9223372036854775808", {"a": 2.0**63}),
        ("a: null\nb: ~\nc:\nd: 1", {"d": 1}),
        ("1: a\ntrue: b\n1.5: c", {"1": "a", "true": "b", "1.5": "c"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("a: !!binary /w==", {"a": b"\xff"}),
        ("# nothing\n", []),
        ("{}", []),
        ('{"json": [1]}', {"json": [1]}),
    ],
)
def test_decode(text: str, value: Any) -> None:
    assert lua("local v, err = yaml.decode(...) assert(err == nil) return v", text) == value


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\t- x",
        "*nowhere",
        "a: 1\n--- \nb: 2",
        "!!python/object:os.system {}",
        "!own x",
        "just text",
        "5",
        "[" * 500 + "]" * 500,
        "? [1]\n: x",
        "a: 1\na: 2",
        "a: &a [*a]",
    ],
)
def test_decode_refuses(text: str) -> None:
    assert lua("local v, err = yaml.decode(...) return { v == nil, err:kind() }", text) == [True, "Internal"]


@pytest.mark.parametrize(
    "call", ["decode(nil)", "decode(5)", "decode('')", "encode(nil)", "encode('x')", "encode(errors.new('x'))"]
)
def test_wrong_arguments_are_invalid(call: str) -> None:
    assert lua(f"local v, err = yaml.{call} return {{ v == nil, err:kind() }}") == [True, "Invalid"]


def test_mistakes_have_their_place() -> None:
    assert "line 3" in lua("local _, err = yaml.decode('a: 1\\nb: [') return err:message()")


def test_encode() -> None:
    text = lua("return yaml.encode({ b = { 1, 2.0, 'yes' }, a = { c = 'x: y', d = true }, e = {} })")
    assert text == "a:\n  c: 'x: y'\n  d: true\nb:\n- 1\n- 2.0\n- 'yes'\ne: []\n"
    assert lua("local v, err = yaml.encode({ 1, nil, 3 }) return err:kind()") == "Internal"


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, min_size=1, max_size=4) | st.dictionaries(st.text(), inner, min_size=1, max_size=4),
    max_leaves=15,
)


def _without_null_members(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_null_members(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_null_members(item) for key, item in value.items() if item is not None} or []
    return value


@given(st.dictionaries(st.text(), _values, min_size=1, max_size=3))
@settings(deadline=None)
def test_there_and_back(value: Any) -> None:
    text = encode_yaml(value)
    assert decode_yaml(text.encode()) == _without_null_members(value)
    assert yaml.safe_load(text) == value


def test_unfolding_anchors_is_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    long = "a: &a " + "x" * 500_000 + "\nb: [" + ", ".join(["*a"] * 1000) + "]"
    began = time.monotonic()
    for text in ("\n".join(lines), long):
        with pytest.raises(HostError, match="too much data"):
            decode_yaml(text.encode())
    with pytest.raises(HostError, match="too large"):
        decode_yaml(b"x" * 2_000_000)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("opener", ["[", "{a: ", "- ", "? "])
def test_depth_is_refused_before_the_reader_in_c_follows_it(opener: str) -> None:
    """It has no bound of its own but the stack: 100,000 levels ended the whole OS process with SIGSEGV."""
    found = lua("local _, e = yaml.decode(string.rep(..., 100000)) return { e:kind(), e:message() }", opener)
    assert found == ["Internal", "yaml: more than 128 levels of nesting"]
