"""Code sees entries without their secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestration.registry import load_registry
from orchestration.registry.exposed import exposed_data, exposed_entry
from tests.support.projects import Project

SECRET = "hunter2"


def exposed(folder: Path, kind: str, env: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    project = Project()
    project.entry("x", kind, **fields)
    project.entry("os", "env.storage.os")
    registry = load_registry(project.write(folder), env=env or {})
    return exposed_data(registry.get("app:x"))


@pytest.mark.parametrize(
    ("kind", "fields", "left"),
    [
        ("env.storage.static", {"values": {"TOKEN": SECRET}}, {}),
        ("env.variable", {"storage": "os", "variable": "V", "default": SECRET}, {"storage": "os", "variable": "V"}),
        (
            "celery.client",
            {"address": f"redis://me:{SECRET}@host:1/0", "auth": {"type": "api_key", "api_key": SECRET}},
            {"address": "redis://me:***@host:1/0"},
        ),
        ("temporal.client", {"address": "a:1", "auth": {"type": "api_key", "api_key": SECRET}}, {"address": "a:1"}),
        ("config.aws", {"access_key_id": SECRET, "region": "eu"}, {}),
        ("cloudstorage.s3", {"bucket": SECRET}, {}),
        ("queue.driver.amqp", {"url": f"amqp://:{SECRET}@host"}, {}),
        ("db.cdc.postgres", {"connection": SECRET}, {}),
        ("exec.docker", {"env": {"A": SECRET}}, {}),
        (
            "http.endpoint",
            {"path": "/a", "auth": {"Password": SECRET, "kind": "basic"}, "apiKey": SECRET, "list": [{"dsn": SECRET}]},
            {"path": "/a", "auth": {"kind": "basic"}, "list": [{}]},
        ),
        ("http.service", {"to": [f"https://:p@{SECRET}@host/", "https://host:80/a@b"]},
         {"to": ["https://:***@host/", "https://host:80/a@b"]}),
        ("security.token_store", {"store": "os", "token_key": SECRET, "token_length": 16},
         {"store": "os", "token_length": 16}),
    ],
)  # fmt: skip
def test_secrets_are_left_out(tmp_path: Path, kind: str, fields: dict[str, Any], left: dict[str, Any]) -> None:
    if kind == "security.token_store":
        project = Project()
        project.entry("s", "store.memory")
        project.entry("x", kind, **{**fields, "store": "s"})
        found = exposed_data(load_registry(project.write(tmp_path)).get("app:x"))
        left = {**left, "store": "s"}
    else:
        found = exposed(tmp_path, kind, **fields)
    assert found == left
    assert SECRET not in json.dumps(found)


def test_settings_of_the_application_have_their_placeholders_replaced(tmp_path: Path) -> None:
    found = exposed(tmp_path, "registry.entry", {"PORT": "80"}, port="${env:PORT|1}", password="mine")
    assert found == {"port": 80, "password": "mine"}


def test_other_entries_keep_their_placeholders(tmp_path: Path) -> None:
    found = exposed(tmp_path, "env.storage.file", {"HOME_DIR": SECRET}, file_path="${env:HOME_DIR}/a")
    assert found == {"file_path": "${env:HOME_DIR}/a"}


def test_code_is_part_of_an_entry(tmp_path: Path) -> None:
    source = "-- postgres://a:b@c\nreturn function() end"
    found = exposed(tmp_path, "function.lua", source=source, method="main", meta={"comment": "c"})
    assert found == {"source": source, "method": "main"}


def test_an_entry_is_a_copy(tmp_path: Path) -> None:
    project = Project()
    project.entry("x", "registry.entry", list=[1], meta={"tags": ["a"]})
    entry = load_registry(project.write(tmp_path)).get("app:x")
    first = exposed_entry(entry)
    first["data"]["list"].append(2)
    first["meta"]["tags"].append("b")
    assert exposed_entry(entry) == {
        "id": "app:x", "kind": "registry.entry", "meta": {"tags": ["a"]}, "data": {"list": [1]},
    }  # fmt: skip
