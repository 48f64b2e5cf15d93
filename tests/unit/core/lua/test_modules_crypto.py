"""The Lua module crypto."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from orchestration.core.machine import Mode
from orchestration.errors import StepLimitError
from orchestration.types import Limits
from tests.support.lua import START_MS, RecordingHost, run_in_both_modes, run_lua

NOW = START_MS // 1000


def lua(source: str, *args: Any, **options: Any) -> Any:
    return run_lua(source, *args, modules=("crypto",), **options)


def in_both(source: str, *args: Any) -> Any:
    """What needs no chance is the same in workflows and functions."""
    return run_in_both_modes(source, *args, modules=("crypto",))


def kind_of(call: str, *args: Any) -> Any:
    return in_both(f"local v, err = crypto.{call} return v == nil and err:kind() or 'no error'", *args)


def as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


@pytest.fixture(scope="module")
def rsa_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.mark.parametrize("mode", list(Mode))
def test_chance(mode: Mode) -> None:
    found = lua(
        "return { #crypto.random.bytes(1), #crypto.random.bytes(1048576), crypto.random.string(64),"
        " crypto.random.string(20, 'ab'), #crypto.random.uuid(), #crypto.random.string(10000, 'x') }",
        mode=mode,
        host=RecordingHost(),
    )
    assert found[:2] == [1, 1048576]
    assert len(found[2]) == 64
    assert found[2].isalnum()
    assert set(found[3]) <= set("ab")
    assert found[4:] == [36, 10000]


def test_a_replay_draws_the_same() -> None:
    source = "return { crypto.random.string(9), crypto.random.uuid(), crypto.encrypt.aes('x', ('k'):rep(16)) }"
    assert lua(source) == lua(source)
    assert lua(source, seed=b"another seed    ") != lua(source)


def test_no_character_is_favoured() -> None:
    text = lua("return crypto.random.string(60000, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ')")
    counts = [text.count(letter) for letter in set(text)]
    assert len(counts) == 52
    assert min(counts) > 900
    assert max(counts) < 1420


@pytest.mark.parametrize(
    "call",
    [
        "random.bytes(0)",
        "random.bytes(-1)",
        "random.bytes(1048577)",
        "random.bytes('x')",
        "random.bytes(1.5)",
        "random.string(0)",
        "random.string(5, '')",
        "random.string(5, 7)",
        "random.string(5, ('x'):rep(257))",
        "hmac.sha256('', 'x')",
        "hmac.sha256(nil, 'x')",
        "hmac.sha512('k', nil)",
        "encrypt.aes('x', 'short')",
        "encrypt.aes(nil, ('k'):rep(16))",
        "encrypt.aes('x', ('k'):rep(16), 5)",
        "encrypt.chacha20('x', ('k'):rep(16))",
        "decrypt.aes('x', ('k'):rep(16))",
        "decrypt.aes(('x'):rep(40), 'short')",
        "decrypt.chacha20(('x'):rep(27), ('k'):rep(32))",
        "jwt.encode('x', 'key')",
        "jwt.encode({}, '')",
        "jwt.encode({}, nil)",
        "jwt.encode({}, 'key', 'none')",
        "jwt.encode({}, 'no pem', 'RS256')",
        "jwt.encode({}, '-----BEGIN PUBLIC KEY-----')",
        "pbkdf2('', 'salt', 1, 32)",
        "pbkdf2('p', '', 1, 32)",
        "pbkdf2('p', 'salt', 0, 32)",
        "pbkdf2('p', 'salt', 10000001, 32)",
        "pbkdf2('p', 'salt', 10000000, 32)",
        "pbkdf2('p', 'salt', 1, 0)",
        "pbkdf2('p', 'salt', 1, 32, 'md5')",
        "pbkdf2('p', 'salt', 1, math.maxinteger)",
        "pbkdf2(1, 'salt', 1, 32)",
    ],
)
def test_invalid(call: str) -> None:
    assert kind_of(call) == "Invalid"


def test_hmac_takes_the_key_first() -> None:
    found = in_both("return { crypto.hmac.sha256('key', 'data'), crypto.hmac.sha512('key', '') }")
    assert found == [
        hmac.new(b"key", b"data", "sha256").hexdigest(),
        hmac.new(b"key", b"", "sha512").hexdigest(),
    ]


@pytest.mark.parametrize(("cipher", "size"), [("aes", 16), ("aes", 24), ("aes", 32), ("chacha20", 32)])
@pytest.mark.parametrize("aad", [None, "more"])
def test_sealed_data_is_nonce_ciphertext_tag(cipher: str, size: int, aad: str | None) -> None:
    key = bytes(range(200, 200 + size))
    sealed = as_bytes(lua("local c, key, aad = ... return crypto.encrypt[c]('secret ñ', key, aad)", cipher, key, aad))
    assert len(sealed) == 12 + len("secret ñ".encode()) + 16
    box = AESGCM(key) if cipher == "aes" else ChaCha20Poly1305(key)
    assert box.decrypt(sealed[:12], sealed[12:], aad.encode() if aad else None).decode() == "secret ñ"
    found = lua("local c, key, aad, data = ... return crypto.decrypt[c](data, key, aad)", cipher, key, aad, sealed)
    assert found == "secret ñ"


@pytest.mark.parametrize("cipher", ["aes", "chacha20"])
def test_wrong_key_aad_or_damage_is_internal(cipher: str) -> None:
    found = in_both(
        """
      local c = ...
      local key = ("k"):rep(32)
      local sealed = crypto.encrypt[c]("data", key, "aad")
      local kinds = {}
      for i, case in ipairs { { sealed, ("x"):rep(32), "aad" }, { sealed, key, "other" }, { sealed, key },
                              { sealed:sub(1, -2) .. "?", key, "aad" } } do
        local v, err = crypto.decrypt[c](case[1], case[2], case[3])
        kinds[i] = tostring(v) .. err:kind()
      end
      return kinds""",
        cipher,
    )
    assert found == ["nilInternal"] * 4


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_tokens_are_those_of_everybody(algorithm: str) -> None:
    token = in_both(
        f"return crypto.jwt.encode({{ sub = 'ada', exp = {NOW + 60}, _header = {{ kid = 'k1' }} }}, 'key', ...)",
        algorithm,
    )
    head, body, signature = token.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body)]
    assert decoded == [{"alg": algorithm, "kid": "k1", "typ": "JWT"}, {"exp": NOW + 60, "sub": "ada"}]
    expected = hmac.new(b"key", f"{head}.{body}".encode(), "sha" + algorithm[2:]).digest()
    assert base64.urlsafe_b64encode(expected).rstrip(b"=").decode() == signature
    assert in_both("local t, a = ... return crypto.jwt.verify(t, 'key', a)", token, algorithm) == decoded[1]


def test_rsa_tokens(rsa_pair: tuple[str, str]) -> None:
    private, public = rsa_pair
    found = in_both(
        """local private, public = ...
      local token = assert(crypto.jwt.encode({ sub = "ada" }, private, "RS256"))
      local function kind(...)
        local _, err = crypto.jwt.verify(...)
        return err:kind()
      end
      return { crypto.jwt.verify(token, public, "RS256", false), kind(token, public, "HS256", false),
               kind(token .. "x", public, "RS256", false), kind(token, "junk", "RS256", false) }""",
        private,
        public,
    )
    assert found == [{"sub": "ada"}, "Internal", "Internal", "Internal"]


def _unsigned() -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'sub': 'eve', 'exp': NOW + 60})}."


@pytest.mark.parametrize(
    "call",
    [
        "verify(crypto.jwt.encode({ sub = 1 }, 'key'), 'key')",
        f"verify(crypto.jwt.encode({{ exp = {NOW} }}, 'key'), 'key')",
        f"verify(crypto.jwt.encode({{ exp = {NOW - 1} }}, 'key'), 'key', nil, false)",
        f"verify(crypto.jwt.encode({{ exp = {NOW + 9}, nbf = {NOW + 5} }}, 'key'), 'key')",
        f"verify(crypto.jwt.encode({{ exp = {NOW + 9} }}, 'key'), 'other')",
        f"verify(crypto.jwt.encode({{ exp = {NOW + 9} }}, 'key'), 'key', 'HS512')",
        "verify(crypto.jwt.encode({ exp = 'soon' }, 'key'), 'key')",
        "verify('a.b', 'key')",
        "verify('a.b.c', 'key')",
        "verify('', 'key')",
        "verify(nil, 'key')",
        "verify('a.b.c', nil)",
        "verify('a.b.c', 'key', 'none')",
        f"verify('{_unsigned()}', 'key')",
        "verify(('x'):rep(100000), 'key')",
    ],
)
def test_all_failures_of_verification_are_internal(call: str) -> None:
    assert kind_of(f"jwt.{call}") == "Internal"


def test_a_token_without_expiry_is_accepted_when_asked_for() -> None:
    assert in_both("return crypto.jwt.verify(crypto.jwt.encode({ a = 1 }, 'k'), 'k', 'HS256', false)") == {"a": 1}


def test_pbkdf2() -> None:
    found = in_both("return { crypto.pbkdf2('p', 's', 1000, 20), crypto.pbkdf2('p', 's', 10, 100, 'sha512') }")
    assert [as_bytes(value) for value in found] == [
        hashlib.pbkdf2_hmac("sha256", b"p", b"s", 1000, 20),
        hashlib.pbkdf2_hmac("sha512", b"p", b"s", 10, 100),
    ]


def test_derivation_is_bounded_in_one_call_and_paid_for_in_many() -> None:
    began = time.monotonic()
    with pytest.raises(StepLimitError):
        lua("while true do crypto.pbkdf2('p', 's', 200000, 32) end", limits=Limits(instructions=30_000_000))
    assert time.monotonic() - began < 5


def test_constant_time_compare() -> None:
    found = in_both(
        "local f = crypto.constant_time_compare"
        " return { f('a', 'a'), f('a', 'b'), f('', 'a'), f('', ''), pcall(f, 1, 'a') }"
    )
    assert found[:5] == [True, False, False, True, False]
    assert "bad argument #1 to 'constant_time_compare'" in found[5]
