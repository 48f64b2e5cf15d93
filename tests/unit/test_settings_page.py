"""docs/reference/settings.md says what the code says.

``python -m tests.unit.test_settings_page`` writes its table anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from orchestration.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"
_TABLE = re.compile(r"(<!-- settings: begin [^\n]*-->\n).*?(<!-- settings: end -->)", re.DOTALL)


def settings_table() -> str:
    lines = ["| key | default | unit | range | meaning |", "| --- | --- | --- | --- | --- |"]
    for info in Settings.describe():
        lines.append(f"| `{info.key}` | {info.default} | {info.unit} | {info.range} | {info.meaning} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    return _TABLE.sub(lambda match: match[1] + settings_table() + match[2], text)


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = PAGE.read_text("utf-8")
    assert with_table(text) == text, "run: python -m tests.unit.test_settings_page"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
