"""Which application a command is about, and what is said when there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from orchestration.cli.application import APP_VARIABLE, BUILT, Application, load_application
from orchestration.cli.exits import CliError
from orchestration.cli.session import Session


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to stand in; modules that a test imports are forgotten."""
    for name in (APP_VARIABLE, "ORCHESTRATION_CONFIG", "REDIS_URL", "CELERY_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("celery_app", "shop_")):
            del sys.modules[name]


def told(session: Session) -> str:
    with pytest.raises(CliError) as caught:
        load_application(session)
    assert caught.value.code == 2
    return str(caught.value)


def test_nothing_names_an_application() -> None:
    message = told(Session())
    assert "-A" in message
    assert APP_VARIABLE in message
    assert "celery_app.py" in message


def test_advice_names_the_application_if_it_must(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is copied from the terminal finds the same application."""
    app = Celery("shop")
    assert Application("shop", app, Session(app="shop")).advice("show x") == "orchestration -A shop show x"
    assert Application(BUILT, app, Session()).advice("show x") == "orchestration show x"
    monkeypatch.setenv(APP_VARIABLE, "shop")
    assert Application("shop", app, Session()).advice("show x") == "orchestration show x"
    monkeypatch.delenv(APP_VARIABLE)
    (folder / "celery_app.py").touch()
    assert Application("celery_app", app, Session(app="celery_app")).advice("show x") == "orchestration show x"


def test_a_module_that_is_not_there() -> None:
    assert "no module 'shop_none' can be imported" in told(Session(app="shop_none"))


def test_a_module_that_fails(folder: Path) -> None:
    (folder / "shop_bad.py").write_text("x = 1\ny = 1 / 0\n")
    message = told(Session(app="shop_bad"))
    assert f"{folder / 'shop_bad.py'}:2: ZeroDivisionError" in message


def test_a_module_that_lacks_something(folder: Path) -> None:
    (folder / "shop_lacks.py").write_text("import shop_missing\n")
    message = told(Session(app="shop_lacks"))
    assert f"{folder / 'shop_lacks.py'}:1: ModuleNotFoundError: No module named 'shop_missing'" in message


def test_a_module_that_is_no_python(folder: Path) -> None:
    (folder / "shop_syntax.py").write_text("def f(:\n")
    assert "shop_syntax.py:1: " in told(Session(app="shop_syntax"))


def test_a_module_without_an_application(folder: Path) -> None:
    (folder / "shop_empty.py").write_text("x = 1\n")
    assert "no Celery application" in told(Session(app="shop_empty"))
    assert "not a Celery application" in told(Session(app="shop_empty:x"))


def test_an_application_without_workflows(folder: Path) -> None:
    (folder / "celery_app.py").write_text("from celery import Celery\napp = Celery('x', set_as_current=False)\n")
    message = told(Session())
    assert "celery_app has no workflows" in message
    assert "Orchestration(app" in message


def test_the_variable_names_an_application(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shop_app.py").write_text(
        "from celery import Celery\nfrom orchestration import Orchestration\n"
        "app = Celery('x', set_as_current=False)\nOrchestration(app, config='config')\n"
    )
    monkeypatch.setenv(APP_VARIABLE, "shop_app:app")
    application = load_application(Session())
    assert application.name == "shop_app:app"
    assert application.orchestration.settings.config == ("config",)
    assert load_application(Session(loaded_app=application.app)).name == "shop_app:app"


def test_definitions_on_the_command_line_win(folder: Path) -> None:
    (folder / "mine").mkdir()
    application = load_application(Session(config=("mine",), app=BUILT))
    assert application.orchestration.settings.config == ("mine",)
    assert "no such file or folder" in told(Session(config=("none",)))
