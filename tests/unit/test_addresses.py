"""Addresses of the store."""

from __future__ import annotations

import re

import pytest

from orchestration.celery_redis import is_cut_in_its_secret, redis_of_celery
from orchestration.errors import ConfigError
from orchestration.store.addresses import read_address
from orchestration.store.opening import open_connection
from orchestration.tasks.self_report import location


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
        ("sentinel://:secret,1@host:26379/0?master_name=a", "cannot be read"),
        ("sentinel://:secret/1@host:26379/0?master_name=a", "cannot be read"),  # what is not written as %2F, %23, ...
        ("sentinel://:1/secret@host:26379/0?master_name=a", "cannot be read"),
        ("sentinel://:secret#1@host:26379/0?master_name=a", "cannot be read"),
        ("redis+cluster://:secret,1@host:6379", "cannot be read"),
        ("redis+cluster://:1?secret@host:6379", "cannot be read"),
        ("redis+cluster://host:6379/?secret@host", "cannot be read"),
        ("sentinel://a,,b?master_name=a", "empty"),
        ("sentinel://:secret@a?master_name=a&colour=red", "'colour'"),
        ("sentinel://:secret@a?master_name=a&ssl_ca_certs=/ca", "'ssl_ca_certs'"),
        ("redis+cluster://:secret@a/1", "neither Sentinels nor databases"),
        ("redis+cluster://:secret@a?master_name=x", "neither Sentinels nor databases"),
        ("redis://host:secret/0", "no URL of a Redis"),
        ("redis://:12?secret@host:6379/0", "%3F"),
        ("redis://:secret?34@host:6379/0", "%3F"),
        ("rediss://me:secret#34@host:6379/0", "%23"),
        ("redis://:secret/34@host:6379/0", "%2F"),
        ("redis://:a@secret?34@host:6379/0", "%40"),
        ("unix://:secret?34@/run/redis.sock", "%3F"),
        ("unix://:secret/34@/run/redis.sock", "%2F"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_a_secret(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match="orchestration_redis_url") as caught:
        open_connection(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("secret", ["12?34", "12#34", "12/34", "12@34?56", "12?34@56", "12;3?4"])
@pytest.mark.parametrize(
    "url", ["redis://:{}@host:6379/0", "rediss://me:{}@host/0", "unix://:{}@/run/redis.sock?db=1",
            "sentinel://:{}@a:26379/0?master_name=m", "sentinel://:{}@a:1;sentinel://:{}@b:2/0?master_name=m",
            "redis+cluster://:{}@a:1,b:2", "amqp://me:{}@host//", "s3://me:{}@bucket/prefix"],
)  # fmt: skip
def test_no_digit_of_a_password_is_shown_however_it_is_written(url: str, secret: str) -> None:
    url = url.replace("{}", secret)
    assert is_cut_in_its_secret(url)
    assert not set("123456") & set(location(url).partition("://")[2])
    with pytest.raises(ConfigError) as caught:
        read_address(url)
    assert not {"12", "34", "56"} & set(re.findall(r"\d+", str(caught.value).replace("%40", "")))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:1%3F2%23%2F%40@host:6379/0?ssl_ca_certs=/a", "redis://host:6379/0"),
        ("redis://:a@b@host:6379/0", "redis://host:6379/0"), ("unix:///run/a@b.sock?db=1", None),
        ("unix://me:pw@/run/redis.sock", "unix:///run/redis.sock"), ("redis://host", "redis://host"),
        ("sentinel://:pw@a:1;sentinel://:pw@b:2/0?master_name=m", "sentinel://b:2/0"),
    ],
)  # fmt: skip
def test_what_can_be_read_is_no_riddle(url: str, shown: str | None) -> None:
    assert not is_cut_in_its_secret(url)
    assert read_address(url)
    assert shown in (None, location(url))


def test_a_path_alone_has_no_password() -> None:
    assert not is_cut_in_its_secret("filesystem:///var/spool/a@b")


def test_a_cut_address_of_celery_is_refused_with_its_certificates_too() -> None:
    url = redis_of_celery({"broker_url": "redis://:12?34@host", "broker_use_ssl": {"ssl_ca_certs": "/ca"}}, {})
    with pytest.raises(ConfigError, match="%3F"):
        read_address(url)
