"""The blocks of code on the pages, and what can be said of each without running it."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jsonschema
import lupa.lua54
import yaml
from django.core.exceptions import ImproperlyConfigured

from orchestration.registry.schema import definition_schema

ROOT = Path(__file__).resolve().parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?:    [^\n]*\n)+")
_LUA = lupa.lua54.LuaRuntime()
_SCHEMA = jsonschema.Draft202012Validator(definition_schema())


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: Path of the page in the repository.
        line: Where it begins.
        language: As written behind the fence; empty for one that is indented instead.
        text: Its code.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """Every block of every page."""
    for path in PAGES:
        page, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
        for found in _FENCED.finditer(text):
            code = re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE)
            yield Block(page, text.count("\n", 0, found.start()) + 1, found[2] or "none", code)
        text = _FENCED.sub(lambda found: re.sub(r"[^\n]+", "x", found[0]), text)
        for found in _INDENTED.finditer(text):
            code = re.sub(r"^    ", "", found[0], flags=re.MULTILINE)
            yield Block(page, text.count("\n", 0, found.start()) + 1, "", code)


def check_yaml(text: str) -> None:
    """It loads; entries of definitions fit the schema of them, Kubernetes objects name their version."""
    loaded = yaml.safe_load(text)
    assert isinstance(loaded, (dict, list)), "neither a mapping nor a list"
    if isinstance(loaded, list) and all("kind" in one for one in loaded):
        loaded = {"namespace": "page", "entries": loaded}
    if isinstance(loaded, dict) and "apiVersion" in loaded:
        assert {"kind", "metadata", "spec"} <= set(loaded)
    elif isinstance(loaded, dict) and "entries" in loaded:
        _SCHEMA.validate(loaded)


def check_lua(text: str) -> None:
    """It compiles, as a chunk."""
    compiled = _LUA.eval("function(text) return load(text, '=page', 't') end")(text)
    assert not isinstance(compiled, tuple) or compiled[0] is not None, compiled[1]


def check_python(text: str, known: Mapping[str, set[str] | None]) -> set[str]:
    """It compiles; what it imports is there; names are made in it, builtin or known; attributes of clients exist.

    Args:
        text: The code, or what an interpreter shows.
        known: Names that the page has explained, and the attributes of those of which they are known.

    Returns:
        Names that later blocks of the page may use.
    """
    if text.startswith(">>>"):
        text = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    if text.startswith("@"):
        text += "def test(): ...\n"
    tree = compile(text, "page", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    made = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                _module(name.name)
                made.add((name.asname or name.name).partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            module = None if node.level else _module(str(node.module))
            for name in node.names:
                made.add(name.asname or name.name)
                if module is not None and not _has(module, name.name):
                    _module(f"{node.module}.{name.name}")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            assert node.id in made or node.id in known or hasattr(builtins, node.id), f"what is {node.id}?"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            holder = known.get(node.value.id)
            assert holder is None or node.attr in holder, f"{node.value.id} has no {node.attr}"
    return made


_OWN = ("celery_app", "tasks", "shop", "orders", "decide", "approval")
"""Modules that pages tell the reader to write."""


def _module(name: str) -> Any:
    if name.partition(".")[0] in _OWN:
        return None
    try:
        return importlib.import_module(name)
    except ImproperlyConfigured:  # it is there, and wants a Django project around it
        return None


def _has(module: Any, name: str) -> bool:
    try:
        return hasattr(module, name)
    except ImproperlyConfigured:
        return True


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell, without what comes after a pipe or goes into a file."""
    for line in text.replace("\\\n", " ").splitlines():
        command = re.split(r"  #| \| | > |   +(?=[a-z])", line.removeprefix("$ "))[0]
        words = [word for word in shlex.split(command, comments=True) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words:
            yield words


def check_command(words: list[str], group: click.Group, others: dict[str, set[str]]) -> None:
    """Commands of this package parse; those of others have the options that are given."""
    if words[:3] == ["celery", "-A", "celery_app"] and words[3:4] == ["workflow"]:
        words = ["orchestration", *words[4:]]
    if words[0] in ("flask", "python") and "workflow" in words:  # the same commands below another program
        words = ["orchestration", *words[words.index("workflow") + 1 :]]
    name = words[0].rpartition("/")[2]
    if name == "orchestration":
        _parse(group, words[1:])
    else:
        key = " ".join([name, *(word for word in words[1:] if word in ("worker", "flower", "inspect"))][:2])
        assert key in others, f"nothing is known of {key!r}"
        for word in words[1:]:
            option = word.partition("=")[0]
            assert not option.startswith("-") or option in others[key], f"{key} has no {option}"


def _parse(command: click.Command, words: list[str]) -> None:
    """As click does, without running anything: converters of values that look at the world are left out."""
    context = click.Context(command, info_name=command.name, resilient_parsing=True)
    rest = list(words)
    parser = command.make_parser(context)
    _, left, _ = parser.parse_args(rest)
    if isinstance(command, click.Group):
        assert left or command.invoke_without_command, f"{command.name} needs a command"
        if not left:
            return
        inner = command.get_command(context, left[0])
        assert inner is not None, f"{command.name} has no {left[0]}"
        _parse(inner, left[1:])
        return
    given, _, _ = command.make_parser(click.Context(command, info_name=command.name)).parse_args(list(words))
    for parameter in command.params:
        value = given.get(str(parameter.name))
        if isinstance(parameter.type, click.Choice) and isinstance(value, str):
            assert value in parameter.type.choices, f"{command.name}: {value} is none of {parameter.type.choices}"
        if isinstance(parameter, click.Argument) and parameter.required:
            assert value if isinstance(value, (str, tuple)) else False, f"{command.name} needs {parameter.name}"
    assert not left, f"{command.name} takes no {left}"
