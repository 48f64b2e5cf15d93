"""Addresses of the store."""

from __future__ import annotations

import pytest

from orchestration.errors import ConfigError
from orchestration.store.addresses import read_address
from orchestration.store.opening import open_connection


def test_one_server_is_left_to_redis_py_with_its_own_words() -> None:
    address = read_address("rediss://:s%2Fecret@host:1/2?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/a%20b")
    assert address.kind == "single"
    assert address.url == "rediss://:s%2Fecret@host:1/2?ssl_cert_reqs=required&ssl_ca_certs=/a%20b"
    assert address.shown == "host:1/2"


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://me:s%40t@a:1,b,[::1]:3/2?master_name=orders&sentinel_password=other",
        "sentinel://me:s%40t@a:1;sentinel://me:s%40t@b;sentinel://[::1]:3/2?master_name=orders&sentinel_password=other",
    ],
)
def test_sentinels(url: str) -> None:
    address = read_address(url)
    assert address.kind == "sentinel"
    assert address.hosts == (("a", 1), ("b", 26379), ("::1", 3))
    assert address.master == "orders"
    assert address.options == {"username": "me", "password": "s@t", "db": 2}
    assert address.sentinel_options == {"password": "other"}
    assert "s@t" not in address.shown


def test_a_cluster_over_tls() -> None:
    address = read_address("rediss+cluster://:pw@a,b:7001?ssl_ca_certs=/ca.pem&ssl_check_hostname=false")
    assert address.kind == "cluster"
    assert address.hosts == (("a", 6379), ("b", 7001))
    assert address.options == {
        "password": "pw", "ssl": True, "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False
    }  # fmt: skip
    assert not address.sentinel_options


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:6379", "no scheme"),
        ("amqp://u:secret@host", "amqp://"),
        ("sentinel://:secret@host:26379", "master_name"),
        ("sentinel://:secret@host:26379/x?master_name=a", "cannot be read"),
        ("sentinel://:secret@host:99999/0?master_name=a", "cannot be read"),
        ("sentinel://:secret/1@host:26379/0?master_name=a", "cannot be read"),  # what is not written as %2F, %23, ...
        ("sentinel://:1/secret@host:26379/0?master_name=a", "cannot be read"),
        ("sentinel://:secret#1@host:26379/0?master_name=a", "cannot be read"),
        ("redis+cluster://:secret,1@host:6379", "cannot be read"),
        ("redis+cluster://:1?secret@host:6379", "empty"),
        ("redis+cluster://host:6379/?secret@host", "option"),
        ("sentinel://a,,b?master_name=a", "empty"),
        ("sentinel://:secret@a?master_name=a&colour=red", "'colour'"),
        ("sentinel://:secret@a?master_name=a&ssl_ca_certs=/ca", "'ssl_ca_certs'"),
        ("redis+cluster://:secret@a/1", "neither Sentinels nor databases"),
        ("redis+cluster://:secret@a?master_name=x", "neither Sentinels nor databases"),
        ("redis://host:secret/0", "no URL of a Redis"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_a_secret(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match="orchestration_redis_url") as caught:
        open_connection(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
