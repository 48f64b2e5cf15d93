"""The Lua module payload."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lua import run_in_both_modes


def lua(source: str, *args: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("payload", "json"))


def test_formats() -> None:
    found = lua(
        "local f = payload.format return { f.JSON, f.YAML, f.STRING, f.BYTES, f.MSGPACK, f.LUA, f.GOLANG, f.ERROR }"
    )
    assert found == [
        "json/plain",
        "yaml/plain",
        "text/plain",
        "application/octet-stream",
        "application/msgpack",
        "lua/any",
        "golang/any",
        "golang/error",
    ]


def test_a_new_one_holds_its_value() -> None:
    found = lua("""local t = { 1 }
      local p, e = payload.new(t), payload.new(errors.new("boom"))
      return { p:get_format(), p:data() == t, p:unmarshal() == t, tostring(p), type(p), e:get_format(),
               tostring(e:data()), payload.new(nil):data() == nil }""")
    assert found == [
        "lua/any", True, True, "payload{format=lua/any}", "userdata", "golang/error", "boom", True,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["JSON", "YAML", "MSGPACK", "LUA", "GOLANG"])
def test_transcoded_ones_give_the_value_back(name: str) -> None:
    found = lua(
        """local format = payload.format[(...)]
      local p = assert(payload.new({ a = { 1, 2.5, "x" } }):transcode(format))
      return { p:get_format() == format, (p:data()) }""",
        name,
    )
    assert found == [True, {"a": [1, 2.5, "x"]}]


def test_texts() -> None:
    found = lua("""local f = payload.format
      return { (payload.new(5):transcode(f.STRING):data()), (payload.new("x"):transcode(f.BYTES):data()),
               (payload.new({ 1 }):transcode(f.JSON):transcode(f.YAML):data())[1] }""")
    assert found == ["5", "x", 1]


@pytest.mark.parametrize(
    "call",
    [
        "payload.new({}):transcode(payload.format.STRING)",
        "payload.new(1):transcode('nothing/known')",
        "payload.new({ 1, nil, 3 }):transcode(payload.format.JSON)",
        "payload.new(1):transcode(payload.format.ERROR)",
    ],
)
def test_what_cannot_be_transcoded_is_internal(call: str) -> None:
    assert lua(f"local v, err = {call} return {{ v == nil, err:kind() }}") == [True, "Internal"]


def test_one_that_is_sent_becomes_nil() -> None:
    assert lua("return { p = payload.new(1), n = 1 }") == {"p": None, "n": 1}
