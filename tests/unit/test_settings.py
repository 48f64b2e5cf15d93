"""Settings: where they come from, in which order, and what is refused."""

from __future__ import annotations

import dataclasses
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from orchestration.errors import ConfigError
from orchestration.settings import Settings


def read(conf: dict[str, Any] | None = None, env: dict[str, str] | None = None, **arguments: Any) -> Settings:
    return Settings.from_celery(conf or {}, env or {}, **arguments)


def test_order_is_default_then_conf_then_environment_then_argument() -> None:
    conf, env = {"orchestration_shards": 2}, {"ORCHESTRATION_SHARDS": "3"}
    assert read().shards == 8
    assert read(conf).shards == 2
    assert read(conf, env).shards == 3
    assert read(conf, env, shards=4).shards == 4


def test_environment_points_an_application_at_other_definitions() -> None:
    """`Orchestration(app, config=...)` is in code; an operator must be able to change it without."""
    assert read(config="tree").config == ("tree",)
    assert read(None, {"ORCHESTRATION_CONFIG": "a:b"}, config="tree").config == ("a", "b")
    assert read(config=[Path("x"), "y"]).config == ("x", "y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1500, 1500),
        ("1500", 1500),
        ("1.5s", 1500),
        ("1m 30s", 90_000),
        ("7d", 604_800_000),
        (timedelta(hours=1), 3_600_000),
    ],
)
def test_durations_take_numbers_text_and_timedelta(value: Any, expected: int) -> None:
    assert read({"orchestration_retention_ms": value}).retention_ms == expected


@pytest.mark.parametrize(("value", "expected"), [(4096, 4096), ("512 KiB", 524_288), ("2MB", 2_000_000)])
def test_sizes_take_numbers_and_text(value: Any, expected: int) -> None:
    assert read({"orchestration_payload_bytes": value}).payload_bytes == expected


@pytest.mark.parametrize(
    ("conf", "env", "text"),
    [
        ({"orchestration_shard": 1}, {}, "orchestration_shard: did you mean orchestration_shards"),
        ({}, {"ORCHESTRATION_SHARD": "1"}, "ORCHESTRATION_SHARD: did you mean ORCHESTRATION_SHARDS"),
        ({"orchestration_wibble_wobble": 1}, {}, "unknown setting orchestration_wibble_wobble"),
        ({"orchestration_shards": 0}, {}, r"orchestration_shards = 0: must be 1 to 256"),
        ({"orchestration_shards": True}, {}, "orchestration_shards = True: must be a whole number"),
        ({"orchestration_shards": 1.5}, {}, "orchestration_shards = 1.5: must be a whole number"),
        ({}, {"ORCHESTRATION_LEASE_MS": "soon"}, "ORCHESTRATION_LEASE_MS = 'soon': must be milliseconds"),
        ({"orchestration_namespace": "a:b"}, {}, "orchestration_namespace = 'a:b'"),
        ({"orchestration_dead_after_ms": 2000}, {}, "at least three times orchestration_heartbeat_ms"),
        ({"orchestration_config": 5}, {}, "orchestration_config = 5: must be a path"),
        ({"orchestration_offload": "values"}, {}, "orchestration_offload = 'values': must be a whole path"),
        ({"orchestration_offload": 5}, {}, r"orchestration_offload = \(not shown\): must be text"),
        ({}, {"ORCHESTRATION_OFFLOAD": "s3://bucket/a"}, r"orchestration_offload is a s3:// URL: it must be a folder"),
        ({"orchestration_offload": "file://values/a"}, {}, "names no folder of this machine: write file:///"),
        ({"orchestration_offload_above_bytes": 100}, {}, "orchestration_offload_above_bytes = 100: must be 1,024 to"),
        ({"orchestration_offload_limit_bytes": "9 GiB"}, {}, "must be 1,024 to 268,435,456 bytes"),
    ],
)
def test_what_is_wrong_is_named_in_full(conf: dict[str, Any], env: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read(conf, env)


@pytest.mark.parametrize("value", [True, "true", "Yes", " on ", "1"])
def test_a_switch_takes_booleans_and_words(value: Any) -> None:
    assert read({"orchestration_strict_security": value}).strict_security is True
    assert read().strict_security is read({"orchestration_strict_security": "off"}).strict_security is False
    with pytest.raises(ConfigError, match="orchestration_strict_security = 'maybe': must be true or false"):
        read({"orchestration_strict_security": "maybe"})


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"orchestration_a\b.*orchestration_b\b.*orchestration_shards = 'x'"):
        read({"orchestration_a": 1, "orchestration_b": 1, "orchestration_shards": "x"})


def test_variables_that_are_not_ours_are_left_alone() -> None:
    """Kubernetes sets these in every pod beside a service called "orchestration"."""
    foreign = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR"]
    assert read(None, {f"ORCHESTRATION_{name}": "x" for name in foreign}) == read()


@pytest.mark.parametrize(
    ("conf", "env", "url"),
    [
        ({}, {}, "redis://localhost:6379/0"),
        ({"broker_url": "redis://a/1"}, {}, "redis://a/1"),
        ({"broker_url": "redis://a/1", "result_backend": "redis://b/2"}, {}, "redis://b/2"),
        ({"broker_url": "amqp://x", "result_backend": "rpc://"}, {"REDIS_URL": "redis://c/3"}, "redis://c/3"),
        ({"orchestration_redis_url": "redis://d/4"}, {"REDIS_URL": "redis://c/3"}, "redis://d/4"),
        ({"broker_url": "redis+socket:///run/r.sock?virtual_host=3"}, {}, "unix:///run/r.sock?db=3"),
        ({"broker_url": "amqp://x"}, {"REDIS_URL": "redis+cluster://a,b"}, "redis+cluster://a,b"),
        (
            {
                "broker_url": "amqp://x", "result_backend": "sentinel://:pw@a:1;sentinel://b:2/0",
                "result_backend_transport_options": {"master_name": "m", "sentinel_kwargs": {"password": "s&t"}},
            },
            {}, "sentinel://:pw@a:1;sentinel://b:2/0?master_name=m&sentinel_password=s%26t",
        ),
        (
            {"broker_url": "redis://a/1", "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_ca_certs": "/c a"}},
            {}, "rediss://a/1?ssl_cert_reqs=none&ssl_ca_certs=/c%20a",
        ),
        ({"result_backend": "rediss://a/1?ssl_cert_reqs=none", "redis_backend_use_ssl": True}, {},
         "rediss://a/1?ssl_cert_reqs=none"),
    ],
)
def test_the_redis_of_the_application_is_used_unless_another_is_named(
    conf: dict[str, Any], env: dict[str, str], url: str
) -> None:
    assert read(conf, env).redis_url == url


def test_keys_are_found_in_a_real_celery_configuration() -> None:
    plain = Celery("plain")
    plain.conf.update(orchestration_shards=4)
    assert Settings.from_celery(plain.conf, {}).shards == 4

    class Django:
        CELERY_ORCHESTRATION_SHARDS = 5

    django = Celery("django")
    django.config_from_object(Django, namespace="CELERY")
    assert Settings.from_celery(django.conf, {}).shards == 5


def test_every_setting_is_described() -> None:
    described = Settings.describe()
    assert [info.name for info in described] == [field.name for field in dataclasses.fields(Settings)]
    assert all(info.meaning and info.unit and info.kind for info in described)
    assert described[4].key == "orchestration_shards"
    assert described[4].variable == "ORCHESTRATION_SHARDS"


@pytest.mark.parametrize(
    ("offload", "payload_bytes", "limit_bytes", "value_limit"),
    [("", 4096, 8192, 4096), ("/srv/values", 4096, 8192, 8192), ("redis://h", 8192, 4096, 8192)],
)
def test_a_stage_raises_the_limit_of_single_values(
    offload: str, payload_bytes: int, limit_bytes: int, value_limit: int
) -> None:
    found = read({
        "orchestration_offload": offload, "orchestration_payload_bytes": payload_bytes,
        "orchestration_offload_limit_bytes": limit_bytes,
    })  # fmt: skip
    assert found.value_limit_bytes == found.limits.payload_bytes == value_limit


@pytest.mark.parametrize("where", ["/srv/values", "file:///srv/values", "redis://h/1", "rediss://h", "unix:///r.sock"])
def test_a_stage_is_a_folder_or_a_redis(where: str) -> None:
    assert read({"orchestration_offload": where}).offload == where


def test_limits_are_handed_to_the_machine() -> None:
    limits = read({"orchestration_memory_bytes": "2 MiB", "orchestration_instructions": 100_000}).limits
    assert (limits.memory_bytes, limits.instructions) == (2 * 1024 * 1024, 100_000)
