"""The small language of ``--where``: ``status = "failed" and amount > 100 and type = "app:order"``.

Conditions combined by ``and``, nothing else: each is a name, an operator and a value. Names are those of
:class:`~orchestration.store.query.Condition`, in backquotes when they have other characters than letters, digits,
``_``, ``.`` and ``-``. Values are texts in single or double quotes, numbers, ``true`` and ``false``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from orchestration.store.query import Condition

__all__ = ["parse_where"]

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<sign><=|>=|!=|==?|<>|<|>|[(),])
      | (?P<name>[^\W\d][\w.-]*|`[^`]+`)
    )""",
    re.VERBOSE,
)
_WORDS: Final = frozenset(("and", "or", "not", "in", "prefix", "true", "false", "like", "between", "is", "null"))
_MOST_DIGITS: Final = 400
_A_NAME: Final = "a name (status, type, id, started, closed or a search attribute)"
_AN_OPERATOR: Final = "an operator (= != < <= > >= in prefix)"
_A_VALUE: Final = "a value (text in quotes, a number, true or false)"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int

    @property
    def word(self) -> str:
        """The word of the language that this is; empty for all else."""
        lower = self.text.lower()
        return lower if self.kind == "name" and lower in _WORDS else ""


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self.token = self._read()

    def _read(self) -> _Token:
        rest = self._text[self._place :]
        if not rest.strip():
            return _Token("end", "", len(self._text.rstrip()) + 1)
        match = _TOKEN.match(self._text, self._place)
        if match is None:
            column = self._place + len(rest) - len(rest.lstrip()) + 1
            start = rest.lstrip()[0]
            what = "a text without its closing quote" if start in "\"'`" else f"{start!r}, which has no meaning here"
            raise ValueError(f"where, column {column}: {what}")
        self._place = match.end()
        kind = str(match.lastgroup)
        return _Token(kind, match[kind], match.start(kind) + 1)

    def next(self) -> _Token:
        taken, self.token = self.token, self._read()
        return taken

    def fail(self, expected: str, hint: str = "") -> NoReturn:
        found = repr(self.token.text) if self.token.text else "the end"
        raise ValueError(f"where, column {self.token.column}: expected {expected}, found {found}{hint}")


def parse_where(text: str) -> list[Condition]:
    """Read conditions.

    Returns:
        One for each condition, in order; none for an empty text.

    Raises:
        ValueError: It cannot be read; the message has the column and what was expected there.
    """
    reader = _Reader(text)
    if reader.token.kind == "end":
        return []
    found = [_condition(reader)]
    while reader.token.kind != "end":
        if reader.token.word != "and":
            hint = ": conditions are combined by `and` only" if reader.token.word == "or" else ""
            reader.fail("`and` or the end", hint)
        reader.next()
        found.append(_condition(reader))
    return found


def _condition(reader: _Reader) -> Condition:
    if reader.token.kind != "name" or reader.token.word:
        hint = ": there is no `not`, write != instead" if reader.token.word == "not" else ""
        reader.fail(_A_NAME, hint)
    name = reader.next().text.strip("`")
    operator = {"==": "=", "<>": "!="}.get(reader.token.text, reader.token.text)
    if reader.token.word in ("in", "prefix"):
        operator = reader.token.word
    elif reader.token.kind != "sign" or operator in "(),":
        reader.fail(_AN_OPERATOR)
    reader.next()
    if operator != "in":
        return Condition(name, operator, _value(reader))
    if reader.token.text != "(":
        reader.fail("`(` and the values")
    reader.next()
    values = [_value(reader)]
    while reader.token.text == ",":
        reader.next()
        values.append(_value(reader))
    if reader.token.text != ")":
        reader.fail("`,` or `)`")
    reader.next()
    return Condition(name, "in", values)


def _value(reader: _Reader) -> Any:
    token = reader.token
    if token.kind == "text":
        return re.sub(r"\\(.)", r"\1", reader.next().text[1:-1], flags=re.DOTALL)
    if token.kind == "number":
        if len(token.text) > _MOST_DIGITS:
            raise ValueError(f"where, column {token.column}: a number has at most {_MOST_DIGITS} digits")
        reader.next()
        return int(token.text) if re.fullmatch(r"[-+]?\d+", token.text) else float(token.text)
    if token.word in ("true", "false"):
        return reader.next().text.lower() == "true"
    hint = f": a text has quotes, {token.text!r}" if token.kind == "name" and not token.word else ""
    return reader.fail(_A_VALUE, hint)
