"""A Django project around the engine: settings, checks, commands, definitions of apps, threads with connections."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from orchestration.errors import ConfigError
from tests.web.site import Shop


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"retension_ms": 1}, "there is no such setting"), ({"retention_ms": "soon"}, "must be milliseconds"),
        ({"lease_ms": 1}, "ORCHESTRATION['lease_ms']"), ({"shards": 1, "SHARDS": 1}, "given twice"),
        ({"heartbeat_ms": "20s"}, "three times"), ([1], "must be a dictionary"), ({"outbox_batch": 0}, "1 to 1,000"),
        ({"outbox_batch": True}, "whole number"), ({"outbox_interval_ms": "often"}, "must be milliseconds"),
        ({"outbox_databases": "default"}, "a list"), ({"outbox_databases": ["other"]}, "default, archive"),
        ({"outbox_databases": []}, "must name"), ({"outbox_immediate": 1}, "True or False"), ({"app": 3}, "text"),
    ],
)  # fmt: skip
def test_each_mistake_in_the_settings_is_told_by_the_checks(shop: Shop, given: Any, told: str) -> None:
    from django.test import override_settings

    from orchestration.integrations.django.checks import check_definitions, check_settings
    from orchestration.integrations.django.conf import checked_settings

    with override_settings(ORCHESTRATION=given):
        problems = check_settings()
        assert [problem.id for problem in problems] == ["orchestration.E001"], problems
        assert told in problems[0].msg
        assert problems[0].msg.startswith("ORCHESTRATION")
        assert check_definitions() == []
        with pytest.raises(ConfigError, match="ORCHESTRATION"):
            checked_settings()


def test_a_setting_and_one_that_it_needs_are_looked_at_together(shop: Shop) -> None:
    from orchestration.integrations.django.conf import read_settings

    found, problems = read_settings({"HEARTBEAT_MS": "20s", "dead_after_ms": "90s", "node_dead_after_ms": "90s"})
    assert not problems
    assert set(found.engine) == {"heartbeat_ms", "dead_after_ms", "node_dead_after_ms"}


def test_mistakes_in_definitions_and_a_missing_application_are_told(shop: Shop, tmp_path: Path) -> None:
    from django.test import override_settings

    from orchestration.integrations.django import application, checks

    with override_settings(ORCHESTRATION={"app": "tests.web.nothing:app"}):
        assert [problem.id for problem in checks.check_definitions()] == ["orchestration.E002"]
    with override_settings(ORCHESTRATION={"app": "tests.support.waiting:wait_until"}):
        assert "DjangoOrchestration" in checks.check_definitions()[0].msg
    (tmp_path / "broken.yaml").write_text('version: "1.0"\nnamespace: x\nentries: [{name: a, kind: workflow.luaa}]\n')
    from celery import Celery

    with override_settings(ORCHESTRATION={"config": [str(tmp_path)], "app_folder": ""}):
        made, app = application._made, Celery("broken", set_as_current=False)
        try:
            orchestration = application.DjangoOrchestration(app)
            with application.standing_in(orchestration):
                problems = checks.check_definitions()
            assert [problem.id for problem in problems] == ["orchestration.E003"]
            assert "broken.yaml" in problems[0].msg
            with override_settings(ORCHESTRATION={"app_folder": ""}):
                orchestration = application.DjangoOrchestration(Celery("empty", set_as_current=False))
                with application.standing_in(orchestration):
                    assert [problem.id for problem in checks.check_definitions()] == ["orchestration.W001"]
        finally:
            application._made = made
    assert checks.check_definitions() == []


def test_settings_and_definitions_of_the_project(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.web.shop.celery import orchestration

    assert orchestration.settings.retention_ms == 2 * 24 * 3600 * 1000
    assert "orders:fulfil" in orchestration.registry
    monkeypatch.setattr(orchestration, "_settings", None)
    monkeypatch.setenv("ORCHESTRATION_RETENTION_MS", "5000")
    assert orchestration.settings.retention_ms == 5000, "operators go over the project"


def test_commands_of_manage_py(served: Shop, tables: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import execute_from_command_line

    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    execute_from_command_line(["manage.py", "workflow", "start", "orders:collect", "--id", name, "--input", "0"])
    assert f"started {name}" in capsys.readouterr().out
    execute_from_command_line(["manage.py", "workflow", "result", name, "--json"])
    assert json.loads(capsys.readouterr().out)["result"] == {"found": []}
    with pytest.raises(SystemExit) as ended:
        execute_from_command_line(["manage.py", "workflow", "show", "nobody"])
    assert ended.value.code == 3
    execute_from_command_line(["manage.py", "makemigrations", "--check", "--dry-run", "-v0"])


def test_call_command_knows_them_too(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import call_command

    call_command("workflow", "count", "--json")
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_functions_and_local_activities_use_the_database_and_leave_no_connection(served: Shop, tables: Any) -> None:
    from orchestration.integrations.django import client

    name = uuid.uuid4().hex[:8]
    result = client().execute_workflow("orders:beside", name, timeout=30)
    assert result["count"] == 3
    threads = {thread for thread, _ in result["found"]}
    assert threads == {"local orders:local_note"}
    assert all(all(closed) for _, closed in result["found"]), result


def test_a_test_case_of_a_project(shop: Shop, tables: Any) -> None:
    """Django's own TestCase, whose transactions never commit."""
    import unittest

    from django.test import TestCase

    from orchestration.errors import WorkflowNotFoundError
    from orchestration.integrations.django import signal, start_workflow
    from orchestration.integrations.django.testing import workflows

    class Case(TestCase):
        databases = {"default"}

        def test_it(self) -> None:
            with workflows() as env:
                env.activity("orders:note", lambda order, text: 1)
                with self.captureOnCommitCallbacks(execute=True):
                    handle = start_workflow("orders:fulfil", "A-1")
                    with pytest.raises(WorkflowNotFoundError):
                        handle.describe()
                assert handle.result() == "fulfilled A-1"
                with self.captureOnCommitCallbacks(execute=True):
                    waiting = start_workflow("orders:collect", 2, id="w")
                    signal("w", "number", {"n": 1})
                    signal("w", "number", {"n": 2})
                assert waiting.result() == {"found": [1, 2]}

    outcome = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(outcome)
    assert outcome.testsRun == 1
    assert not outcome.errors + outcome.failures, outcome.errors + outcome.failures


@pytest.mark.parametrize(
    ("where", "closed"), [("function", 2), ("process", 2), ("local", 1), ("async process", 0)]
)
def test_old_connections_are_closed_around_code_of_definitions(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, where: str, closed: int
) -> None:
    """In an event loop nothing is closed: the thread of the loop has no connections, and may not wait for one."""
    from django import db

    from tests.web.shop.celery import orchestration

    calls: list[str] = []
    monkeypatch.setattr(db, "close_old_connections", lambda: calls.append("old"))
    monkeypatch.setattr(db.connections, "close_all", lambda: calls.append("all"))
    with orchestration.runtime.around_code(where):
        assert calls == ["old"][:closed]
    assert calls.count("old") == closed
    assert calls.count("all") == (where == "local")

