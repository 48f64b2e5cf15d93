"""The definitions of the reference page load as they stand, beside the entries that the page leaves out."""

from __future__ import annotations

import pytest

from orchestration.registry import CeleryWorker, ProcessLua, WorkflowLua
from orchestration.registry.kinds.processes import ProcessService

PAGE = """
# Definición del proceso
- name: session_handler
  kind: process.lua
  source: file://session_handler.lua
  method: main
# Servicio supervisado envolviendo el proceso
- name: session_manager
  kind: process.service
  process: app:session_handler
  host: app:processes
  lifecycle:
    auto_start: true
    restart:
      max_attempts: 10
- name: order_processor
  kind: workflow.lua
  source: file://order_processor.lua
  method: main
  modules:
    - funcs
    - time
- name: temporal_worker
  kind: temporal.worker
  client: app:temporal_client
  task_queue: "orders"
  lifecycle:
    auto_start: true
"""
MISSING = """
- {name: temporal_client, kind: temporal.client, address: "localhost:7233"}
- {name: processes, kind: process.host}
"""
ORDER = """
local funcs = require("funcs")
local time = require("time")
local function main(payment)
  local result = funcs.call("app.api:charge_card", payment)
  time.sleep("24h")
  local status = funcs.call("app.api:check_status", result.id)
  if status == "failed" then
    funcs.call("app.api:refund", result.id)
  end
end
return { main = main }
"""


@pytest.fixture
def page(tree):
    tree.write("app/_index.yaml", "namespace: app\nentries:" + (PAGE + MISSING).replace("\n", "\n  ") + "\n")
    tree.write("app/order_processor.lua", ORDER)
    tree.write("app/session_handler.lua", "return { main = function() end }")
    return tree


def test_page_loads(page):
    registry = page.load()
    workflow, worker = registry.of(WorkflowLua)[0], registry.of(CeleryWorker)[0]
    assert (workflow.id, workflow.modules) == ("app:order_processor", ("funcs", "time"))
    assert registry.worker_of(workflow.id) == worker.id == "app:temporal_worker"
    assert registry.task_queue(workflow.id) == "orders"
    assert worker.lifecycle.auto_start
    service = registry.of(ProcessService)[0]
    assert (service.process, service.host) == (registry.of(ProcessLua)[0].id, "app:processes")
    assert service.lifecycle.restart.max_attempts == 10
    assert registry.bundle(workflow.id).source == ORDER.lstrip("\n")


def test_free_variables_of_the_page_are_asked_for(page):
    page.write("app/_index.yaml", "namespace: app\nentries:" + PAGE.replace("\n", "\n  ") + "\n")
    problems = page.problems()
    assert [problem.partition(";")[0] for problem in problems] == [
        (
            "app/_index.yaml:12: entry app:session_manager: field 'host' = 'app:processes': "
            "there is no entry app:processes"
        ),
        (
            "app/_index.yaml:26: entry app:temporal_worker: field 'client' = 'app:temporal_client': "
            "there is no entry app:temporal_client"
        ),
    ]
