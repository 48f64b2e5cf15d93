"""The description of the API agrees with the routes, and is an OpenAPI document as far as it goes."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest

from orchestration.dashboard.api.document import describe_api
from orchestration.dashboard.api.operations import operation_of
from orchestration.dashboard.routes import API

METHODS = ("get", "post")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe_api(API)


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, one) for path, item in document["paths"].items() for method, one in item.items()]


def test_every_route_and_method_is_described(document: dict[str, Any]) -> None:
    handled = {
        (route.path, method)
        for route in API
        for method in METHODS
        if getattr(route.handler, method).__name__ != "_unimplemented_method"
    }
    assert {(path, method) for path, method, _ in operations(document)} == handled


def test_operations_have_ids_of_their_own(document: dict[str, Any]) -> None:
    ids = [one["operationId"] for _, _, one in operations(document)]
    assert len(ids) == len(set(ids))


def test_parameters_of_the_path_are_described(document: dict[str, Any]) -> None:
    for path, _, one in operations(document):
        named = {item["name"] for item in one.get("parameters", []) if item["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for path, method, one in operations(document):
        schemas = [item["schema"] for item in one.get("parameters", [])]
        schemas += [reply["content"]["application/json"]["schema"] for reply in one["responses"].values()]
        if "requestBody" in one:
            assert method == "post", path
            schemas.append(one["requestBody"]["content"]["application/json"]["schema"])
        for schema in schemas:
            jsonschema.Draft202012Validator.check_schema(schema)
        assert {"401", "403"} <= set(one["responses"])


def test_bodies_are_checked_as_described() -> None:
    (route,) = [route for route in API if route.path.endswith("/signal")]
    said = operation_of(route.handler.post)
    assert said.problem_of({"topic": "t", "payloads": [1, None]}) == ""
    assert "required" in said.problem_of({})
    assert "topic" in said.problem_of({"topic": 5})
    assert "unexpected" in said.problem_of({"topic": "t", "more": 1})
    assert "object" in said.problem_of([])
