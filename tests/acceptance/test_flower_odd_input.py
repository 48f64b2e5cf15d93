"""Odd input on every page and route in Flower: the answer says what is wrong, or that there is no such thing."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from http.client import RemoteDisconnected
from typing import Any
from urllib.parse import quote

import pytest

from orchestration.dashboard.access import ApiHandler
from orchestration.dashboard.api.operations import operation_of
from orchestration.dashboard.routes import API, PAGES, Route
from tests.support.flower import LOGIN, Flower, start_flower
from tests.support.gallery import gallery, order
from tests.support.odd import ODD_PATHS, ODD_TEXTS, ODD_VALUES, VALID_JSON
from tests.support.projects import Deployment
from tests.support.waiting import wait_until

project = gallery()


@pytest.fixture(scope="module")
def flower(running: Deployment) -> Iterator[Flower]:
    with start_flower(running, f"--basic-auth={LOGIN}", wait=False) as flower:
        handle = running.client.start_workflow("shop:order", order(1), id="order-1")
        running.client.start_workflow("shop:order", order(2, wait=True), id="order-2")
        assert handle.result(timeout=60)
        flower.wait_until_ready()
        yield flower


def path_of(route: Route, name: str = "order-1") -> str:
    """A path of a route."""
    verb = (getattr(route.handler, "VERBS", ()) or ("",))[0]
    return route.path.replace("{id}", name).replace("{verb}", verb)


def names_of(route: Route) -> set[str]:
    """Parameters that a route reads, or is said to read."""
    said: set[str] = set()
    if issubclass(route.handler, ApiHandler):
        said = {name for name, _, _ in operation_of(route.handler.get).query}
    source = inspect.getsource(route.handler)
    return said | set(re.findall(r"(?:text|count)\(\"(\w+)\"", source)) | set(
        re.findall(r"\"(\w+)\"", "".join(re.findall(r"names = \(.*\)", source)))
    )


def methods_of(route: Route) -> list[str]:
    return [verb for verb in ("GET", "POST") if not _is_missing(getattr(route.handler, verb.lower()))]


def _is_missing(method: Any) -> bool:
    return bool(method.__name__ == "_unimplemented_method")


READING = [route for route in (*PAGES, *API) if "GET" in methods_of(route)]
WRITING = [route for route in API if "POST" in methods_of(route)]


@pytest.mark.parametrize("route", READING, ids=lambda route: route.path)
def test_no_text_in_a_url_is_too_much(flower: Flower, route: Route) -> None:
    base = path_of(route)
    for name in names_of(route):
        for odd, text in ODD_TEXTS.items():
            sent = quote(text, safe="")[:60_000]
            run = "&id=order-1" if route in PAGES and name != "id" else ""
            answer = flower.get(f"{base}?{name}={sent}{run}", login=LOGIN)
            assert answer.status in (200, 400, 403, 404), (name, odd, answer.text[:500])
        for sent in ("%FF", "%ED%A0%80", "%", "%zz", f"order-1&{name}=x&{name}=%00"):
            assert flower.get(f"{base}?{name}={sent}", login=LOGIN).status in (200, 400, 403, 404), (name, sent)


def test_the_parameters_of_every_page_are_known_here() -> None:
    """They are read from the sources: a page whose source says them in another way would not be tried."""
    found = {route.path: names_of(route) for route in PAGES}
    assert found["/workflows"] == {"status", "type", "id", "where", "namespace", "cursor"}
    assert found["/workflows/run"] == {"id", "run", "namespace", "after"}
    assert found["/workflows/start"] == {"type", "id", "like", "namespace"}
    assert found["/workflows/parked"] == {"cursor"}
    assert found["/workflows/schedules"] == {"id", "after"}
    assert found["/workflows/processes"] == {"host"}


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "0" * 12 + "9" * 20, "9223372036854775808", "-1", "²"])
def test_a_number_is_within_its_limits_however_it_is_written(flower: Flower, number: str) -> None:
    sent = quote(number)
    for path in (f"/workflows/run?id=order-1&after={sent}", f"/api/workflows/runs/order-1/history?after={sent}",
                 f"/api/workflows/runs/order-1/history?limit={sent}", f"/api/workflows?limit={sent}"):  # fmt: skip
        answer = flower.get(path, login=LOGIN)
        assert answer.status == 400, path
        assert "whole number" in answer.text, path


@pytest.mark.parametrize("route", [route for route in API if "{id}" in route.path], ids=lambda route: route.path)
def test_no_name_in_a_path_is_too_much(flower: Flower, route: Route) -> None:
    for name in ODD_PATHS:
        for method in methods_of(route):
            body = {"topic": "x"} if route.path.endswith("signal") else None
            body = {"to_event": 1} if route.path.endswith("reset") else body
            answer = flower.ask(method, path_of(route, name), body=body, login=LOGIN)
            assert answer.status in (400, 404, 409), (method, name[:30], answer.text[:500])
            assert "x-odd" not in answer.headers


@pytest.mark.parametrize("route", WRITING, ids=lambda route: route.path)
def test_no_value_in_a_body_is_too_much(flower: Flower, route: Route) -> None:
    said = operation_of(route.handler.post)
    good = {"topic": "x", "type": "shop:approval", "to_event": 10**9}
    path = path_of(route, "order-2" if "reset" not in route.path and "terminate" not in route.path else "order-1")
    for name in said.body or {}:
        for odd, value in ODD_VALUES.items():
            body = {key: good[key] for key in said.required} | {name: value}
            answer = flower.post(path, body, login=LOGIN)
            assert answer.status < 500, (name, odd, answer.text[:500])
            if answer.status >= 400:
                assert answer.json["error"]["message"], (name, odd)
    for raw in VALID_JSON:
        assert flower.post(path, raw, login=LOGIN).status in (400, 404, 409)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("9223372036854775808", "64 bits"), ("-9223372036854775809", "64 bits"), ("9" * 5000, "64 bits"),
        ("1e400", "beyond all floats"), ("-1e400", "beyond all floats"), ("NaN", "no JSON value"),
    ],
)  # fmt: skip
def test_a_number_that_would_become_another_is_refused(flower: Flower, number: str, told: str) -> None:
    start, signal = "/api/workflows", "/api/workflows/runs/order-2/signal"
    for path, body in (
        (start, f'{{"type": "shop:approval", "args": [{number}]}}'),
        (start, f'{{"type": "shop:approval", "memo": {{"n": {number}}}}}'),
        (start, f'{{"type": "shop:approval", "search": {{"n": {number}}}}}'),
        (signal, f'{{"topic": "x", "payloads": [{{"n": {number}}}]}}'),
    ):
        answer = flower.post(path, body.encode(), login=LOGIN)
        assert answer.status == 400, body[:80]
        assert told in answer.json["error"]["message"], body[:80]


def test_an_option_that_is_no_whole_number_is_refused(flower: Flower) -> None:
    for path, body in (("release", b'{"limit": 10.0}'), ("runs/order-1/reset", b'{"to_event": 1.0}')):
        answer = flower.post(f"/api/workflows/{path}", body, login=LOGIN)
        assert answer.status == 400, answer.text


def test_what_json_has_not_got_is_named_before_it_is_started_again(flower: Flower, running: Deployment) -> None:
    told = {"infinite": ([{"n": math.inf}], "stand here as text"), "bytes": ([[b"\xff"]], "It has bytes"),
            "plain": (["inf"], "")}  # fmt: skip
    for name, (args, _) in told.items():
        handle = running.client.start_workflow("shop:approval", *args, id=f"like-{name}")
        wait_until(lambda handle=handle: handle.describe().history_length, deadline_s=60)  # type: ignore[misc]
    for name, (_, text) in told.items():
        page = flower.get(f"/workflows/start?id=like-{name}", login=LOGIN).text
        assert [one for one in ("stand here as text", "It has bytes") if one in page] == ([text] if text else [])


def test_what_is_longer_than_a_server_reads_is_refused_and_it_goes_on(flower: Flower) -> None:
    try:
        status = flower.get(f"/workflows?id={'x' * 100_000}", login=LOGIN).status
    except (RemoteDisconnected, ConnectionError):
        status = 431
    assert status in (400, 431)
    assert flower.post("/api/workflows", b'{"type": "' + b"x" * 5_000_000 + b'"}', login=LOGIN).status == 413
    assert flower.get("/workflows", login=LOGIN).status == 200
