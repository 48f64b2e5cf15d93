"""Values that cross a border."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import time
import uuid

import pydantic
import pytest

from orchestration.core import payload
from orchestration.errors import DecodeError, EncodeError, PayloadTooLargeError
from tests.support.lua_runs import Run, returned


class Colour(enum.Enum):
    RED = "red"


class Name(enum.StrEnum):
    A = "a"


@dataclasses.dataclass
class Point:
    x: int
    y: Colour


class Order(pydantic.BaseModel):
    id: str
    total: decimal.Decimal


HARD = [
    b"", b"\xff\x00", "", "é", "x" * 31, "x" * 32, "x" * 300, "x" * 70_000, b"y" * 300, b"y" * 70_000,
    0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, -1, -32, -33, -128, -129, -32_768, -32_769,
    -(2**31), -(2**31) - 1, -(2**63), 0.0, -0.0, 1.0, 1e300, math.inf, -math.inf, True, False, None,
    [], {}, [None], [None, None, 1], [1, None, 3], {"a": {}, "b": [], "c": [{}]}, {"b": 1, "a": 2, "é": 3, "z": None},
    [[[]]], list(range(20)), list(range(70_000)), {f"k{i}": i for i in range(20)}, [1, [2, [3, {"x": [None]}]]],
]  # fmt: skip


@pytest.mark.parametrize("value", HARD, ids=lambda value: repr(value)[:30])
def test_values_survive_python_and_lua_byte_for_byte(value: object) -> None:
    encoded = payload.encode(value)
    assert payload.encode(payload.decode(encoded)) == encoded
    back = returned("return ...", value)
    expected = {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else payload.decode(encoded)
    if isinstance(value, bytes):
        expected = "" if value == b"" else value if value[:1] == b"\xff" else value.decode()
    assert payload.encode(back) == payload.encode(expected), "text and bytes are one in Lua; maps lose their nils"


def test_nan_has_one_encoding_on_both_sides() -> None:
    assert payload.encode(-math.nan) == payload.encode(math.nan)
    assert (
        payload.encode(returned("return 0/0")) == payload.encode(returned("return -(0/0)")) == payload.encode(math.nan)
    )


def test_python_types_become_plain_values() -> None:
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    value = {
        "d": decimal.Decimal("1.10"), "t": moment, "day": moment.date(), "u": uuid.UUID(int=1), "e": Colour.RED,
        "s": Name.A, "p": Point(1, Colour.RED), "o": Order(id="x", total=decimal.Decimal(2)), "tuple": (1, 2),
        Name.A: 1, "b": bytearray(b"x"),
    }  # fmt: skip
    assert payload.decode(payload.encode(value)) == {
        "d": "1.10", "t": "2024-01-02T03:04:05Z", "day": "2024-01-02", "u": str(uuid.UUID(int=1)), "e": "red",
        "s": "a", "p": {"x": 1, "y": "red"}, "o": {"id": "x", "total": "2"}, "tuple": [1, 2], "a": 1, "b": b"x",
    }  # fmt: skip


def test_maps_are_written_in_the_order_of_their_keys() -> None:
    assert payload.encode({"b": 1, "a": {"d": 1, "c": 2}}) == payload.encode({"a": {"c": 2, "d": 1}, "b": 1})


LOOP: list[object] = []
LOOP.append(LOOP)
DEEP: list[object] = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"items": [1, 2, 3, {"price": object()}]}, r"value\.items\[3\]\.price: builtins\.object"),
        ({1: 2}, "keys must be text"),
        ({"a b": {1, 2}}, r"value\['a b'\]: builtins\.set"),
        (2**63, "64 bits"),
        (LOOP, r"value\[0\]: the value contains itself"),
        (DEEP, "more than 128 levels"),
        ("\ud800", "lone surrogate"),
        ({"red": 1, Colour.RED: 2}, "two keys read 'red'"),
        ({"a": [{"\ud800": 1}]}, r"value\.a\[0\]: key: the text holds"),
        ({"a": [Point(1, object())]}, r"value\.a\[0\]\.y: builtins\.object"),
        ({"k" * 1000: object()}, r"value\.k{100}: builtins\.object"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_its_path(value: object, text: str) -> None:
    with pytest.raises(EncodeError, match=text):
        payload.encode(value)


def test_a_limit_is_kept() -> None:
    assert payload.encode("xxxx", limit=5) == b"\xa4xxxx"
    with pytest.raises(PayloadTooLargeError, match="takes 6 bytes, the limit is 5"):
        payload.encode("xxxxx", limit=5)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\x01\x01", b"\xd4\x01x", b"\x81\x01\x01", b"\xa1\xff"])
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        payload.decode(data)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("{[1]=1,[3]=3}", "cannot encode sparse array"),
        ("{1, a=2}", "mixed keys"),
        ("{[true]=1}", "mixed keys"),
        ("{[1.5]=1}", "mixed keys"),
        ("{[0]=1}", "sparse array"),
        ("(function() local t = {} t[1] = t return t end)()", "128 levels"),
        ("{['\\xff']=1}", "UTF-8"),
    ],
)
def test_lua_tables_without_a_form_fail_the_run(code: str, text: str) -> None:
    run = Run(f"return function() return {code} end")
    run.start()
    assert text in run.failure["message"]
    assert run.failure["message"].startswith("failed to encode result")
    assert run.failure["kind"] == "Internal"
    assert run.failure["retryable"] is False


def test_lua_values_without_a_form_become_nil_and_errors_their_text() -> None:
    assert returned("return {print, channel.new(), errors.new('x'), coroutine.create(print)}") == [
        None,
        None,
        "x",
        None,
    ]
    assert returned("return {a = print, b = channel.new(), c = errors.wrap('x', 'y')}") == {
        "a": None,
        "b": None,
        "c": "y: x",
    }


def test_lua_writes_keys_in_byte_order() -> None:
    keys = ["é", "Z", "a", "A", "_", "zz", "z", "ä"] + [f"k{i}" for i in range(20)]
    body = "return {" + ",".join(f'["{key}"]=1' for key in keys) + "}"
    run_bytes = payload.encode(returned(body))
    assert run_bytes == payload.encode(dict.fromkeys(keys, 1))


def test_shared_tables_are_written_twice() -> None:
    assert returned("local t = {1} return {a = t, b = t}") == {"a": [1], "b": [1]}


def test_an_empty_map_stays_a_map_until_it_is_filled() -> None:
    assert returned("local m = ... return {m, {}}", {}) == [{}, []]
    assert returned("local m = ... m[1] = 5 return m", {}) == [5]


def test_an_array_with_nils_keeps_its_length() -> None:
    assert returned("return ...", [1, None, 3, None]) == [1, None, 3, None]
    assert returned("local t = ... t[5] = 1 return t", [1, None, 3, None]) == [1, None, 3, None, 1]


def test_long_keys_cost_nothing_in_what_is_below_them() -> None:
    """The path of each part was written for errors that do not come: with keys of a megabyte, half a minute long."""
    begun = time.monotonic()
    payload.encode({"k" * 1_500_000: [0] * 100_000})
    assert time.monotonic() - begun < 2


def test_lists_that_stand_in_many_places_are_counted_in_each() -> None:
    """A few lines of YAML with anchors ask for more memory than there is."""
    value: list[object] = ["x"] * 10
    for _ in range(20):
        value = [value] * 10
    with pytest.raises(PayloadTooLargeError, match="more than 1000 parts, the limit is 1000 bytes"):
        payload.encode(value, limit=1000)
