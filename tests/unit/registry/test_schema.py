"""The JSON schema of definition files agrees with the loader."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from orchestration.registry import DefinitionsError, load_registry
from orchestration.registry.kinds import KINDS
from orchestration.registry.schema import definition_schema, render_schema

ROOT = Path(__file__).parents[3]
SCHEMA_FILE = ROOT / "config" / "schema" / "definitions.schema.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(definition_schema())
    return jsonschema.Draft202012Validator(definition_schema())


def test_file_is_what_the_kinds_give():
    """To renew it: ``python -m orchestration.registry.schema > config/schema/definitions.schema.json``."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == render_schema()


def test_all_kinds_are_in_it():
    rules = definition_schema()["$defs"]["entry"]["allOf"]
    assert sorted(kind for rule in rules for kind in rule["if"]["properties"]["kind"]["enum"]) == sorted(KINDS)


def test_examples_fit(validator):
    files = sorted((ROOT / "config").rglob("*.yaml"))
    assert files
    for path in files:
        validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("{namespace: a, entries: []}", True),
        ("{services: {web: 5}}", True),
        ("{namespace: a}", False),
        ("{namespace: a, name: x, kind: registry.entry, any: thing}", True),
        ("{namespace: a, name: x, kind: function.celery}", False),
        ("{namespace: a, name: x, kind: function.celery, task: t}", True),
        ("{namespace: a, name: x, kind: function.celery, task: no, data: {}}", False),
        ("{namespace: a, name: x, kind: function.celery, data: {task: t}}", True),
        ("{namespace: a, name: x, kind: function.celery, task: 5}", False),
        ("{namespace: a, entries: [{name: x}]}", False),
        ("{namespace: a, entries: [{name: x, kind: process.host, host: {workers: many}}]}", False),
        ("{namespace: a, entries: [{name: x, kind: process.host, host: {workers: 5, other: 1}}]}", True),
        ("{namespace: a, entries: [{name: x, kind: process.host, host: {workers: '${env:N|5}'}}]}", True),
        ("{namespace: a, entries: [{name: x, kind: process.host, lifecycle: {auto_start: 5}}]}", False),
        ("{namespace: a, entries: [{name: x, kind: process.host, lifecycle: {stop_timeout: 5s}}]}", True),
        ("{namespace: a, entries: [{name: x, kind: process.host, lifecycle: {startup: never}}]}", False),
    ],
)
def test_schema_and_loader_say_the_same(validator, tmp_path, text, is_valid):
    assert validator.is_valid(yaml.safe_load(text)) is is_valid
    (tmp_path / "a.yaml").write_text(text)
    try:
        load_registry(tmp_path, env={})
        is_loaded = True
    except DefinitionsError:
        is_loaded = False
    assert is_loaded is is_valid


def test_parts_of_entries_that_share_a_name_are_not_mixed_up():
    parts = definition_schema()["$defs"]
    assert "max_open" in parts[parts["SqliteDatabase"]["properties"]["pool"]["$ref"].rpartition("/")[2]]["properties"]
    assert "max_size" in parts[parts["FunctionLua"]["properties"]["pool"]["$ref"].rpartition("/")[2]]["properties"]
