"""What can be handed over, and what it becomes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import threading
import uuid

import pydantic
import pytest

from orchestration.errors import EncodeError
from tests.support.projects import Project

project = Project()

echo = project.workflow(
    "echo",
    """
    local function main(value)
        return value
    end
    return main
    """,
    modules=[],
)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Line:
    item: str
    price: decimal.Decimal


class Customer(pydantic.BaseModel):
    name: str
    since: dt.date


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 2**63 - 1, -(2**63), 1.5, -0.0, "", "ñandú 🦙", b"\xff\x00", [], {}, [1, None, 3],
        {"nested": [{"deep": 1}, [[]]]}, {"with space": 1, "": 2},
    ],
    ids=repr,
)  # fmt: skip
def test_plain_values_come_back_as_they_went(client, value):
    back = client.start_workflow(echo, value).result(timeout=10)
    assert back == value
    assert type(back) is type(value)


def test_what_lua_cannot_tell_apart_comes_back_as_lua_sees_it(client):
    """A Lua string that is valid UTF-8 is text; a field that is nil is no field."""
    assert client.start_workflow(echo, b"text").result(timeout=10) == "text"
    assert client.start_workflow(echo, {"gone": None, "here": 1}).result(timeout=10) == {"here": 1}


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (decimal.Decimal("12.50"), "12.50"),
        (dt.datetime(2024, 5, 1, 12, 30, tzinfo=dt.UTC), "2024-05-01T12:30:00Z"),
        (dt.date(2024, 5, 1), "2024-05-01"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        ((1, 2), [1, 2]),
        (Line("chair", decimal.Decimal("9.90")), {"item": "chair", "price": "9.90"}),
        (Customer(name="Ana", since=dt.date(2020, 2, 29)), {"name": "Ana", "since": "2020-02-29"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rich_values_become_plain_ones(running, value, carried):
    assert running.client.start_workflow(echo, value).result(timeout=10) == carried
    assert running.app.tasks[echo].delay(value).get(timeout=10) == carried


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"items": [1, {"price": {1, 2}}]}, r"\[0\].items\[1\].price"),
        ({"lock": threading.Lock()}, r"\[0\].lock"),
        ({"total": 2**63}, r"\[0\].total"),
        ({1: "a"}, r"\[0\]"),
    ],
    ids=["set", "lock", "too large", "key"],
)
def test_anything_else_is_one_error_that_names_the_place(running, value, path):
    for start in (running.client.start_workflow, lambda name, arg: running.app.send_task(name, args=[arg])):
        with pytest.raises(EncodeError, match=path):
            start(echo, value)
