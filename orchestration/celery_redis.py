"""The Redis that a Celery configuration names, as an address of the store.

Celery keeps a part of an address beside its URL: the name of a master in transport options, certificates in
``broker_use_ssl``. Here it becomes one URL.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

__all__ = ["STORE_SCHEMES", "is_cut_in_its_secret", "redis_of_celery"]

STORE_SCHEMES: Final = frozenset({
    "redis", "rediss", "unix", "sentinel", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
})  # fmt: skip
"""How the address of a store may begin."""

_OF_FILES: Final = ("unix", "socket", "redis+socket")
_NOTHING: Final = "redis://localhost:6379/0"
_VERIFY_WORDS: Final[Mapping[Any, str]] = {
    ssl.CERT_REQUIRED: "required", ssl.CERT_OPTIONAL: "optional", ssl.CERT_NONE: "none"
}  # fmt: skip


def redis_of_celery(conf: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """URL of the Redis that an application has anyway: REDIS_URL, its result backend, its broker.

    Args:
        conf: Configuration of the Celery application.
        env: Environment variables.
    """
    of_backend = conf.get("result_backend_transport_options") or {}
    of_broker = conf.get("broker_transport_options") or {}
    return (
        _url(env.get("REDIS_URL"), {**of_broker, **of_backend}, None)
        or _url(conf.get("result_backend"), of_backend, conf.get("redis_backend_use_ssl"))
        or _url(conf.get("broker_url"), of_broker, conf.get("broker_use_ssl"))
        or _NOTHING
    )


def is_cut_in_its_secret(url: str) -> bool:
    """Whether an address ends, for whoever reads it, before its user and password do.

    A ``/``, ``?`` or ``#`` in a password has to be written as %2F, %3F, %23. Where it is not, what stands before it is
    taken for the name and port of the host: it would be connected to, and shown in every message about it.

    Args:
        url: As it was given.
    """
    scheme, found, rest = url.partition("://")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority, others = rest[:end], rest[end:]
    if not found or "@" not in others or (not authority and scheme not in STORE_SCHEMES):
        return False
    several = re.split(r";(?=[a-z+]+://)", url)
    if len(several) > 1:  # Celery's form: each has a user and a password
        return any(map(is_cut_in_its_secret, several))
    if scheme in _OF_FILES:
        path = others.partition("?")[0].partition("#")[0]
        return "@" in others[len(path) :] or bool(authority and "@" not in authority)
    return True


def _url(candidate: Any, options: Mapping[str, Any], use_ssl: Any) -> str:
    if not isinstance(candidate, str):
        return ""
    scheme = candidate.partition("://")[0]
    if scheme in STORE_SCHEMES and is_cut_in_its_secret(candidate):
        return candidate  # refused where it is read
    if scheme in {"redis+socket", "socket"}:
        return _socket_url(candidate)
    if scheme in {"redis", "rediss"}:
        return _with_tls(candidate, use_ssl)
    if scheme in {"sentinel", "redis+sentinel", "rediss+sentinel"}:
        return _sentinel_url(candidate, options, use_ssl)
    return candidate if scheme in {"unix", "redis+cluster", "rediss+cluster"} else ""


def _socket_url(url: str) -> str:
    """Celery's form of a Unix socket address in redis-py's form."""
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/") or "0"
    secret = f":{parts.password}@" if parts.password else ""
    return f"unix://{secret}{parts.path}?db={database}"


def _sentinel_url(url: str, options: Mapping[str, Any], use_ssl: Any) -> str:
    secrets = options.get("sentinel_kwargs") or {}
    more = {
        "master_name": options.get("master_name"), "sentinel_username": secrets.get("username"),
        "sentinel_password": secrets.get("password"),
    }  # fmt: skip
    if use_ssl:
        url = "rediss+sentinel://" + url.partition("://")[2]
        more |= _tls_options(use_ssl)
    return _with(url, more)


def _with_tls(url: str, use_ssl: Any) -> str:
    if not use_ssl:
        return url
    return _with("rediss://" + url.partition("://")[2], _tls_options(use_ssl))


def _tls_options(use_ssl: Any) -> dict[str, Any]:
    given = use_ssl if isinstance(use_ssl, Mapping) else {}
    return {
        name: _VERIFY_WORDS.get(value, value) if name == "ssl_cert_reqs" else value
        for name, value in given.items()
        if str(name).startswith("ssl_") and isinstance(value, str | bool | int)
    }


def _with(url: str, more: Mapping[str, Any]) -> str:
    """Add options to a URL; those that it has stay."""
    head, _, query = url.partition("?")
    have = dict(parse_qsl(query, keep_blank_values=True))
    have = {**{name: str(value) for name, value in more.items() if value not in (None, "")}, **have}
    return f"{head}?{urlencode(have, safe='/', quote_via=quote)}" if have else head
