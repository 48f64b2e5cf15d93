"""Addresses of what takes messages: ``{node@host|unique}``, for a workflow ``{client@worker|workflow id}``."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.types import Pid

__all__ = ["ParsedPid", "make_pid", "parse_pid"]


@dataclass(frozen=True, slots=True)
class ParsedPid:
    """Parts of an address.

    Attributes:
        node: Client entry of a workflow; empty when absent.
        host: Worker entry of a workflow, or a queue.
        unique: The workflow id.
    """

    node: str
    host: str
    unique: str


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("|", "%7C").replace("{", "%7B").replace("}", "%7D")


def _unescape(text: str) -> str:
    return text.replace("%7D", "}").replace("%7B", "{").replace("%7C", "|").replace("%25", "%")


def make_pid(node: str, host: str, unique: str) -> Pid:
    """Build an address; what could be mistaken for its punctuation is escaped."""
    return Pid(f"{{{node}@{host}|{_escape(unique)}}}")


def parse_pid(text: str) -> ParsedPid | None:
    """Read an address; None when the text is none."""
    if not (text.startswith("{") and text.endswith("}")) or "|" not in text:
        return None
    place, *_, unique = text[1:-1].split("|")
    node, at, host = place.partition("@")
    return ParsedPid(node if at else "", host if at else node, _unescape(unique))
