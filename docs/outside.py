"""A hook of mkdocs: links out of docs/ have nowhere to lead on the site, so their words stand there alone.

The file has to exist all the same, or the build warns, and with ``strict`` fails.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

LOG = logging.getLogger("mkdocs.hooks.outside")
_DEFINITION = re.compile(r"^\[([^\]\n]+)\]: (\S+)$\n?", re.MULTILINE)
_INLINE = re.compile(r"\[([^\]\n]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def _leaves(target: str, page: Path, docs: Path) -> bool:
    if "://" in target or target.startswith(("#", "mailto:")):
        return False
    return not (page.parent / target).resolve().is_relative_to(docs)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Take out the links that leave the folder of the pages."""
    docs, path = Path(config["docs_dir"]).resolve(), Path(page.file.abs_src_path)
    outside: set[str] = set()

    def look(target: str) -> None:
        if not (path.parent / target.partition("#")[0]).exists():
            LOG.warning("%s links to %s, which does not exist", page.file.src_path, target)

    def definition(found: re.Match[str]) -> str:
        if not _leaves(found[2], path, docs):
            return found[0]
        look(found[2])
        outside.add(found[1])
        return ""

    def inline(found: re.Match[str]) -> str:
        if not _leaves(found[2], path, docs):
            return found[0]
        look(found[2])
        return found[1]

    markdown = _INLINE.sub(inline, _DEFINITION.sub(definition, markdown))
    if not outside:
        return markdown
    labels = "|".join(map(re.escape, sorted(outside)))
    return re.sub(rf"\[([^\]\n]+)\]\[(?:{labels})\]", r"\1", markdown)
