"""What becomes of a Flower whose templates or guards are not as expected, and of one without workflows."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from orchestration.dashboard import install, joining
from orchestration.dashboard.templates import FlowerLoader, TemplateProblem

_FOUND = importlib.util.find_spec("flower")
assert _FOUND is not None
assert _FOUND.origin is not None
TEMPLATES = Path(_FOUND.origin).parent / "templates"


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TEMPLATES, tmp_path / "templates"))


class FakeFlower:
    """As much of Flower's application as is needed to join it."""

    def __init__(self, path: Path, capp: Any) -> None:
        self.capp = capp
        self.settings: dict[str, Any] = {"template_path": str(path), "xsrf_cookies": True}
        self.options = SimpleNamespace(basic_auth=None, auth="", read_only=False, url_prefix=None)
        self.handlers: list[Any] = []

    def add_handlers(self, host: str, rules: list[Any]) -> None:
        assert host == ".*$"
        self.handlers += rules


def ours() -> Any:
    return SimpleNamespace(orchestration=SimpleNamespace())


def test_the_tested_release_gets_pages_and_tab(templates: Path, caplog: pytest.LogCaptureFixture) -> None:
    flower = FakeFlower(templates, ours())
    joining.join_flower(flower)
    assert flower.handlers
    assert "workflows" in flower.settings["template_loader"].load("navbar.html").code
    assert caplog.records == []


def test_an_application_without_workflows_leaves_flower_alone(templates: Path) -> None:
    flower = FakeFlower(templates, SimpleNamespace())
    joining.join_flower(flower)
    assert flower.handlers == []
    assert "template_loader" not in flower.settings


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("navbar.html", "{{ reverse_url('broker') }}", "/broker"), ("base.html", "block container ", "block main "),
     ("base.html", "block extra_scripts ", "block scripts ")],
)  # fmt: skip
def test_changed_templates_cost_the_tab_and_are_told_once(
    templates: Path, caplog: pytest.LogCaptureFixture, file: str, old: str, new: str
) -> None:
    path = templates / file
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    flower = FakeFlower(templates, ours())
    joining.join_flower(flower)
    assert flower.handlers
    loader = flower.settings["template_loader"]
    assert "reverse_url('workflows')" not in loader.load("navbar.html").code
    assert "navbar" not in loader.load("workflows_list.html").code
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert file in caplog.records[0].getMessage()


def test_a_release_that_is_not_tested_costs_the_tab(
    templates: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "TESTED_VERSIONS", ("2.1",))
    flower = FakeFlower(templates, ours())
    joining.join_flower(flower)
    assert flower.handlers
    assert "tested with 2.1" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("lacks", ["options", "forgery", "template"])
def test_a_flower_that_would_leave_pages_open_gets_none(
    templates: Path, caplog: pytest.LogCaptureFixture, lacks: str
) -> None:
    flower = FakeFlower(templates, ours())
    if lacks == "options":
        del flower.options.read_only
    elif lacks == "forgery":
        flower.settings["xsrf_cookies"] = False
    else:
        del flower.settings["template_path"]
    joining.join_flower(flower)
    assert flower.handlers == []
    assert "shows no workflows" in caplog.text
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_the_command_is_changed_once() -> None:
    command = ModuleType("command")
    made: list[Any] = []

    def original(**kwargs: Any) -> Any:
        made.append(kwargs)
        return SimpleNamespace(capp=SimpleNamespace())

    command.Flower = original  # type: ignore[attr-defined]
    install(command)
    first = command.Flower
    install(command)
    assert command.Flower is first
    command.Flower(capp="app")
    assert made == [{"capp": "app"}]


def test_a_loader_says_what_it_misses(templates: Path) -> None:
    (templates / "base.html").write_text("{% block title %}{% end %}", "utf-8")
    with pytest.raises(TemplateProblem, match="navbar, container, extra_scripts"):
        FlowerLoader(str(templates)).check()
