"""The page about Lua modules has every module, and says who may use it."""

from __future__ import annotations

import re
from pathlib import Path

from orchestration.registry.modules import ALWAYS_PRESENT, AVAILABLE_MODULES, REFUSED_IN_WORKFLOWS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "lua-modules.md"


def test_every_module_has_a_row_that_says_who_may_use_it() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [name for name, _, _ in rows] == sorted(AVAILABLE_MODULES)
    for name, in_workflows, elsewhere in rows:
        assert in_workflows.startswith("no") == (name in REFUSED_IN_WORKFLOWS), name
        assert elsewhere.startswith("yes"), name
        assert elsewhere.endswith("without listing") == (name in ALWAYS_PRESENT), name
