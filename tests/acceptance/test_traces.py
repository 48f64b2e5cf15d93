"""One run is one connected trace, in a collector that workers reach over the wire."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from opentelemetry import trace

from orchestration.client import WorkflowHandle
from orchestration.embedded import EmbeddedRedis
from orchestration.telemetry.run_trace import RunTrace
from tests.support import wait_until
from tests.support.collector import Collector, Span
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, Project, deployed

FAST = {"heartbeat_ms": 300, "dead_after_ms": 1500, "sweep_interval_ms": 100}
project = Project(
    tasks=["tests.acceptance.traced_tasks"], settings={"tracing": True, **FAST},
    env={"ORCHESTRATION_TRACING": "1", **{f"ORCHESTRATION_{name.upper()}": str(n) for name, n in FAST.items()}},
)  # fmt: skip
project.celery_task("work", "traced.work", **{"activity.task_queue": "activities"})
project.celery_task("local", "traced.work", **{"activity.local": True})
project.celery_task("nap", "traced.nap", **{"activity.task_queue": "napping"})
project.celery_task("unheard", "legacy.unheard", **{"activity.task_queue": "legacy"})
project.entry("worker", "celery.worker", task_queue="celery", client="app:client")
project.entry("elsewhere", "celery.worker", task_queue="children", client="app:client")
project.entry("client", "celery.client")
OURS = {"meta": {"temporal": {"workflow": {"worker": "app:worker"}}}}
child = project.workflow(
    "child",
    """
    local funcs = require("funcs")
    return { main = function(n) return funcs.call("app:work", n) end }
    """,
    meta={"temporal": {"workflow": {"worker": "app:elsewhere"}}},
)
parent = project.workflow(
    "parent",
    """
    local funcs, time, process = require("funcs"), require("time"), require("process")
    local function main(n)
        local value = funcs.call("app:work", n)
        time.sleep("20ms")
        local events = process.events()
        local pid = assert(process.spawn_monitored("app:child", "app:elsewhere", value))
        local event = events:receive()
        return funcs.call("app:local", event.result.value)
    end
    return main
    """,
    modules=["funcs", "time", "process"],
    **OURS,
)
naps = project.workflow(
    "naps", 'return { main = function() return require("funcs").call("app:nap", 60) end }', **OURS
)
rounds = project.workflow(
    "rounds",
    """
    local funcs, process = require("funcs"), require("process")
    local function main(left)
        funcs.call("app:work", left)
        if left > 0 then process.upgrade(nil, left - 1) end
        return "done"
    end
    return main
    """,
    modules=["funcs", "process"],
    **OURS,
)
unheard = project.workflow(
    "unheard_of", 'return { main = function() return require("funcs").call("app:unheard") end }', **OURS
)
waits = project.workflow(
    "waits",
    """
    local time, process = require("time"), require("process")
    local function main()
        process.inbox():receive()
        time.sleep("1h")
    end
    return main
    """,
    modules=["time", "process"],
    **OURS,
)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


@pytest.fixture(scope="module")
def deployment(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[Deployment]:
    project.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
    project.env["ORCHESTRATION_TEST_INSTRUMENTED"] = "1"
    with deployed(project, tmp_path_factory.mktemp("traces"), empty_database(redis_server)) as found:
        for name, queue in (("flows", "celery"), ("acts", "activities"), ("kids", "children")):
            found.worker(queues=[queue], wait=False, env={"OTEL_SERVICE_NAME": name})
        for worker in found.workers:
            worker.wait_until_ready()
        yield found


def _root(collector: Collector, handle: WorkflowHandle) -> Span:
    """The span of a run, once the worker that ended it has exported it."""

    def find() -> Span | None:
        found = [s for s in list(collector.spans) if s.facts.get("orchestration.run.id") == handle.run_id]
        return next((span for span in found if span.name.startswith("workflow ")), None)

    return wait_until(find, deadline_s=20, message="the span of the run")


def test_a_run_over_three_workers_and_a_child_is_one_tree(deployment: Deployment, collector: Collector) -> None:
    context = trace.SpanContext(0xABCDEF << 64 | 7, 0x1234, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        handle = deployment.client.start_workflow(parent, 1)
    assert handle.result(timeout=30) == 4
    root = _root(collector, handle)
    assert root.trace_id == f"{context.trace_id:032x}"
    assert root.parent_id == f"{context.span_id:016x}"
    wait_until(lambda: not collector.orphans(root.trace_id, root.parent_id), deadline_s=10,
               message=lambda: str(collector.orphans(root.trace_id, root.parent_id)))  # fmt: skip
    spans = collector.of(root.trace_id)
    assert max(Counter(span.span_id for span in spans).values()) == 1
    own = Counter(span.name for span in spans if span.scope in ("orchestration", "shop"))
    assert own - Counter({"step": own["step"]}) == {
        "workflow app:parent": 1, "workflow app:child": 1, "child app:child": 1, "timer": 1,
        "activity app:work": 2, "attempt app:work": 2, "activity app:local": 1, "own work": 3,
    }, own  # fmt: skip
    assert {span.service for span in spans} == {"flows", "acts", "kids"}
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        if span.name.startswith("attempt"):
            assert by_id[span.parent_id].name == span.name.replace("attempt", "activity")
        if span.name == "run/traced.work":  # of Celery's own instrumentation
            assert by_id[span.parent_id].name in ("attempt app:work", "activity app:local")
        assert span.start_ns <= span.end_ns
    assert by_id[next(s for s in spans if s.name == "workflow app:child").parent_id].name == "child app:child"


def test_a_worker_killed_in_a_body_leaves_no_orphan_and_no_span_twice(
    deployment: Deployment, collector: Collector
) -> None:
    """What the body had exported stands below the attempt, whose span the sweep makes in the dead worker's place."""
    plain = {"ORCHESTRATION_TEST_INSTRUMENTED": "", "OTEL_SERVICE_NAME": "killed"}
    killed = deployment.worker(queues=["napping"], env=plain)
    handle = deployment.client.start_workflow(naps)
    wait_until(lambda: [s for s in list(collector.spans) if s.name == "before the nap"], deadline_s=20)
    killed.kill()
    deployment.worker(queues=["napping"], env={**plain, "OTEL_SERVICE_NAME": "second"})
    assert handle.result(timeout=40) == "rested"
    root = _root(collector, handle)
    assert root.parent_id == ""
    wait_until(lambda: collector.orphans(root.trace_id) == [root], deadline_s=10,
               message=lambda: str(collector.orphans(root.trace_id)))  # fmt: skip
    spans = collector.of(root.trace_id)
    assert max(Counter(span.span_id for span in spans).values()) == 1
    attempts = [span for span in spans if span.name == "attempt app:nap"]
    assert [(span.is_error, span.facts.get("error.type")) for span in sorted(attempts, key=lambda s: s.start_ns)] == [
        (True, "worker_lost"), (False, None),
    ]  # fmt: skip
    assert [span.name for span in spans].count("activity app:nap") == 1


def test_runs_that_follow_each_other_are_one_trace(deployment: Deployment, collector: Collector) -> None:
    handle = deployment.client.start_workflow(rounds, 2)
    assert handle.result(timeout=30) == "done"
    root = _root(collector, handle)
    wait_until(lambda: [s.name for s in collector.of(root.trace_id)].count("workflow app:rounds") == 3, deadline_s=10)
    assert wait_until(lambda: collector.orphans(root.trace_id) == [root], deadline_s=10)


def test_what_is_open_when_a_run_is_terminated_has_its_span_too(deployment: Deployment, collector: Collector) -> None:
    """By whoever ends it: here a worker, when its time is over."""
    handle = deployment.client.start_workflow(waits, run_timeout=timedelta(seconds=1))
    handle.signal("go", 1)
    root = _root(collector, handle)
    assert (root.is_error, root.facts["orchestration.status"]) == (True, "timed_out")
    assert collector.orphans(root.trace_id) == [root]
    outcomes = {s.name: s.facts.get("orchestration.outcome") for s in collector.of(root.trace_id)}
    assert outcomes["timer"] == "abandoned"
    assert outcomes["signal"] == "completed"


def test_messages_to_workers_without_the_extension_name_the_span_of_the_activity(
    deployment: Deployment, collector: Collector
) -> None:
    handle = deployment.client.start_workflow(unheard)
    with contextlib.closing(redis.Redis.from_url(deployment.redis_url)) as broker:
        message = wait_until(lambda: broker.lindex("legacy", 0), deadline_s=20)
    handle.terminate("seen enough")
    assert isinstance(message, bytes)
    _, trace_id, span_id, sampled = json.loads(message)["headers"]["traceparent"].split("-")
    assert sampled == "01"
    record = deployment.orchestration.runtime.store("default").runs.record(handle.run_id)
    run = RunTrace.read(handle.run_id, record.fields["trace"])
    assert run is not None
    assert (trace_id, span_id) == (f"{run.trace_id:032x}", f"{run.span('activity', 1):016x}")
