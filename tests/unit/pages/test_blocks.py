"""Every block of code on the pages is run by a test, or checked here, or is in a short list with a reason.

Run: a test takes it from its page (``RUN``). Checked: definitions load and fit their schema, Lua compiles, Python
compiles and its imports, names and methods exist, commands parse.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import celery.bin.celery
import pytest

from orchestration import Client, WorkflowHandle
from orchestration.cli.group import orchestration
from orchestration.client.schedules import ScheduleHandle
from tests.unit.pages.blocks import (
    PAGES,
    ROOT,
    Block,
    blocks,
    check_command,
    check_lua,
    check_python,
    check_yaml,
    commands,
)

RUN = {
    "docs/quickstart.md": "tests/acceptance/test_cli.py",
    "docs/how-to/activities.md": "tests/acceptance/test_activities_page.py",
    "docs/how-to/approval.md": "tests/unit/pages/test_examples.py",
    "docs/how-to/chains-and-chords.md": "tests/unit/pages/test_examples.py",
    "docs/how-to/django.md": "tests/web/test_pages.py",
    "docs/how-to/existing-workers.md": "tests/interop/test_page.py",
    "docs/how-to/fastapi.md": "tests/web/test_pages.py",
    "docs/how-to/flask.md": "tests/web/test_pages.py",
    "docs/how-to/processes-from-python.md": "tests/acceptance/test_processes_page.py",
    "docs/how-to/processes.md": "tests/acceptance/test_module_pages.py",
    "docs/how-to/queries-and-updates.md": "tests/unit/testing/test_queries_page.py",
    "docs/how-to/saga.md": "tests/unit/pages/test_examples.py",
    "docs/how-to/services.md": "tests/acceptance/test_module_pages.py",
    "docs/how-to/test-workflows.md": "tests/unit/testing/test_how_to.py",
    "docs/reference/contract.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/env.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/events.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/http_client.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/lua-modules.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/lua-workflow.md": "tests/unit/testing/test_queries_page.py",
    "docs/reference/metrics.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/queues.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/security.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/sql.md": "tests/acceptance/test_module_pages.py",
    "docs/reference/store.md": "tests/acceptance/test_module_pages.py",
}
"""Pages whose examples a test takes from the page and runs. What it leaves out is checked here all the same."""

EXCEPTIONS = {
    ("docs/how-to/brokers.md", "min-replicas-to-write"): "lines of redis.conf",
    ("docs/how-to/brokers.md", "user shop on"): "a line of redis.conf; the stores' tests run on such a user",
    ("docs/how-to/deploy-new-code.md", "error: 3 of 412"): "output",
    ("docs/how-to/large-payloads.md", "history: event 7"): "output",
    ("docs/how-to/size-redis.md", "memory = open runs"): "a formula",
    ("docs/reference/store.md", "CREATE TABLE kept_orders"): "SQL; tests/unit/modules/test_sql_store.py runs it",
    ("docs/reference/cli.md", "status = "): "conditions of --where; tests/unit has the language",
}
"""Blocks that are no code, by page and beginning."""

INDENTED_PYTHON = ("orchestration_offload = ", "@pytest.mark.workflow_env")

KNOWN: dict[str, set[str] | None] = dict.fromkeys((
    "ApplicationError", "__file__", "app", "charge", "datetime", "fetch", "kombu", "mailer", "order", "orchestration",
    "page_somebody", "pager", "parse", "pytest", "send_invoice", "shared_task", "store", "summarize", "tell_support",
    "timedelta", "url", "urls",
)) | {"client": set(dir(Client)), "handle": {*dir(WorkflowHandle), *dir(ScheduleHandle), "id"}}  # fmt: skip


def _options(name: str) -> set[str]:
    context_options = {option for parameter in celery.bin.celery.celery.params for option in parameter.opts}
    command = celery.bin.celery.celery.commands[name]
    return context_options | {option for parameter in command.params for option in parameter.opts}


OTHERS = {
    "celery worker": _options("worker") | {"--hosts"},
    "celery inspect": _options("inspect"),
    "celery flower": {"-A", "--basic-auth"},
    "make": set(),
    "pip": set(),
    "python": set(),
    "python3": {"-m"},
    "curl": {"-H", "-N", "-d", "-s", "-u"},
    "eval": set(),
    "flask": {"--app"},
    "uvicorn": {"--port", "--reload", "--app-dir", "--host"},
}
ALL = list(blocks())


def _exception(block: Block) -> tuple[str, str] | None:
    return next((key for key in EXCEPTIONS if key[0] == block.page and block.text.startswith(key[1])), None)


@pytest.mark.parametrize("page", [str(path.relative_to(ROOT)) for path in PAGES])
def test_every_block_of_a_page_is_what_it_should_be(page: str) -> None:
    made: dict[str, set[str] | None] = {}
    for block in (one for one in ALL if one.page == page and not _exception(one)):
        try:
            made |= dict.fromkeys(check(block, {**made, **KNOWN}) - set(KNOWN))
        except Exception as error:
            raise AssertionError(f"{block}: {type(error).__name__}: {error}\n{block.text}") from error


def check(block: Block, known: Mapping[str, set[str] | None] = KNOWN) -> set[str]:
    """Names that later blocks may use."""
    language = block.language
    if not language and block.text.startswith(INDENTED_PYTHON):
        language = "python"
    if language == "yaml":
        check_yaml(block.text)
    elif language == "lua":
        check_lua(block.text)
    elif language == "python":
        return check_python(block.text, known)
    elif language in ("", "sh", "bash"):
        for words in commands(block.text):
            check_command(words, orchestration, OTHERS)
    else:
        raise AssertionError(f"a block in {language!r} is neither run nor checked: add a check or an exception")
    return set()


def test_the_exceptions_are_needed() -> None:
    assert {_exception(block) for block in ALL} - {None} == set(EXCEPTIONS)


@pytest.mark.parametrize("page", RUN)
def test_a_page_that_is_run_is_named_by_its_test(page: str) -> None:
    test = (ROOT / RUN[page]).read_text("utf-8")
    stem = page.rpartition("/")[2]
    assert stem in test or f'"{stem.removesuffix(".md")}"' in test, f"{RUN[page]} does not take {page}"


def test_make_and_extras_that_pages_name_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    targets = (ROOT / "Makefile").read_text("utf-8")
    for block in ALL:
        if block.language in ("", "sh", "bash") and not _exception(block):
            for words in commands(block.text):
                if words[0] == "make":
                    assert f"\n{words[1]}:" in targets, block
                for word in words:
                    if word.startswith("celery-orchestration["):
                        assert set(word[len("celery-orchestration[") : -1].split(",")) <= set(extras), block
