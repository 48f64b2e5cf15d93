"""The description of the API, in OpenAPI 3.1, made from the table of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from orchestration.dashboard.access import ApiHandler
from orchestration.dashboard.api.operations import Operation, operation, operation_of

if TYPE_CHECKING:
    from orchestration.dashboard.routes import Route

__all__ = ["DocumentApi", "describe_api"]

_ERRORS: Final = {
    "400": "What was sent cannot be right; the message says why",
    "401": "Nobody is logged in, or the API is not open without a login",
    "403": "Flower is in read-only mode, or another site has sent this",
    "404": "There is no such thing",
    "409": "It is not in a state in which that can be done",
    "503": "Redis does not answer",
}
_METHODS: Final = ("get", "post")
_TEXT: Final = {"type": "string"}


class DocumentApi(ApiHandler):
    """``/api/workflows/openapi.json``"""

    @operation(summary="This description", answer="An OpenAPI 3.1 document.")
    async def get(self) -> None:
        """Give it."""
        from orchestration.dashboard.routes import API

        self.answer(describe_api(API, self.prefix))


def describe_api(routes: Iterable[Route], prefix: str = "") -> dict[str, Any]:
    """The OpenAPI document of some routes.

    Args:
        routes: What there is.
        prefix: Of Flower's URLs.
    """
    error = {
        "type": "object",
        "properties": {
            "error": {
                "type": "object", "required": ["status", "kind", "message"],
                "properties": {"status": {"type": "integer"}, "kind": _TEXT, "message": _TEXT},
            }
        },
        "required": ["error"],
    }  # fmt: skip
    paths: dict[str, Any] = {}
    for route in routes:
        paths[route.path] = {
            method: _describe(route, method, operation_of(getattr(route.handler, method)))
            for method in _METHODS
            if hasattr(getattr(route.handler, method), "operation")
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Workflows in Flower", "version": "1",
            "description": "Values are JSON; bytes are `{\"base64\": ...}`. Times are milliseconds since 1970.",
        },
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": {"Error": error},
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
        "security": [{"basic": []}, {}],
    }  # fmt: skip


def _describe(route: Route, method: str, said: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = []
    for name in re.findall(r"{(\w+)}", route.path):
        schema: dict[str, Any] = {"type": "string"}
        if name == "verb":
            schema["enum"] = list(route.handler.VERBS)
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    for name, meaning, query_schema in said.query:
        parameters.append({"name": name, "in": "query", "description": meaning, "schema": dict(query_schema)})
    described: dict[str, Any] = {
        "summary": said.summary,
        "operationId": _operation_id(route, method),
        "responses": {
            str(said.status): _json(said.answer, said.schema),
            **{status: _json(meaning, {"$ref": "#/components/schemas/Error"}) for status, meaning in _ERRORS.items()},
        },
    }
    if parameters:
        described["parameters"] = parameters
    if said.body is not None:
        described["requestBody"] = {
            "required": bool(said.required), "content": {"application/json": {"schema": said.body_schema}},
        }  # fmt: skip
    return described


def _json(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


def _operation_id(route: Route, method: str) -> str:
    name = route.handler.__name__.removesuffix("Api")
    return f"{'get' if method == 'get' else 'post'}{name}"
