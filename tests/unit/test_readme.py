"""Links of the README lead somewhere, those into a page to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def anchors(text: str) -> set[str]:
    """Names of the headings of a page, as hosts of repositories and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_to_a_file_leads_somewhere() -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", README.read_text("utf-8")):
        path = README.parent / target if target else README
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path.read_text("utf-8")), f"{target}#{anchor}"
