"""The pages about Django, Flask and FastAPI say what runs: every block is a file that is tried, or a command.

``python -m tests.web.test_pages`` writes the table of settings and the copies of the examples anew.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.integrations.django.conf import DjangoSettings
from tests.support.workers import ROOT

PAGES = ROOT / "docs" / "how-to"
_FILE = re.compile(r"^`([\w./-]+)`(?:, at its end)?:\n\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"(<!-- settings: begin [^\n]*-->\n).*?(<!-- settings: end -->)", re.DOTALL)
EXAMPLES = {"flask.md": ROOT / "examples" / "flask_approval", "fastapi.md": ROOT / "examples" / "fastapi_watch"}


def files_of(name: str) -> dict[str, str]:
    text = (PAGES / name).read_text("utf-8")
    blocks = len(re.findall(r"^```\w", text, re.MULTILINE))
    commands = len(re.findall(r"^```sh\n", text, re.MULTILINE))
    found = dict(_FILE.findall(text))
    assert len(found) == blocks - commands, "a block is neither a file nor a command"
    return found


def with_table(text: str) -> str:
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for field in dataclasses.fields(DjangoSettings):
        if field.name != "engine":
            default = field.default
            shown = "(empty)" if default == "" else ", ".join(default) if isinstance(default, tuple) else f"{default}"
            if isinstance(default, int) and not isinstance(default, bool):
                shown = f"{default:,}"
            lines.append(f"| `{field.name}` | {shown} | {field.metadata['meaning']} |")
    return _TABLE.sub(lambda match: match[1] + "\n".join(lines) + "\n" + match[2], text)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_page_shows_the_example_as_it_is(name: str) -> None:
    folder = EXAMPLES[name]
    shown = files_of(name)
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".py", ".yaml", ".lua")}
    assert set(shown) == kept
    for path, text in shown.items():
        assert text == (folder / path).read_text("utf-8"), path


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = (PAGES / "django.md").read_text("utf-8")
    assert with_table(text) == text, "run: python -m tests.web.test_pages"


def test_the_project_of_the_page_about_django_works(tmp_path: Path) -> None:
    """Made as a newcomer makes it: startproject, startapp, the files of the page, its checks and its tests."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "ORCHESTRATION_", "REDIS_", "DJANGO_"))}
    env |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::DeprecationWarning:orders"}
    make = (
        "from django.core.management import call_command as call\n"
        "call('startproject', 'shop', '.')\ncall('startapp', 'orders')"
    )
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, env=env, check=True, timeout=60)
    for name, text in files_of("django.md").items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if name == "shop/settings.py" else "") + text, "utf-8")
    commands = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'; sys.path.insert(0, '')\n"
        "import django; django.setup()\n"
        "from django.core.management import call_command as call\n"
        "call('makemigrations', 'orders', verbosity=0); call('check'); call('migrate', verbosity=0)\n"
        "call('workflow', 'check'); call('test', verbosity=2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", commands], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues" in done.stdout
    assert "2 entries" in done.stdout
    assert "Ran 1 test" in done.stderr
    assert "OK" in done.stderr


if __name__ == "__main__":
    for page, example in EXAMPLES.items():
        text = (PAGES / page).read_text("utf-8")
        for path in files_of(page):
            pattern = re.compile(rf"(^`{re.escape(path)}`:\n\n```\w+\n).*?(^```)", re.DOTALL | re.MULTILINE)
            copy = (example / path).read_text("utf-8")
            text = pattern.sub(lambda found, copy=copy: found[1] + copy + found[2], text)
        (PAGES / page).write_text(text, "utf-8")
    django = PAGES / "django.md"
    django.write_text(with_table(django.read_text("utf-8")), "utf-8")
