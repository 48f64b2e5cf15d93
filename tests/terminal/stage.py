"""The deployment that the commands are tried on: one Redis, one worker, and runs in every state."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta
from typing import Any

from orchestration import ScheduleAction, ScheduleSpec, WorkflowHandle
from tests.support import wait_until
from tests.support.projects import Deployment, Project

__all__ = ["Stage", "make_project"]


def make_project() -> Project:
    """The definitions of the stage."""
    project = Project(tasks=["tests.terminal.tasks"], env={"ORCHESTRATION_MEMORY_BYTES": str(16 * 1024 * 1024)})
    for name in ("charge", "ship", "refuse", "down", "ask", "token"):
        project.celery_task(name, f"stage.{name}")
    project.workflow("packing", """
        local funcs, time = require("funcs"), require("time")
        local function main(order, pause)
          time.sleep(pause or "20ms")
          return (funcs.call("app:ship", order))
        end
        return main
    """)
    project.workflow("order", """
        local funcs, time = require("funcs"), require("time")
        local bank = funcs.new():with_options{ ["activity.retry_policy"] = { initial_interval = "60ms" } }
        local function main(order)
          local first = funcs.async("app:ship", order .. "/letter")
          local paid = bank:call("app:charge", order, 4200)
          first:response():receive()
          time.sleep("120ms")
          local parcel = process.exec("app:packing", "celery", order)
          local word = process.listen("thanks")
          process.send(process.pid(), "thanks", "a lot")
          word:receive()
          for i = 1, 12 do funcs.call("app:ship", order .. "/" .. i) end
          return { paid = paid, parcel = parcel }
        end
        return main
    """)
    project.workflow("refused", """
        local funcs = require("funcs")
        local function main()
          local _, err = funcs.call("app:refuse")
          return nil, err
        end
        return main
    """)
    project.workflow("sleeper", """
        local time = require("time")
        local function main() time.sleep("24h") return "rested" end
        return main
    """)
    project.workflow("waiter", """
        local function main()
          local word = process.listen("decision"):receive()
          return { decision = word }
        end
        return main
    """)
    project.workflow("stuck", """
        local function main()
          local kept = {}
          while true do kept[#kept + 1] = string.rep("x", 100000) .. #kept end
        end
        return main
    """)
    project.workflow("family", """
        local funcs = require("funcs")
        local patient = funcs.new():with_options{ ["activity.retry_policy"] = { initial_interval = "1h" } }
        local function main()
          process.spawn_monitored("app:sleeper", "celery")
          patient:call("app:down")
        end
        return main
    """)
    project.workflow("asks", """
        local funcs = require("funcs")
        local function main(key) return (funcs.call("app:ask", key)) end
        return main
    """)
    project.workflow("counter", """
        local function main()
          local total = 0
          workflow.query("total", function() return total end)
          workflow.update("add", function(n) total = total + n return total end)
          workflow.wait(function() return total > 99 end)
          return total
        end
        return main
    """)
    host = project.host("host")
    body = """
        local function main()
          process.registry.register("mailroom")
          return process.events():receive()
        end
        return main
    """
    project.process("mailer_body", body, modules=[])
    project.process("idle_body", "return function() return process.events():receive() end", modules=[])
    project.process("broken_body", 'return function() error("the post office has burned down", 0) end', modules=[])
    again = {"restart": {"initial_delay": "100ms", "jitter": 0, "max_attempts": 2}}
    for name, of, lifecycle in (
        ("mailer", "app:mailer_body", {"auto_start": True}),
        ("idle", "app:idle_body", {"auto_start": True}),
        ("faxer", "app:broken_body", {"auto_start": True, **again}),
    ):
        project.entry(name, "process.service", "", process=of, host=host, lifecycle=lifecycle)
    return project


class Stage:
    """Runs, by what they do. Those made at the start are left alone; commands that change something get one anew.

    Args:
        deployment: With a worker.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.client = deployment.client
        self._numbers = itertools.count(1)
        self.order = self._start("order", "order-7", "order-7")
        self.refused = self._start("refused", "refund-1")
        self.sleeper = self._start("sleeper", "reminder-1")
        self.family = self._start("family", "family-1")
        self.parked = self._start("stuck", "stuck-1")
        spec = ScheduleSpec(cron=("0 2 * * *",), time_zone="Europe/Berlin")
        self.client.create_schedule("nightly", spec=spec, action=ScheduleAction(workflow_type="app:sleeper"))
        self.order.result(timeout=60)
        self._wait(self.refused, "failed")
        self._wait(self.parked, "parked")
        wait_until(lambda: self.sleeper.describe().places, deadline_s=30, message="it sleeps")
        wait_until(lambda: any(p.state == "backoff" for p in self.family.describe().pending), deadline_s=30)
        self.wait_for_services()

    def wait_for_services(self) -> None:
        """Until they stand where they belong."""

        def there() -> bool:
            states = {seen.id: seen.state for seen in self.client.list_services()}
            return states.get("app:mailer") == "running" and states.get("app:faxer") == "failed"

        wait_until(there, deadline_s=30, message=lambda: str(self.client.list_services()))

    def new(self, name: str, *args: Any) -> str:
        """Start a workflow that has been taken up when this returns; answers its id."""
        handle = self._start(name, f"{name}-{next(self._numbers) + 10}", *args)
        wait_until(lambda: handle.describe().history_length, deadline_s=30, message="a worker takes it")
        return handle.id

    def parked_run(self) -> str:
        """A run that is parked."""
        workflow_id = self.new_parked()
        self._wait(self.client.get_workflow(workflow_id), "parked")
        return workflow_id

    def new_parked(self) -> str:
        """Start a run that will be parked."""
        return self._start("stuck", f"stuck-{next(self._numbers) + 10}").id

    def paused_run(self) -> str:
        """A run that is paused."""
        workflow_id = self.new("sleeper")
        self.client.get_workflow(workflow_id).pause("for the test")
        return workflow_id

    def token(self) -> str:
        """Token of an activity that waits for somebody outside."""
        key = f"key-{next(self._numbers)}-{time.time_ns()}"
        handle = self._start("asks", key, key)
        wait_until(lambda: any(p.state == "external" for p in handle.describe().pending), deadline_s=30)
        return str(self.client.call("app:token", key, timeout=20))

    def process(self) -> str:
        """Address of a process."""
        return next(seen.pid for seen in self.client.list_processes() if seen.entry_id == "app:mailer_body")

    def name(self) -> str:
        """A name that nothing has."""
        return f"name-{next(self._numbers)}"

    def schedule(self) -> str:
        """A schedule."""
        name = f"schedule-{next(self._numbers)}"
        spec = ScheduleSpec(interval=timedelta(days=1))
        self.client.create_schedule(name, spec=spec, action=ScheduleAction(workflow_type="app:packing", args=("s",)))
        return name

    def _start(self, name: str, workflow_id: str, *args: Any) -> WorkflowHandle:
        return self.client.start_workflow(f"app:{name}", *args, id=workflow_id)

    def _wait(self, handle: WorkflowHandle, status: str) -> None:
        wait_until(lambda: handle.describe().status == status, deadline_s=30, message=lambda: str(handle.describe()))
