"""The Lua modules hash and base64."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from tests.support.lua import LuaFailure, run_in_both_modes

DATA = ["", "abc", "ñandú", b"\xff\x00\xfe", "x" * 100_000]


def lua(source: str, *args: Any) -> Any:
    return run_in_both_modes(source, *args, modules=("hash", "base64"))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
def test_digests_are_those_of_hashlib(name: str, data: str | bytes) -> None:
    raw = data.encode() if isinstance(data, str) else data
    found = lua("local name, data = ... return { hash[name](data), hash[name](data, true) }", name, data)
    expected = hashlib.new(name, raw, usedforsecurity=False)
    assert found[0] == expected.hexdigest()
    assert (found[1].encode() if isinstance(found[1], str) else found[1]) == expected.digest()


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
def test_macs_take_the_data_first(name: str, data: str | bytes) -> None:
    raw = data.encode() if isinstance(data, str) else data
    found = lua("local name, data = ... return hash['hmac_' .. name](data, 'secret')", name, data)
    assert found == hmac.new(b"secret", raw, name).hexdigest()


def test_a_raw_mac_is_bytes() -> None:
    assert lua("return #hash.hmac_sha512('d', 'k', true)") == 64


def test_success_has_no_second_value() -> None:
    assert lua("return select('#', hash.md5('a')) + select('#', base64.encode('a'))") == 2


@pytest.mark.parametrize(
    ("data", "fnv32", "fnv64"),
    [
        ("", 0x811C9DC5, 0xCBF29CE484222325),
        ("a", 0xE40C292C, 0xAF63DC4C8601EC8C),
        ("foobar", 0xBF9CF968, 0x85944171F73967E8),
    ],
)
def test_fnv_is_fnv_1a_and_wraps_around(data: str, fnv32: int, fnv64: int) -> None:
    signed = fnv64 - 2**64 if fnv64 >= 2**63 else fnv64
    assert lua("return { hash.fnv32(...), hash.fnv64(...) }", data) == [fnv32, signed]


@pytest.mark.parametrize("value", ["1", "nil", "{}", "true"])
def test_only_strings_are_hashed(value: str) -> None:
    found = lua(f"""
      local kinds = {{}}
      for _, name in ipairs {{ "md5", "sha1", "sha256", "sha512", "fnv32", "fnv64" }} do
        local sum, err = hash[name]({value})
        kinds[#kinds + 1] = tostring(sum) .. err:kind() .. tostring(err:retryable())
      end
      local _, one = hash.hmac_md5({value}, "k")
      local _, two = hash.hmac_md5("d", {value})
      return {{ kinds, one:kind(), two:kind() }}""")
    assert found == [["nilInvalidfalse"] * 6, "Invalid", "Invalid"]


def test_the_module_is_read_only() -> None:
    with pytest.raises(LuaFailure, match="read-only"):
        lua("hash.md5 = nil")


@pytest.mark.parametrize("data", DATA)
def test_base64_there_and_back(data: str | bytes) -> None:
    raw = data.encode() if isinstance(data, str) else data
    found = lua("local text = base64.encode(...) return { text, base64.decode(text) }", data)
    assert found == [base64.b64encode(raw).decode(), data]


@pytest.mark.parametrize("text", ["a", "YQ", "YQ=", "Y===", "YQ==YQ==", "Y Q=", "Y-_=", "=", "YWJj="])
def test_base64_refuses_what_is_not_padded_standard_alphabet(text: str) -> None:
    assert lua("local v, err = base64.decode(...) return { v == nil, err:kind() }", text) == [True, "Invalid"]


def test_base64_skips_line_ends() -> None:
    assert lua("return base64.decode('YW\\r\\nJj\\n')") == "abc"


def test_base64_takes_strings_only() -> None:
    found = lua("local _, a = base64.encode(1) local _, b = base64.decode(nil) return { a:kind(), b:kind() }")
    assert found == ["Invalid", "Invalid"]
