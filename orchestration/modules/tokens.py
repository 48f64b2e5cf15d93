"""Token stores: opaque texts that stand for an actor and a scope until they end or are revoked.

A token is random and is told once; the store has a digest of it, so whoever reads the store can use none. With a
``token_key`` the digests are keyed and what is stored is signed: whoever writes to the store can make none and change
none either.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestration.core import payload
from orchestration.core.durations import parse_duration_ms
from orchestration.core.lua.host import HostError
from orchestration.modules import store
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import require
from orchestration.registry.kinds.security import TokenStore

__all__ = ["create", "open_store", "revoke", "validate"]

_MOST_TOKEN_BYTES: Final = 4_096
_LONGEST_MS: Final = 100 * 366 * 86_400_000
_SEPARATOR: Final = b"\0"


def open_store(caller: Caller, store_id: str) -> TokenStore:
    """The entry of a token store.

    Raises:
        HostError: ``Invalid``, ``PermissionDenied`` or ``NotFound``.
    """
    if not store_id:
        raise HostError("Invalid", "token store ID required")
    require(caller, "security.token_store.get", store_id)
    return _entry(caller, store_id)


def create(
    caller: Caller, store_id: str, actor: Mapping[str, Any], scope: Sequence[str], *, expiration: Any,
    meta: Mapping[str, Any],
) -> str:  # fmt: skip
    """Make a token.

    Args:
        caller: Who asks.
        store_id: Of the token store.
        actor: Whom it stands for.
        scope: Ids of the policies.
        expiration: Milliseconds, or a duration as text; None: the store's default.
        meta: Kept with it.

    Raises:
        HostError: It is not permitted, the expiration is none, or the store refuses it.
    """
    require(caller, "security.token.create", store_id)
    entry = _entry(caller, store_id)
    lasts_ms = entry.default_expiration if expiration is None else _milliseconds(expiration)
    token = base64.urlsafe_b64encode(secrets.token_bytes(entry.token_length)).rstrip(b"=")
    digest = _digest(entry, token)
    record = payload.encode(
        {
            "actor": dict(actor), "scope": list(scope), "meta": dict(meta),
            "ends_ms": caller.runtime.redis_now_ms() + lasts_ms,
        }
    )  # fmt: skip
    value = {"record": record, "mac": _mac(entry, digest, record)}
    store.put(caller, entry.store, digest, value, ttl_ms=lasts_ms)
    return token.decode()


def validate(caller: Caller, store_id: str, token: str | bytes) -> dict[str, Any]:
    """The actor and the scope that a token stands for.

    Raises:
        HostError: ``Invalid``: it is none, has ended or was revoked; which of these is not told.
    """
    require(caller, "security.token.validate", store_id)
    entry = _entry(caller, store_id)
    digest = _digest(entry, _bytes(token))
    value = store.read(caller, entry.store, digest)
    record, mac = (value.get("record"), value.get("mac")) if isinstance(value, Mapping) else (None, None)
    if not isinstance(record, bytes) or not isinstance(mac, bytes):
        raise _none()
    if not hmac.compare_digest(mac, _mac(entry, digest, record)):
        raise _none()
    found = payload.decode(record)
    if found["ends_ms"] <= caller.runtime.redis_now_ms():
        raise _none()
    return {"actor": found["actor"], "scope": found["scope"]}


def revoke(caller: Caller, store_id: str, token: str | bytes) -> bool:
    """Make a token worth nothing; whether it was there."""
    require(caller, "security.token.revoke", store_id)
    entry = _entry(caller, store_id)
    return store.delete(caller, entry.store, _digest(entry, _bytes(token)))


def _entry(caller: Caller, store_id: str) -> TokenStore:
    entry = caller.runtime.registry.find(store_id)
    if not isinstance(entry, TokenStore):
        raise HostError("NotFound", f"there is no token store {store_id}")
    return entry


def _digest(entry: TokenStore, token: bytes) -> bytes:
    """What a token is kept under: of its own token store alone, whatever others keep theirs in the same store."""
    text = b"token" + _SEPARATOR + entry.id.encode() + _SEPARATOR + token
    if entry.token_key:
        found = hmac.new(entry.token_key.encode(), text, hashlib.sha256).hexdigest()
    else:
        found = hashlib.sha256(text).hexdigest()
    return f"token/{found}".encode()


def _mac(entry: TokenStore, digest: bytes, record: bytes) -> bytes:
    """The signature of what is kept; of a store without a key it says only that nothing was cut off."""
    return hmac.new(entry.token_key.encode(), b"record" + _SEPARATOR + digest + record, hashlib.sha256).digest()


def _milliseconds(expiration: Any) -> int:
    try:
        found = parse_duration_ms(expiration)
    except ValueError as error:
        raise HostError("Invalid", f"expiration: {error}") from None
    if not 0 < found <= _LONGEST_MS:
        raise HostError("Invalid", "expiration must be more than 0")
    return found


def _bytes(token: str | bytes) -> bytes:
    found = token if isinstance(token, bytes) else token.encode()
    if not 0 < len(found) <= _MOST_TOKEN_BYTES:
        raise _none()
    return found


def _none() -> HostError:
    return HostError("Invalid", "the token is not valid")
