"""The Lua module uuid."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from orchestration.core.machine import Mode
from tests.support.lua import START_MS, RecordingHost, run_in_both_modes, run_lua

NAMESPACE = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


def lua(source: str, *args: Any, **options: Any) -> Any:
    return run_lua(source, *args, modules=("uuid", "time"), **options)


def in_both(source: str, *args: Any) -> Any:
    """What needs no chance is the same in workflows and functions."""
    return run_in_both_modes(source, *args, modules=("uuid", "time"))


@pytest.mark.parametrize("version", [1, 4, 7])
@pytest.mark.parametrize("mode", list(Mode))
def test_made_ones_have_their_version(version: int, mode: Mode) -> None:
    text = lua(f"return uuid.v{version}()", mode=mode, host=RecordingHost())
    made = uuid.UUID(text)
    assert str(made) == text
    assert made.variant == uuid.RFC_4122
    assert made.bytes[6] >> 4 == version


def test_a_replay_makes_the_same() -> None:
    source = "return { uuid.v1(), uuid.v4(), uuid.v7() }"
    assert lua(source) == lua(source)
    assert lua(source, seed=b"another seed    ") != lua(source)


@pytest.mark.parametrize("version", [1, 4, 7])
def test_many_are_all_different(version: int) -> None:
    found = lua(f"local t = {{}} for i = 1, 5000 do t[i] = uuid.v{version}() end return t")
    assert len(set(found)) == 5000


def test_v7_are_in_order_even_within_a_millisecond() -> None:
    found = lua("local t = {} for i = 1, 5000 do t[i] = uuid.v7() end time.sleep('1s') t[5001] = uuid.v7() return t")
    assert found == sorted(found)


@pytest.mark.parametrize("name", ["python.org", "", "ñ"])
def test_named_ones_are_those_of_everybody(name: str) -> None:
    space = uuid.UUID(NAMESPACE)
    found = in_both("return { uuid.v3(...), uuid.v5(...) }", NAMESPACE, name)
    assert found == [str(uuid.uuid3(space, name)), str(uuid.uuid5(space, name))]


@pytest.mark.parametrize("arguments", ["nil, 'a'", "'x', 'a'", f"'{NAMESPACE}', nil", f"'{NAMESPACE}', 1", "{}, {}"])
def test_named_ones_refuse_bad_arguments(arguments: str) -> None:
    found = in_both(f"""local a, one = uuid.v3({arguments}) local b, two = uuid.v5({arguments})
      return {{ a == nil, one:kind(), b == nil, two:kind() }}""")
    assert found == [True, "Invalid", True, "Invalid"]


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        (f"'{NAMESPACE}'", True),
        (f"'{NAMESPACE.upper()}'", True),
        (f"'urn:uuid:{NAMESPACE}'", True),
        (f"'{{{NAMESPACE}}}'", True),
        (f"'{NAMESPACE.replace('-', '')}'", True),
        (f"'{NAMESPACE}0'", False),
        ("'6ba7b8109-dad-11d1-80b4-00c04fd430c8'", False),
        ("'6ba7b810-9dad-11d1-80b4-00c04fd430cg'", False),
        ("''", False),
        ("nil", False),
        ("1", False),
        ("{}", False),
    ],
)
def test_validate_never_fails(value: str, is_valid: bool) -> None:
    assert in_both(f"return uuid.validate({value})") is is_valid


@pytest.mark.parametrize(
    ("text", "version", "variant"),
    [
        (NAMESPACE, 1, "RFC4122"),
        ("6fa459ea-ee8a-3ca4-894e-db77e160355e", 3, "RFC4122"),
        ("00000000-0000-4000-0000-000000000000", 4, "NCS"),
        ("00000000-0000-4000-c000-000000000000", 4, "Microsoft"),
        ("00000000-0000-4000-e000-000000000000", 4, "Invalid"),
    ],
)
def test_version_and_variant(text: str, version: int, variant: str) -> None:
    assert in_both("return { uuid.version(...), uuid.variant(...) }", text) == [version, variant]


def test_parse() -> None:
    found = lua(
        "return { uuid.parse(uuid.v1()), uuid.parse(uuid.v4()), uuid.parse(uuid.v7()), uuid.parse(...) }", NAMESPACE
    )
    now = START_MS // 1000
    assert found[0]["timestamp"] == now
    assert len(found[0]["node"]) == 12
    assert found[1] == {"version": 4, "variant": "RFC4122"}
    assert found[2] == {"version": 7, "variant": "RFC4122", "timestamp": now}
    assert found[3] == {"version": 1, "variant": "RFC4122", "node": "00c04fd430c8", "timestamp": 886630433}


def test_format() -> None:
    found = in_both(
        "local u = ... local f = uuid.format return { f(u), f(u, 'standard'), f(u, 'simple'), f(u, 'urn') }",
        NAMESPACE.upper(),
    )
    assert found == [NAMESPACE, NAMESPACE, NAMESPACE.replace("-", ""), f"urn:uuid:{NAMESPACE}"]


@pytest.mark.parametrize(
    "call", ["version('x')", "variant(nil)", "parse(1)", "format('x')", f"format('{NAMESPACE}', 'x')"]
)
def test_reading_refuses_with_invalid(call: str) -> None:
    assert in_both(f"local v, err = uuid.{call} return {{ v == nil, err:kind() }}") == [True, "Invalid"]
