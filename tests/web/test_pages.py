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
from tests.support.pages import Page
from tests.support.workers import ROOT, start_worker

PAGES = ROOT / "docs" / "how-to"
_TABLE = re.compile(r"(<!-- settings: begin [^\n]*-->\n).*?(<!-- settings: end -->)", re.DOTALL)
DJANGO = Page("docs/how-to/django.md")
STARTS, ASKS = DJANGO.commands("manage.py migrate"), DJANGO.commands("manage.py workflow")
FILES = {name: Page(f"docs/how-to/{name}").files() for name in ("django.md", "fastapi.md", "flask.md")}
EXAMPLES = {"flask.md": ROOT / "examples" / "flask_approval", "fastapi.md": ROOT / "examples" / "fastapi_watch"}


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
    shown = FILES[name]
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".py", ".yaml", ".lua")}
    assert set(shown) == kept
    for path, text in shown.items():
        assert text == (folder / path).read_text("utf-8"), path


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = (PAGES / "django.md").read_text("utf-8")
    assert with_table(text) == text, "run: python -m tests.web.test_pages"


def test_the_project_of_the_page_about_django_works(tmp_path: Path, redis_url: str) -> None:
    """Made as a newcomer makes it: startproject, startapp, the files of the page, its commands and its tests."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "ORCHESTRATION_", "REDIS_", "DJANGO_"))}
    env |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::DeprecationWarning:orders"}
    make = (
        "from django.core.management import call_command as call\n"
        "call('startproject', 'shop', '.')\ncall('startapp', 'orders')"
    )
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, env=env, check=True, timeout=60)
    for name, text in FILES["django.md"].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if name == "shop/settings.py" else ""
        path.write_text(before + text.replace("redis://localhost:6379/0", redis_url), "utf-8")
    commands = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'; sys.path.insert(0, '')\n"
        "import django; django.setup()\n"
        "from django.core.management import call_command as call\n"
        "from orchestration.integrations.django import client\n"
        "call('makemigrations', 'orders', verbosity=0)\n"
        f"for words in {manage(STARTS)}: call(*words)\n"
        "client().start_workflow('orders:fulfil', 7, id='order-7')\n"
        f"for words in {manage(ASKS)}: call(*words)\n"
        "call('test', verbosity=2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", commands], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues" in done.stdout
    assert "2 entries" in done.stdout
    assert "Ran 1 test" in done.stderr
    assert "OK" in done.stderr
    assert re.search(r"order-7 +orders:fulfil +running", done.stdout)
    (start,) = [words for words in STARTS if words[0] == "celery"]
    assert start == ["celery", "-A", "shop", "worker"]
    with start_worker(redis_url=redis_url, log_dir=tmp_path, cwd=tmp_path, app=start[2]) as worker:
        assert "orders.ship" in worker.log()


def manage(commands: list[list[str]]) -> list[list[str]]:
    """What those of ``python manage.py`` have after it."""
    return [words[2:] for words in commands if words[:2] == ["python", "manage.py"]]


if __name__ == "__main__":
    for page, example in EXAMPLES.items():
        text = (PAGES / page).read_text("utf-8")
        for path in FILES[page]:
            pattern = re.compile(rf"(^`{re.escape(path)}`:\n\n```\w+\n).*?(^```)", re.DOTALL | re.MULTILINE)
            copy = (example / path).read_text("utf-8")
            text = pattern.sub(lambda found, copy=copy: found[1] + copy + found[2], text)
        (PAGES / page).write_text(text, "utf-8")
    django = PAGES / "django.md"
    django.write_text(with_table(django.read_text("utf-8")), "utf-8")
