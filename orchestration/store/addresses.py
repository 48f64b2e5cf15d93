"""Addresses of the store: one Redis, a master that Sentinels name, a cluster; and what redis-py makes of them.

::

    redis://:secret@host:6379/0                          rediss://host:6380/0?ssl_ca_certs=/etc/ca.pem
    unix:///run/redis.sock?db=0
    sentinel://:secret@host1:26379,host2:26379/0?master_name=orders
    redis+cluster://:secret@host1:6379,host2:6379        rediss+cluster://...

Celery's own form of several Sentinels, ``sentinel://host1:26379;sentinel://host2:26379/0``, is read as well, and its
words for ``ssl_cert_reqs``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from orchestration.celery_redis import is_cut_in_its_secret
from orchestration.errors import ConfigError

__all__ = ["RedisAddress", "read_address"]

_PLAIN: Final = ("redis", "rediss", "unix")
_SENTINEL: Final = {"sentinel": False, "redis+sentinel": False, "rediss+sentinel": True}
_CLUSTER: Final = {"redis+cluster": False, "rediss+cluster": True}
_PORTS: Final = {"sentinel": 26379, "cluster": 6379}
_SSL_WORDS: Final = {"CERT_REQUIRED": "required", "CERT_OPTIONAL": "optional", "CERT_NONE": "none"}
_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where the store is.

    Attributes:
        kind: One server, a master named by Sentinels, or a cluster.
        url: Of one server, as redis-py reads it; else empty.
        hosts: Sentinels, or nodes of the cluster.
        master: Name of the master, for Sentinels.
        options: Of connections to Redis.
        sentinel_options: Of connections to the Sentinels.
        shown: For messages: without secrets.
    """

    kind: Literal["single", "sentinel", "cluster"]
    shown: str
    url: str = ""
    hosts: tuple[tuple[str, int], ...] = ()
    master: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    sentinel_options: dict[str, Any] = field(default_factory=dict)


def read_address(url: str) -> RedisAddress:
    """Read a URL of the store.

    Raises:
        ConfigError: It is none; the message shows no secret.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme not in (*_PLAIN, *_SENTINEL, *_CLUSTER):
        raise ConfigError(
            f"orchestration_redis_url begins with {scheme[:30] + '://' if found else 'no scheme'}: it must be "
            "redis://, rediss://, unix://, sentinel:// or redis+cluster:// (see docs/how-to/brokers.md)"
        )
    if is_cut_in_its_secret(url):
        raise ConfigError(
            "orchestration_redis_url cannot be read: behind a / ? or # in it there is an @. In a password write %2F, "
            "%3F, %23 for / ? #, and %40 for an @ wherever it stands but before the host"
        )
    if scheme in _PLAIN:
        return RedisAddress(kind="single", url=_with_known_words(url), shown=_without_secret(url))
    kind: Literal["sentinel", "cluster"] = "sentinel" if scheme in _SENTINEL else "cluster"
    has_tls = _SENTINEL[scheme] if kind == "sentinel" else _CLUSTER[scheme]
    body, _, query = rest.partition("?")
    hosts, options = _hosts(body, kind)
    asked = dict(parse_qsl(query, keep_blank_values=True))
    master = asked.pop("master_name", "")
    sentinel_options = {name[9:]: asked.pop(name) for name in _OF_SENTINELS if name in asked}
    tls: dict[str, Any] = {"ssl": True} if has_tls else {}
    for name, value in asked.items():
        if not (has_tls and name.startswith("ssl_")):
            raise ConfigError(f"orchestration_redis_url has an option {name!r} that a {scheme}:// URL does not know")
        tls[name] = _ssl_value(name, value)
    shown = ",".join(f"{host}:{port}" for host, port in hosts)
    if kind == "cluster":
        if master or sentinel_options or options.pop("db", 0):
            raise ConfigError(f"orchestration_redis_url: a cluster has neither Sentinels nor databases ({shown})")
        return RedisAddress(kind=kind, hosts=hosts, options={**options, **tls}, shown=shown)
    if not master:
        raise ConfigError(f"orchestration_redis_url: {shown} needs the name of the master: ?master_name=...")
    return RedisAddress(
        kind=kind, hosts=hosts, master=master, options={**options, **tls}, shown=f"{shown} ({master})",
        sentinel_options={**sentinel_options, **tls},
    )  # fmt: skip


def _hosts(body: str, kind: str) -> tuple[tuple[tuple[str, int], ...], dict[str, Any]]:
    """Hosts with their ports; and user, password and database."""
    hosts: list[tuple[str, int]] = []
    options: dict[str, Any] = {}
    for part in body.replace(";", ",").split(","):
        try:
            read = urlsplit(f"//{part.rpartition('://')[2]}")
            port = read.port or _PORTS[kind]
            path = read.path.strip("/")
            if path:
                options["db"] = int(path)
        except ValueError:  # its text may have a part of the password
            raise ConfigError(
                "orchestration_redis_url: a host, port or database in it cannot be read: write user:password@host:port,"
                "host:port/database, and in a password %23, %2C, %2F, %3B, %3F, %40 for # , / ; ? @"
            ) from None
        if not read.hostname:
            raise ConfigError("orchestration_redis_url: it names a host that is empty")
        hosts.append((read.hostname, port))
        if read.username:
            options["username"] = unquote(read.username)
        if read.password:
            options["password"] = unquote(read.password)
    return tuple(hosts), options


def _with_known_words(url: str) -> str:
    """The same URL, with Celery's words for ``ssl_cert_reqs`` in redis-py's."""
    head, found, query = url.partition("?")
    if not found:
        return url
    pairs = [(name, _ssl_value(name, value)) for name, value in parse_qsl(query, keep_blank_values=True)]
    return f"{head}?{urlencode(pairs, safe='/', quote_via=quote)}"


def _ssl_value(name: str, value: str) -> Any:
    if name == "ssl_cert_reqs":
        return _SSL_WORDS.get(value, value)
    return value.lower() in ("1", "true", "yes") if name == "ssl_check_hostname" else value


def _without_secret(url: str) -> str:
    return url.partition("://")[2].partition("?")[0].rpartition("@")[2]
