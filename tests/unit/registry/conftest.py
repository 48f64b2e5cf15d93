"""A tree of definition files in a temporary folder."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestration.registry import DefinitionsError, Registry, load_registry


class TreeWriter:
    """Writes the files of a tree and loads it with an environment of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def load(self, env: Mapping[str, str] | None = None) -> Registry:
        return load_registry([self.root], env=env or {})

    def problems(self, env: Mapping[str, str] | None = None) -> list[str]:
        """Texts of all problems, file names relative to the root."""
        with pytest.raises(DefinitionsError) as caught:
            self.load(env)
        return [str(problem).replace(f"{self.root}/", "") for problem in caught.value.problems]

    def warnings(self) -> list[str]:
        return [str(problem).replace(f"{self.root}/", "") for problem in self.load().warnings]


@pytest.fixture
def tree(tmp_path: Path) -> TreeWriter:
    return TreeWriter(tmp_path / "config")
