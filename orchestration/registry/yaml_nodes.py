"""YAML to plain values that remember their lines.

Plain scalars are read by the YAML 1.2 rules (``yes`` and ``12:30`` are texts), octal numbers such as ``0644`` too.
Anchors and merge keys work within a bound; tags of other types than YAML's own data types are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import yaml

__all__ = ["LARGEST_FILE_BYTES", "Document", "Path", "YamlProblem", "read_documents"]

LARGEST_FILE_BYTES: Final = 1024 * 1024
"""Largest definition file, and largest file that a ``file://`` value may name."""

_MOST_VALUES = 100_000

_TAG = "tag:yaml.org,2002:"
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlProblem:
    """Something wrong with a YAML text as such."""

    line: int
    what: str
    cure: str
    path: Path = ()
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document.

    Attributes:
        value: Dicts, lists, texts, numbers, booleans and None.
        line: Line of its first value.
        lines: Line of each value by its path (of the key, in a mapping).
        text_lines: For texts, the line before the text's first: in a block text (``|``) the line of the indicator.
        problems: What is wrong in it; then the value is not to be relied on.
    """

    value: Any
    line: int
    lines: Mapping[Path, int] = field(default_factory=dict)
    text_lines: Mapping[Path, int] = field(default_factory=dict)
    problems: tuple[YamlProblem, ...] = ()

    def line_of(self, path: Path) -> int:
        """Line of the value at the path, or of the nearest value around it."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return line
        return self.line


class _Loader(yaml.SafeLoader):
    """Composes nodes; scalars get their type by the rules below, not by YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML wants a dict on the class


_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")
_INTEGER = re.compile(r"[-+]?(?:0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MOST_DIGITS = 40


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    sign = -1 if text.startswith("-") else 1
    if digits.startswith("0x"):
        return sign * int(digits, 16)
    if len(digits) > 1 and digits.startswith("0"):
        return sign * int(digits.removeprefix("0o"), 8)
    return sign * int(digits)


def _plain_scalar(text: str) -> object:
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if len(text) <= _MOST_DIGITS and _INTEGER.fullmatch(text):
        return _integer(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


_EXPLICIT: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {
        _TAG + "str": str,
        _TAG + "int": _integer,
        _TAG + "float": float,
        _TAG + "bool": lambda text: text.lower() == "true",
        _TAG + "null": lambda _: None,
    }
)


class _TooManyValuesError(Exception):
    """Aliases within aliases: the text is short, its value is not."""


class _Reader:
    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.text_lines: dict[Path, int] = {}
        self.problems: list[YamlProblem] = []
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        if self._count > _MOST_VALUES:
            raise _TooManyValuesError
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._add(line, path, "an alias refers to a value that it is part of", "write the value out")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, path, "seq")
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))
        return None

    def _add(self, line: int, path: Path, what: str, cure: str, value: str | None = None) -> None:
        self.problems.append(YamlProblem(line=line, path=path, what=what, cure=cure, value=value))

    def _check_tag(self, node: yaml.Node, path: Path, expected: str) -> None:
        if node.tag not in {_TAG + expected, "!"}:
            line = node.start_mark.line + 1
            self._add(line, path, f"the tag {node.tag!r} is not supported", "remove the tag and write a plain value")

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text = str(node.value)
        if node.style is not None or node.tag == "!":
            block = node.style in {"|", ">"}
            self.text_lines[path] = node.start_mark.line + (1 if block else 0)
        if node.tag == _TAG + "str":
            # The resolver gives this tag to quoted texts and, having no rules, to plain ones; an explicit
            # "!!str" looks the same, so a plain scalar after it is told by the text before its mark.
            return text if node.style is not None or _is_tagged(node) else _plain_scalar(text)
        if node.tag == "!":
            return text
        convert = _EXPLICIT.get(node.tag)
        if convert is None:
            self._check_tag(node, path, "str")
            return text
        try:
            return convert(text)
        except ValueError:
            name = node.tag.removeprefix(_TAG)
            self._add(
                node.start_mark.line + 1, path, f"is not of the type of its tag, {name}", "remove the tag", repr(text)
            )
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._check_tag(node, path, "map")
        result: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        merged: list[tuple[yaml.Node, int]] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._add(line, path, "a key must be one word or text", "write the key as plain text")
                continue
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                merged.append((value_node, line))
                continue
            if key in first_line:
                self._add(
                    line,
                    (*path, key),
                    f"the key {key!r} is written twice, first in line {first_line[key]}",
                    "keep one of them",
                )
                continue
            first_line[key] = line
            self.lines.setdefault((*path, key), line)
            result[key] = self.value(value_node, (*path, key))
        for value_node, line in merged:
            sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for source in sources:
                if not isinstance(source, yaml.MappingNode):
                    self._add(
                        line, path, "'<<' must name a mapping", "give it an alias of a mapping, such as *defaults"
                    )
                    continue
                for key, value in self.value(source, path).items():
                    result.setdefault(key, value)
        return result


def _is_tagged(node: yaml.ScalarNode) -> bool:
    """Whether a plain scalar carries an explicit ``!!str``."""
    mark = node.start_mark
    return mark.buffer is not None and str(mark.buffer)[mark.pointer : mark.pointer + 5] == "!!str"


def _syntax_problem(error: yaml.YAMLError) -> YamlProblem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    context = getattr(error, "context", None)
    if context:
        what = f"{what} ({context})"
    column = f", column {mark.column + 1}" if mark is not None else ""
    return YamlProblem(
        line=mark.line + 1 if mark is not None else 1,
        what=f"not valid YAML: {what}{column}",
        cure="correct the YAML here; look at indentation, colons and quotes first",
    )


def read_documents(data: bytes) -> list[Document]:
    """Read all YAML documents of a file; never raises for what the file holds."""
    if len(data) > LARGEST_FILE_BYTES:
        what = f"the file has {len(data)} bytes, a definition file may have {LARGEST_FILE_BYTES}"
        return [_broken(YamlProblem(line=0, what=what, cure="split it into several files"))]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return [_broken(YamlProblem(line=line, what="the file is not UTF-8 text", cure="save it as UTF-8"))]
    documents: list[Document] = []
    try:
        documents.extend(_document(node) for node in yaml.compose_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        documents.append(_broken(_syntax_problem(error)))
    except RecursionError:
        documents.append(_broken(YamlProblem(line=1, what="values are nested too deeply", cure="flatten the file")))
    return documents


def _document(node: yaml.Node) -> Document:
    reader = _Reader()
    line = node.start_mark.line + 1
    try:
        value = reader.value(node, ())
    except _TooManyValuesError:
        what = f"aliases make more than {_MOST_VALUES} values of this file"
        return _broken(YamlProblem(line=line, what=what, cure="use fewer anchors and aliases, or split the file"))
    return Document(
        value=value,
        line=line,
        lines=reader.lines,
        text_lines=reader.text_lines,
        problems=tuple(reader.problems),
    )


def _broken(problem: YamlProblem) -> Document:
    return Document(value=None, line=problem.line, problems=(problem,))
