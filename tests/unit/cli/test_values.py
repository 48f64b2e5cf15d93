from __future__ import annotations

import json
import math
from pathlib import Path

import click
import pytest

from orchestration.cli.values import JSON, SECONDS, Parsed, as_json, parse_json


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"id": 1', ["line 1, column 9", "delimiter", '{"id": 1▶']),
        ('{\n "id": x}', ["line 2, column 8"]),
        ("Ana", ["line 1, column 1", "'\"Ana\"'"]),
        ("{'id': 1}", ["column 2", "double quotes"]),
        ("", ["it is empty"]),
        ("NaN", ["NaN is no JSON value"]),
        ("[" + "1, " * 100 + "x]", ["column 302", "…", "▶x]"]),
    ],
)
def test_bad_json_says_where_and_what_to_do(text: str, parts: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        parse_json(text)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_value_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text('{"id": "ñ"}', "utf-8")
    read = JSON.convert(f"@{file}", None, None)
    assert isinstance(read, Parsed)
    assert read.value == {"id": "ñ"}
    with pytest.raises(click.BadParameter, match="cannot be read"):
        JSON.convert(f"@{tmp_path / 'none.json'}", None, None)


def test_null_is_a_value() -> None:
    read = JSON.convert("null", None, None)
    assert isinstance(read, Parsed)
    assert read.value is None


@pytest.mark.parametrize(("text", "seconds"), [("5", 5.0), ("1.5", 1.5), ("500ms", 0.5), ("1h30m", 5400.0), ("0", 0.0)])
def test_times(text: str, seconds: float) -> None:
    assert SECONDS.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "5 parsecs", "-3s"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SECONDS.convert(text, None, None)


def test_every_value_has_a_json_form() -> None:
    value = {"bytes": b"\xff\x00", "nan": math.nan, "list": [1, None, True, -0.0], "text": "ñ"}
    assert json.loads(as_json(value)) == {
        "bytes": {"base64": "/wA="}, "nan": "nan", "list": [1, None, True, -0.0], "text": "ñ",
    }  # fmt: skip
