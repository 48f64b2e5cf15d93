"""Authenticated encryption for the Lua module ``crypto``.

The nonce comes from the Lua side, where it is drawn from the run's own random numbers: replays give the same bytes.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from orchestration.core.lua.host import HostError, host_function
from orchestration.core.lua.hostlib.values import Value, as_bytes

__all__ = ["decrypt", "encrypt"]

_NONCE_BYTES = 12
_TAG_BYTES = 16


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes: ...


def _cipher(name: str, key: bytes) -> _Cipher:
    if name == "aes":
        if len(key) not in (16, 24, 32):
            raise HostError("Invalid", f"aes: the key must be 16, 24 or 32 bytes, it has {len(key)}")
        return AESGCM(key)
    if len(key) != 32:
        raise HostError("Invalid", f"chacha20: the key must be 32 bytes, it has {len(key)}")
    return ChaCha20Poly1305(key)


@host_function("crypto.encrypt")
def encrypt(name: str, data: Value, key: Value, nonce: Value, aad: Value = None) -> Value:
    """Encrypt with ``aes`` (GCM) or ``chacha20`` (Poly1305): nonce, then ciphertext, then tag."""
    cipher = _cipher(name, as_bytes(key))
    start = as_bytes(nonce)
    return start + cipher.encrypt(start, as_bytes(data), None if aad is None else as_bytes(aad))


@host_function("crypto.decrypt")
def decrypt(name: str, data: Value, key: Value, aad: Value = None) -> Value:
    """Undo `encrypt`.

    Raises:
        HostError: ``Invalid`` for a key or data of the wrong size, ``Internal`` when the tag does not fit.
    """
    cipher = _cipher(name, as_bytes(key))
    sealed = as_bytes(data)
    if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
        raise HostError("Invalid", f"{name}: the data is too short to be encrypted data")
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None if aad is None else as_bytes(aad))
    except InvalidTag:
        raise HostError("Internal", f"{name}: decryption failed: wrong key, wrong aad or damaged data") from None
