"""The modules ``env``, ``registry`` and ``contract`` with a real worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration import Client
from tests.support.projects import Deployment, Project

project = Project(tasks=["tests.acceptance.tasks"], env={"SHOP_NAME": "corner"})
project.entry("file", "env.storage.file", file_path="${env:ORCHESTRATION_TEST_FOLDER|/none}/app.env", auto_create=True)
project.entry("os", "env.storage.os")
project.entry("level", "env.variable", variable="LEVEL", storage="file", default=1)
project.entry("shop", "env.variable", variable="SHOP_NAME", storage="os")
project.entry("settings", "registry.entry", meta={"type": "settings"}, label="${env:SHOP_NAME|none}")
project.entry("sums", "contract.definition", methods=[{"name": "add"}, {"name": "context"}])
project.entry("celery", "contract.binding", contracts=[
    {"contract": "sums", "methods": {"add": "add", "context": "context"}, "default": True},
])  # fmt: skip
project.celery_task("add", "accept.add")
project.function("context", "local ctx = require('ctx') return function() return ctx.all() end")
facts = project.function("facts", """
    local env, registry, contract = require("env"), require("registry"), require("contract")
    return function(level)
        assert(env.set("LEVEL", level))
        local sums = assert(contract.open("app:celery?who=ann"))
        return {
            level = env.get("app:level"), all = env.get_all(), sum = sums:add(1, 2), context = sums:context(),
            settings = registry.find({ ["meta.type"] = "settings" })[1].data,
        }
    end
""", modules=("env", "registry", "contract"))  # fmt: skip
level = project.function("level_now", "return function() return require('env').get('LEVEL') end", modules=("env",))


@pytest.fixture
def told(client: Client) -> dict[str, object]:
    found: dict[str, object] = client.call(facts, "5", timeout=30)
    return found


def test_functions_read_settings_and_call_through_contracts(told: dict[str, object]) -> None:
    assert told == {
        "level": "5", "all": {"LEVEL": "5", "SHOP_NAME": "corner"}, "sum": 3, "context": {"who": "ann"},
        "settings": {"label": "corner"},
    }  # fmt: skip


def test_a_value_set_in_a_file_is_there_for_all_workers(running: Deployment, told: dict[str, object]) -> None:
    path = Path(running.folder) / "app.env"
    assert path.read_text("utf-8") == "LEVEL=5\n"
    path.write_text("LEVEL=6\n", "utf-8")
    assert running.client.call(level, timeout=30) == "6"
