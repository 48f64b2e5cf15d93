"""The token of an activity attempt: one opaque word that names it from anywhere."""

from __future__ import annotations

import base64
import binascii

import msgpack

from orchestration.errors import ActivityTokenError
from orchestration.store.attempts import AttemptId
from orchestration.types import RunId

__all__ = ["decode_token", "encode_token"]

_VERSION = 1


def encode_token(namespace: str, attempt: AttemptId) -> str:
    """Name an attempt in one opaque word that is good in URLs."""
    a = attempt
    packed: bytes = msgpack.packb([_VERSION, namespace, a.run_id, a.seq, a.attempt, a.token])
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_token(token: str) -> tuple[str, AttemptId]:
    """Read a token.

    Returns:
        Namespace and attempt.

    Raises:
        ActivityTokenError: It is none.
    """
    try:
        text = token.strip()
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, namespace, run_id, seq, attempt, secret = msgpack.unpackb(packed)
        types = [type(part) for part in (version, namespace, run_id, seq, attempt, secret)]
        if version != _VERSION or types != [int, str, str, int, int, str]:
            raise ValueError("not of this form")
    except (AttributeError, TypeError, ValueError, binascii.Error, msgpack.UnpackException) as error:
        shown = f"{token!r:.60}"
        raise ActivityTokenError(f"{shown} is no token of an activity", "Invalid", False) from error
    return namespace, AttemptId(RunId(run_id), seq, attempt, secret)
