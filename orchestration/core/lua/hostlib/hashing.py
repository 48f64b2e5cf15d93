"""Digests and base64 for the Lua modules ``hash``, ``uuid``, ``crypto`` and ``base64``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable

from orchestration.core.lua.host import HostError, host_function
from orchestration.core.lua.hostlib.values import Value, as_bytes

__all__ = ["base64_decode", "base64_encode", "compare", "digest", "mac", "pbkdf2"]

_ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_PBKDF2_MOST_ITERATIONS = 10_000_000
_PBKDF2_MOST_WORK = 1_500_000
"""Iterations times output blocks that one call may take: about a second of one core."""


def _named(algorithm: Value) -> str:
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise HostError("Invalid", f"unknown hash {algorithm!r}")
    return algorithm


@host_function("hash.digest")
def digest(algorithm: Value, data: Value, raw: Value = False) -> Value:
    """Hash `data`; lower-case hexadecimal, or the bytes themselves when `raw`."""
    state = hashlib.new(_named(algorithm), as_bytes(data), usedforsecurity=False)
    return state.digest() if raw else state.hexdigest()


@host_function("hash.mac")
def mac(algorithm: Value, data: Value, secret: Value, raw: Value = False) -> Value:
    """Compute the HMAC of `data`; lower-case hexadecimal, or the bytes themselves when `raw`."""
    name = _named(algorithm)

    def start(block: bytes = b"") -> hashlib._Hash:
        return hashlib.new(name, block, usedforsecurity=False)

    factory: Callable[..., hashlib._Hash] = start
    state = hmac.new(as_bytes(secret), as_bytes(data), factory)
    return state.digest() if raw else state.hexdigest()


@host_function("crypto.compare")
def compare(left: Value, right: Value) -> Value:
    """Tell whether two strings are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(as_bytes(left), as_bytes(right))


@host_function("crypto.pbkdf2")
def pbkdf2(password: Value, salt: Value, iterations: Value, length: Value, algorithm: Value = "sha256") -> Value:
    """Derive `length` bytes from a password.

    Raises:
        HostError: ``Invalid`` for anything out of range, and for more work than one call may be.

    Source: RFC 8018, section 5.2.
    """
    if algorithm not in ("sha256", "sha512"):
        raise HostError("Invalid", f"pbkdf2: unsupported hash {algorithm!r}: use sha256 or sha512")
    if not isinstance(iterations, int) or not 1 <= iterations <= _PBKDF2_MOST_ITERATIONS:
        raise HostError("Invalid", f"pbkdf2: iterations must be 1 to {_PBKDF2_MOST_ITERATIONS}")
    if not isinstance(length, int) or length <= 0:
        raise HostError("Invalid", "pbkdf2: length must be positive")
    key, seasoning = as_bytes(password), as_bytes(salt)
    if not key or not seasoning:
        raise HostError("Invalid", "pbkdf2: password and salt must not be empty")
    blocks = -(-length // hashlib.new(str(algorithm)).digest_size)
    if iterations * blocks > _PBKDF2_MOST_WORK:
        raise HostError(
            "Invalid",
            f"pbkdf2: {iterations} iterations for {length} bytes is more work than one call may be "
            f"(iterations x blocks <= {_PBKDF2_MOST_WORK})",
        )
    return hashlib.pbkdf2_hmac(str(algorithm), key, seasoning, iterations, length)


@host_function("base64.encode")
def base64_encode(data: Value) -> Value:
    """Write bytes in the standard alphabet, padded, on one line."""
    return base64.b64encode(as_bytes(data)).decode()


@host_function("base64.decode")
def base64_decode(text: Value) -> Value:
    """Read the standard alphabet with padding; line ends are skipped, anything else is refused.

    Source: ``base64.StdEncoding`` of the Go library.
    """
    compact = as_bytes(text).replace(b"\r", b"").replace(b"\n", b"")
    if len(compact) % 4 or not _BASE64.fullmatch(compact):
        raise HostError("Invalid", "illegal base64 data")
    try:
        return binascii.a2b_base64(compact)
    except binascii.Error as error:
        raise HostError("Invalid", f"illegal base64 data: {error}") from error
