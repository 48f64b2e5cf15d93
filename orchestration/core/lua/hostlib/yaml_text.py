"""YAML texts for the Lua module ``yaml``: the core schema of YAML 1.2, read safely and within bounds.

``yes``, ``on`` and ``1:30`` are text here, and so is a date. Keys become text. Anchors may be used, but what they
unfold to is counted: a few lines can ask for more memory than any machine has.

Source: gopkg.in/yaml.v3 (resolve.go), YAML 1.2.2 chapter 10.3.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import yaml

from orchestration.core.lua.host import Encoded, HostError, host_function
from orchestration.core.lua.hostlib.json_text import format_float
from orchestration.core.lua.hostlib.values import LUA_INTEGER_MAX, LUA_INTEGER_MIN, Value, as_bytes, limited

__all__ = ["decode_yaml", "encode_yaml"]

_MOST_BYTES = 1024 * 1024
_MOST_NODES = 200_000
_MOST_UNFOLDED_BYTES = 8 * 1024 * 1024
_DEPTH = 128

_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|0b[01]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_OPENERS = re.compile(r"[\[{]|[-?:](?=\s|$)")
"""Of all collections a text has at least one of these; what has few of them cannot be deep."""
_DIGITS = "0123456789"
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _key(key: Any) -> str:
    """Give a key as text."""
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, float):
        return format_float(key)
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """Knows the core schema only, and no merge keys."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        """Read a mapping; its keys become text before they can meet: 1 and true are the same key in Python."""
        found: dict[str, Any] = {}
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, "expected a mapping", node.start_mark)
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a scalar", key_node.start_mark)
            key = _key(self.construct_object(key_node, deep=True))
            if key in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            found[key] = self.construct_object(value_node, deep=deep)
        return found


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """Quotes what any reader, old or new, would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything in full."""
        del data
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
    _class.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""])
    _class.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+" + _DIGITS))
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+." + _DIGITS))


def _read_int(loader: Any, node: Any) -> int | float:
    text = str(loader.construct_scalar(node)).replace("_", "")
    if len(text) > 64:
        raise HostError("Internal", f"yaml: the number {text[:20]}... is too long")
    base = {"0o": 8, "0x": 16, "0b": 2}.get(text[:2].lower(), 10)
    number = int(text[2:] if base != 10 else text, base)
    return number if LUA_INTEGER_MIN <= number <= LUA_INTEGER_MAX else float(number)


def _read_float(loader: Any, node: Any) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _read_bool(loader: Any, node: Any) -> bool:
    return str(loader.construct_scalar(node)).lower() in ("true", "yes", "on")


def _read_text(loader: Any, node: Any) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _read_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _read_float)
_Loader.add_constructor("tag:yaml.org,2002:bool", _read_bool)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _read_text)
_Dumper.add_representer(
    float,
    lambda dumper, number: dumper.represent_scalar("tag:yaml.org,2002:float", _write_float(number)),
)


def _write_float(number: float) -> str:
    if math.isnan(number):
        return ".nan"
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    digits, mark, exponent = format_float(number).partition("e")
    return (digits if "." in digits else digits + ".0") + mark + exponent


class _Unfolding:
    """Copies a loaded document into plain values and counts what it comes to."""

    def __init__(self) -> None:
        self._nodes = 0
        self._bytes = 0

    def _count(self, size: int) -> None:
        self._nodes += 1
        self._bytes += size
        if self._nodes > _MOST_NODES or self._bytes > _MOST_UNFOLDED_BYTES:
            raise HostError("Internal", "yaml: the document unfolds to too much data")

    def copy(self, value: Any, depth: int = 0) -> Value:
        """Give `value` as what may cross the border."""
        if isinstance(value, str | bytes):
            self._count(len(value))
            return value
        self._count(8)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= _DEPTH:
            raise HostError("Internal", f"yaml: more than {_DEPTH} levels of nesting")
        if isinstance(value, dict):
            self._count(sum(map(len, value)))
            return {key: self.copy(item, depth + 1) for key, item in value.items() if item is not None} or []
        if isinstance(value, list | tuple | set | frozenset):
            return [self.copy(item, depth + 1) for item in value]
        raise HostError("Internal", f"yaml: a {type(value).__name__} cannot be read")


def _check_depth(text: str) -> None:
    """Refuse what is nested too deeply, before the loader follows it down: in C, where nothing ends that but a crash.

    Raises:
        HostError: ``Internal``.
        yaml.YAMLError: The text is no YAML.
    """
    if sum(1 for _ in _OPENERS.finditer(text)) <= _DEPTH:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH:
                raise HostError("Internal", f"yaml: more than {_DEPTH} levels of nesting")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def decode_yaml(data: bytes) -> Value:
    """Read one document.

    Raises:
        HostError: ``Invalid`` when it is too large, ``Internal`` for mistakes and for anything but a table.
    """
    limited(data, _MOST_BYTES, "yaml: the text")
    text = data.decode(errors="replace")
    loader = _Loader(text)
    try:
        _check_depth(text)
        document = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise HostError("Internal", f"yaml: {error.problem or error.context or 'syntax error'}{place}") from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise HostError("Internal", f"yaml: {error}") from error
    except RecursionError:
        raise HostError("Internal", f"yaml: more than {_DEPTH} levels of nesting") from None
    finally:
        loader.dispose()
    if document is None:
        return []
    if not isinstance(document, dict | list):
        raise HostError("Internal", "yaml: the document is no table")
    return _Unfolding().copy(document)


def encode_yaml(value: Value) -> str:
    """Write a table in block style, keys in order."""
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=2**30)
    return text


@host_function("yaml.decode")
def _decode(text: Value) -> Encoded:
    return Encoded(decode_yaml(as_bytes(text)))


@host_function("yaml.encode")
def _encode(value: Value) -> Value:
    return encode_yaml(value)
