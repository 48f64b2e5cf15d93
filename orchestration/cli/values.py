"""Values on the command line: JSON and durations, with errors that say where; and values as JSON again."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, Final

import click

from orchestration.core.durations import parse_duration_ms
from orchestration.core.export import as_json
from orchestration.core.json_values import read_json

__all__ = ["JSON", "SECONDS", "JsonValue", "Seconds", "as_json", "event_place", "parse_json"]

_AROUND = 24


def parse_json(text: str) -> Any:
    """Read one JSON value.

    Raises:
        ValueError: It is none; the text says line, column and what stands there.
    """
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(_explain(text, error)) from None


def _explain(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return "it is empty: JSON is expected, such as 42, '\"text\"' or '{\"id\": 1}'"
    before, after = text[max(0, error.pos - _AROUND) : error.pos], text[error.pos : error.pos + _AROUND]
    place = f"line {error.lineno}, column {error.colno}"
    shown = f"{'…' if error.pos > _AROUND else ''}{before}▶{after}".replace("\n", "⏎")
    message = f"not valid JSON at {place}: {error.msg}: {shown}"
    if error.pos == 0 and text[:1] not in "{[\"'":
        message += f"; text is written with quotes in quotes: '{json.dumps(text, ensure_ascii=False)}'"
    elif "'" in text and '"' not in text:
        message += '; JSON takes double quotes: put the whole into single quotes, as \'{"id": 1}\''
    return message


class JsonValue(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click alone
    """One JSON value; ``@file`` reads it from a file, ``-`` from standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the value of an option or argument."""
        if not isinstance(value, str):
            return value
        source, text = "", value
        if value == "-":
            source, text = "standard input: ", sys.stdin.read()
        elif value.startswith("@"):
            try:
                source, text = f"{value[1:]}: ", Path(value[1:]).read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                self.fail(f"{value[1:]} cannot be read: {error}", param, ctx)
        try:
            return Parsed(parse_json(text))
        except ValueError as error:
            self.fail(f"{source}{error}", param, ctx)


class Parsed:
    """A value that was read; wrapped, since click takes None for 'not given'."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Seconds(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click alone
    """A time in seconds: ``5``, ``1.5``, ``"500ms"``, ``"1h30m"``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the value of an option."""
        if isinstance(value, (int, float)):
            return float(value)
        try:
            seconds = float(value)
        except ValueError:
            try:
                seconds = parse_duration_ms(value) / 1000
            except ValueError:
                self.fail(f"{value!r} is no time: give seconds, or text such as 500ms, 10s, 1h30m", param, ctx)
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{value!r} must not be negative", param, ctx)
        return seconds


def event_place(text: str) -> int | str:
    """A place in a history: the number of an event, or a name."""
    return int(text) if text.isascii() and text.isdigit() else text


JSON: Final = JsonValue()
SECONDS: Final = Seconds()
