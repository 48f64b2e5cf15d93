"""Examples of functions and modules, run in the engine in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestration.client import Actor
from orchestration.errors import ApplicationError
from orchestration.testing import WorkflowEnvironment
from tests.support.pages import Page
from tests.support.projects import Project

RETRIES = Page("docs/reference/functions.md").block("retry_kinds")
SHIPPING, FINDS = map(Page("docs/reference/registry.md").block, ("SHIPPING_DAYS", "registry.find"))
TOKENS = Page("docs/reference/security.md").block("TOKEN_KEY")
MEASURES = Page("docs/reference/lua-workflow.md").block("measure()")


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkflowEnvironment]:
    monkeypatch.setenv("TOKEN_KEY", "a long random value")
    project = Project("shop")
    for entry in (*yaml.safe_load(SHIPPING), *yaml.safe_load(TOKENS)):
        project.entry(**entry)
    project.function("settings", f"return function()\n{FINDS}\nreturn settings end", modules=["registry"])
    project.function("checked", """
        local security = require("security")
        return function()
            local tokens = assert(security.token_store("shop:tokens"))
            local actor = tokens:validate(tokens:create(security.actor(), security.new_scope()))
            return { actor:id(), tokens:revoke("none") }
        end
    """, modules=["security"])  # fmt: skip
    project.function("flaky", """
        local store = require("store")
        return function(kind)
            local sessions = assert(store.get("shop:sessions"))
            local tries = (sessions:get(kind) or 0) + 1
            sessions:set(kind, tries)
            if tries < 4 then return nil, errors.new { message = "not now", kind = kind } end
            return tries
        end
    """, modules=["store"], **yaml.safe_load(RETRIES))  # fmt: skip
    project.workflow("measured", f"""
        local workflow, time = require("workflow"), require("time")
        local function measure() return 3 end
        return function()
            {MEASURES}
            time.sleep("1h")
            return n
        end
    """)
    with WorkflowEnvironment(project.write(tmp_path), replay_everything=True) as made:
        yield made


def test_a_function_is_tried_again_for_the_kinds_it_names(env: WorkflowEnvironment) -> None:
    assert env.client.call("shop:flaky", "Unavailable", timeout=20) == 4
    with pytest.raises(ApplicationError, match="not now"):
        env.client.call("shop:flaky", "NotFound", timeout=20)


def test_an_entry_is_found(env: WorkflowEnvironment) -> None:
    found = env.client.call("shop:settings", timeout=20)
    assert (found["carrier"], found["days"]) == ("post", 3)


def test_a_token_stands_for_its_actor(env: WorkflowEnvironment) -> None:
    assert env.client.call("shop:checked", timeout=20, actor=Actor("ann")) == ["ann", False]


def test_what_is_measured_is_recorded(env: WorkflowEnvironment) -> None:
    assert env.start("shop:measured").result() == 3
