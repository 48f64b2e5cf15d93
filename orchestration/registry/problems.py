"""What can be wrong with definitions, and how it is told: everything at once, each with its place and its cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestration.errors import RegistryError

__all__ = ["DefinitionsError", "Problem", "ProblemList", "close_matches", "shown"]

_LONGEST_VALUE = 100
_HIDDEN = "(hidden)"
_SECRETS = ("api_key", "key_pem", "token_key", "password", "secret", "values")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a tree of definitions.

    Attributes:
        file: The file to open, as reached from the path that was given to the loader.
        line: Line in it, from 1; 0 if the problem is the file itself.
        entry: Id of the entry, empty if the problem is outside of one.
        field: Dotted path of the field, empty if the problem is not a field's.
        value: The offending value as written, shortened; None if nothing is there.
        what: What is wrong.
        cure: What to do about it.
    """

    file: str
    line: int
    what: str
    cure: str
    entry: str = ""
    field: str = ""
    value: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        entry = f"entry {self.entry}: " if self.entry else ""
        value = "" if self.value is None else f" = {self.value}"
        subject = f"field '{self.field}'{value}: " if self.field else ""
        return f"{place}{entry}{subject}{self.what}; {self.cure}"


class DefinitionsError(RegistryError):
    """Trees of definitions cannot be used; nothing was loaded.

    Args:
        problems: All that is wrong in all trees, in the order of files and lines.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "1 problem in the definitions:" if count == 1 else f"{count} problems in the definitions:"
        return "\n".join([head, *(str(problem) for problem in self.problems)])


class ProblemList:
    """Collects problems, which refuse the trees, and warnings, which do not."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}
        self._warnings: dict[Problem, None] = {}

    def __len__(self) -> int:
        return len(self._problems)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._problems)

    def add(self, problem: Problem) -> None:
        """Note a problem; the same one twice counts once."""
        self._problems[problem] = None

    def warn(self, problem: Problem) -> None:
        """Note something that is accepted, but which the author should know."""
        self._warnings[problem] = None

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """All warnings, in the order of files and lines."""
        return tuple(sorted(self._warnings, key=_place))

    def raise_if_any(self) -> None:
        """Raise all problems together, or do nothing if there are none.

        Raises:
            DefinitionsError: There are problems.
        """
        if self._problems:
            raise DefinitionsError(sorted(self._problems, key=_place))


def _place(problem: Problem) -> tuple[str, int, str, str]:
    return (problem.file, problem.line, problem.entry, problem.field)


def close_matches(wanted: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Suggest names close to one that is not known.

    Returns:
        ``"did you mean 'a' or 'b'?"``, or ``otherwise`` if nothing is close.
    """
    names = sorted(set(known))
    matches = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    if not matches and ":" in wanted:
        tail = wanted.split(":", 1)[1]
        matches = [name for name in names if name.split(":", 1)[-1] == tail][:3]
    if not matches:
        return otherwise
    return "did you mean " + " or ".join(repr(match) for match in matches) + "?"


def shown(value: object, *, field: str = "") -> str:
    """A value as an error text shows it: short, and never a secret."""
    if _is_secret(field):
        return _HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    text = repr(_plain(value))
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _is_secret(field: str) -> bool:
    return any(secret in field for secret in _SECRETS)


def _plain(value: object) -> object:
    """Undo the immutable wrappers, so that a list looks like one; leave secrets out."""
    if isinstance(value, Mapping):
        return {key: _HIDDEN if _is_secret(str(key)) else _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
