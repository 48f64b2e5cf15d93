"""JSON Web Tokens for the Lua module ``crypto``: HS256, HS384, HS512 and RS256.

Written here and not taken from PyJWT, because the time that a token is checked against must be the workflow's: a
replay has to come to the same answer.

Source: RFC 7515, RFC 7519.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from orchestration.core.lua.host import HostError, host_function
from orchestration.core.lua.hostlib.json_text import decode_json, encode_json
from orchestration.core.lua.hostlib.values import Value, as_bytes, limited

__all__ = ["jwt_encode", "jwt_verify"]

_MOST_TOKEN_BYTES = 64 * 1024
_MOST_KEY_BYTES = 16 * 1024
_MOST_RSA_BITS = 8192
_HMAC = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*")


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unb64(data: bytes) -> bytes:
    if not _BASE64URL.fullmatch(data):
        raise HostError("Internal", "jwt: the token is malformed")
    try:
        return base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))
    except (binascii.Error, ValueError) as error:
        raise HostError("Internal", "jwt: the token is malformed") from error


def _hmac_key(key: bytes, kind: str) -> bytes:
    if not key:
        raise HostError(kind, "jwt: the key must not be empty")
    if b"-----BEGIN" in key:
        # A public key used as an HMAC secret is the classic way to forge a token.
        raise HostError(kind, "jwt: a PEM key cannot be the secret of an HMAC algorithm")
    return key


def _private_key(pem: bytes) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HostError("Invalid", "jwt: the key is no RSA private key in PEM form") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size > _MOST_RSA_BITS:
        raise HostError("Invalid", f"jwt: the key is no RSA private key of at most {_MOST_RSA_BITS} bits")
    return key


def _public_key(pem: bytes) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        try:
            key = _private_key(pem).public_key()
        except HostError as error:
            raise HostError("Internal", "jwt: the key is no RSA public key in PEM form") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size > _MOST_RSA_BITS:
        raise HostError("Internal", f"jwt: the key is no RSA public key of at most {_MOST_RSA_BITS} bits")
    return key


def _is_signed(algorithm: str, key: bytes, signed: bytes, signature: bytes) -> bool:
    if algorithm in _HMAC:
        expected = hmac.new(_hmac_key(key, "Internal"), signed, _HMAC[algorithm]).digest()
        return hmac.compare_digest(expected, signature)
    try:
        _public_key(key).verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _check_times(claims: dict[str, Value], *, require_exp: bool, now: float) -> None:
    expiry, not_before = claims.get("exp"), claims.get("nbf")
    if expiry is None and require_exp:
        raise HostError("Internal", "jwt: the token has no exp claim")
    for name, value in (("exp", expiry), ("nbf", not_before)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise HostError("Internal", f"jwt: the {name} claim is not a number")
    if isinstance(expiry, int | float) and now >= expiry:
        raise HostError("Internal", "jwt: the token has expired")
    if isinstance(not_before, int | float) and now < not_before:
        raise HostError("Internal", "jwt: the token is not valid yet")


@host_function("crypto.jwt_encode")
def jwt_encode(claims: Value, key: Value, algorithm: Value = "HS256") -> Value:
    """Sign claims; what stands under ``_header`` goes into the token's header.

    Raises:
        HostError: ``Invalid`` for claims that are no table, an unknown algorithm or a key that does not fit.
    """
    if claims == []:
        claims = {}
    if not isinstance(claims, dict):
        raise HostError("Invalid", "jwt: the claims must be a table with string keys")
    secret = limited(as_bytes(key), _MOST_KEY_BYTES, "jwt: the key")
    extra = claims.get("_header")
    header: dict[str, Value] = {"typ": "JWT", **(extra if isinstance(extra, dict) else {}), "alg": algorithm}
    body = encode_json({name: value for name, value in claims.items() if name != "_header"})
    signed = _b64(encode_json(dict(sorted(header.items()))).encode()) + b"." + _b64(body.encode())
    if algorithm in _HMAC:
        signature = hmac.new(_hmac_key(secret, "Invalid"), signed, _HMAC[str(algorithm)]).digest()
    elif algorithm == "RS256":
        signature = _private_key(secret).sign(signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        raise HostError("Invalid", f"jwt: unsupported algorithm {algorithm!r}")
    return (signed + b"." + _b64(signature)).decode()


@host_function("crypto.jwt_verify")
def jwt_verify(token: Value, key: Value, algorithm: Value, require_exp: Value, now: Value) -> Value:
    """Check a token and give its claims.

    Args:
        token: The token's text.
        key: Secret of the HMAC algorithms, or the PEM text of an RSA key.
        algorithm: The one algorithm that is accepted, whatever the token itself says.
        require_exp: Refuse a token that never expires.
        now: Seconds since the epoch.

    Raises:
        HostError: ``Internal``, whatever is wrong.
    """
    try:
        text = limited(as_bytes(token), _MOST_TOKEN_BYTES, "jwt: the token")
        secret = limited(as_bytes(key), _MOST_KEY_BYTES, "jwt: the key")
    except HostError as error:
        raise HostError("Internal", error.message) from error
    if algorithm not in _HMAC and algorithm != "RS256":
        raise HostError("Internal", f"jwt: unsupported algorithm {algorithm!r}")
    parts = text.split(b".")
    if len(parts) != 3:
        raise HostError("Internal", "jwt: the token is malformed")
    try:
        header = json.loads(_unb64(parts[0]))
    except (ValueError, RecursionError) as error:
        raise HostError("Internal", "jwt: the token is malformed") from error
    if not isinstance(header, dict) or header.get("alg") != algorithm or "crit" in header:
        raise HostError("Internal", f"jwt: the token is not signed with {algorithm}")
    if not _is_signed(str(algorithm), secret, parts[0] + b"." + parts[1], _unb64(parts[2])):
        raise HostError("Internal", "jwt: the signature is wrong")
    claims = decode_json(_unb64(parts[1]))
    if claims == []:
        claims = {}
    if not isinstance(claims, dict):
        raise HostError("Internal", "jwt: the claims are no object")
    _check_times(claims, require_exp=require_exp is not False, now=float(now) if isinstance(now, int | float) else 0.0)
    return claims
