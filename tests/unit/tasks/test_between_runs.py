# ruff: noqa: E501 - Lua sources read better on one line
"""What runs ask of each other when a process dies in between, or when the other goes on as another run meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from orchestration import RetryPolicy, ScheduleAction, SchedulePolicy, ScheduleSpec
from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.errors import OrchestrationError, WorkflowTimedOutError
from orchestration.registry import Registry, load_registry
from orchestration.store.inputs import encode_input
from orchestration.tasks import outbox
from orchestration.tasks.completion import watch_run
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project
from tests.support.replaying import is_replaying_everything

project = Project()
FRAME = "local time, workflow = require('time'), require('workflow') return function(...) %s end"


def workflow(name: str, body: str) -> str:
    return project.workflow(name, FRAME % body, modules=["time", "workflow"])


quick = workflow("quick", "local how = ... if how then error(errors.new { message = how, kind = 'Conflict' }) end return 'done'")
executes = workflow("executes", "local v, e = process.exec('app:quick', 'celery', ...) return { value = v, kind = e and e:kind() }")
spawns = workflow("spawns", "local events = process.events() local pid, e = process.spawn('app:quick', 'celery', ...) local got = events:receive() return { same = got.from == pid, value = got.result.value, kind = got.result.error and got.result.error:kind(), event = got.kind }")
# Listens; goes on as another run at the first message that tells it to.
goes_on = workflow("goes_on", "workflow.update('add', function(n) return n + 1 end) local go, events, stop = process.listen('go'), process.events(), process.listen('stop') local got = channel.select { go:case_receive(), events:case_receive(), stop:case_receive() } if got.channel == go then process.upgrade() end if got.channel == events then return got.value.kind end return 'stopped'")
signals = workflow("signals", "local ok, e = process.send(..., 'stop') return e and e:kind() or 'sent'")
cancels = workflow("cancels", "local ok, e = process.cancel(...) return e and e:kind() or 'sent'")
terminates = workflow("terminates", "local ok, e = process.terminate(...) return e and e:kind() or 'sent'")
awaits = workflow("awaits", "local v, e = process.exec('app:goes_on', 'celery') return e and e:kind()")
stubborn = workflow("stubborn", "process.events():receive() process.upgrade()")
counts = workflow("counts", "local count, seen = 0, process.listen('event') workflow.query('count', function() return count end) while seen:receive() do count = count + 1 end")
sends = workflow("sends", "local to = ... coroutine.spawn(function() process.send(to, 'event', 1) end) return 'sent'")
starts = workflow("starts", "coroutine.spawn(function() process.with_options({ ['workflow.parent_close_policy'] = 'abandon' }):spawn('app:quick', 'celery') end) return 'started'")
watches = workflow("watches", "coroutine.spawn(function() process.with_options({ ['workflow.id'] = 'target', ['workflow.parent_close_policy'] = 'abandon' }):spawn('app:counts', 'celery') end) return 'watched'")
returns = workflow("returns", "return 'returned'")
leaves = workflow("leaves", "local policy, id = ... process.with_options({ ['workflow.parent_close_policy'] = policy }):with_name(id):spawn('app:goes_on', 'celery') return 'left'")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(registry: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=registry, replay_everything=is_replaying_everything()) as made:
        yield made


class TestAChildThatEndsBeforeItsParentHearsOfItsStart:
    """Whoever has started it dies before telling; the sweep tells later, and the child does not wait for that."""

    @pytest.fixture(autouse=True)
    def _late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        deliver, failed = outbox.deliver, []

        def late(runtime: Any, namespace: str, run_id: Any, item: bytes, **options: Any) -> Any:
            if item[1] == Code.CHILD_STARTED and not failed:
                failed.append(item)
                raise OrchestrationError("died here")
            return deliver(runtime, namespace, run_id, item, **options)

        monkeypatch.setattr(outbox, "deliver", late)

    @pytest.mark.parametrize(("args", "expected"), [((), {"value": "done"}), (("no",), {"kind": "Conflict"})])
    def test_exec_returns_how_it_ended(self, env: WorkflowEnvironment, args: Any, expected: Any) -> None:
        assert env.start(executes, *args).result() == expected

    @pytest.mark.parametrize(("args", "expected"), [((), {"value": "done"}), (("no",), {"kind": "Conflict"})])
    def test_spawn_returns_its_pid_and_its_exit_follows(
        self, env: WorkflowEnvironment, args: Any, expected: Any
    ) -> None:
        handle = env.start(spawns, *args)
        assert handle.result() == {"same": True, "event": "pid.exit", **expected}
        env.run_until_idle()
        assert handle.describe().status == "completed"


class TestARunThatGoesOnAsAnotherBetweenTheLookAndTheAct:
    @pytest.fixture(autouse=True)
    def _moves_on(self, env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever looks for the latest run of a target is told of one that goes on as another at this moment."""
        parts, moved = env._parts, []
        store = parts.runtime.store("default")
        current = type(store.runs).current

        def look(self: Any, workflow_id: str) -> Any:
            found = current(self, workflow_id)
            if workflow_id.startswith("target") and not moved:
                moved.append(found)
                store.runs.deliver(found, encode_input(Code.SIGNAL, "go", payload.EMPTY_ARRAY, ""))
                parts.engine.take_up("default", found)
                assert store.runs.record(found).status == "continued_as_new"
            return found

        monkeypatch.setattr(type(store.runs), "current", look)

    @pytest.mark.parametrize(
        ("asks", "status", "result"),
        [(signals, "completed", "stopped"), (cancels, "completed", "pid.cancel"), (terminates, "terminated", None)],
    )
    def test_is_sent_to_cancelled_and_terminated_all_the_same(
        self, env: WorkflowEnvironment, asks: str, status: str, result: Any
    ) -> None:
        pid = env.start(goes_on, id="target").pid
        env.run()
        assert env.start(asks, pid).result() == "sent"
        env.run()
        handle = env.client.get_workflow("target")
        assert handle.describe().status == status
        assert result is None or handle.result() == result

    def test_is_asked_for_an_update_all_the_same(self, env: WorkflowEnvironment) -> None:
        env.start(goes_on, id="target")
        env.run()
        assert env.client.get_workflow("target").update("add", 1) == 2

    @pytest.mark.parametrize(("policy", "status"), [("terminate", "terminated"), ("request_cancel", "completed")])
    def test_does_not_outlive_its_parent(
        self, env: WorkflowEnvironment, policy: str, status: str
    ) -> None:
        env.start(leaves, policy, "target").result()
        env.skip(timedelta(seconds=30))
        assert env.client.get_workflow("target").describe().status == status

    def test_makes_room_for_the_next_of_a_schedule(self, env: WorkflowEnvironment) -> None:
        spec = ScheduleSpec(interval=timedelta(minutes=1))
        action = ScheduleAction(workflow_type=goes_on, workflow_id_prefix="target")
        env.client.create_schedule("often", spec=spec, action=action, policy=SchedulePolicy(overlap="terminate_other"))
        env.skip(timedelta(minutes=3, seconds=30))
        statuses = [seen.status for seen in env.client.list_workflows()]
        assert "continued_as_new" in statuses
        assert statuses.count("running") == 1


def test_the_same_request_signals_each_of_several_workflows_once(env: WorkflowEnvironment) -> None:
    handles = [env.start(counts) for _ in range(2)]
    for _ in range(2):
        for handle in handles:
            handle.signal("event", 1, request_id="evt-1")
    env.run()
    assert [handle.query("count") for handle in handles] == [1, 1]


@pytest.mark.parametrize("asks", [sends, starts, watches, returns])
def test_what_a_run_has_asked_for_is_let_go_when_nobody_knows_the_run_any_more(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    """Whoever was to do it is away for longer than ended runs are kept."""
    with WorkflowEnvironment(registry=registry, retention_ms=1_000) as env:
        runtime = env._parts.runtime
        pid = env.start(counts, id="target").pid
        with monkeypatch.context() as away:
            away.setattr(outbox.Outbox, "perform", lambda *_, **__: None)
            env.start(asks, pid)
            env.skip(timedelta(seconds=5))
        env.skip(timedelta(seconds=30))
        keys = runtime.store("default").timers.shards[0]
        assert env._connection.call("HGETALL", keys.outbox) in ([], {})


def test_the_end_of_a_run_that_nobody_knows_any_more_is_told_as_such(env: WorkflowEnvironment) -> None:
    handle = env.start(awaits)
    env.run()
    runtime = env._parts.runtime
    gone = runtime.store("default").runs.new_id("gone")
    watch_run(runtime, "default", gone, f"default/{handle.run_id}/1", pid="{celery@default|gone}")
    assert handle.result() == "NotFound"


def test_the_deadline_of_a_workflow_is_put_off_once_however_many_runs_it_goes_on_as(env: WorkflowEnvironment) -> None:
    minute, grace = timedelta(minutes=1), timedelta(seconds=10)
    handle = env.start(stubborn, id="stubborn", execution_timeout=minute, cancel_grace=grace)
    env.skip(timedelta(minutes=5))
    with pytest.raises(WorkflowTimedOutError):
        handle.result()
    assert len(env.client.list_workflows()) == 2


def test_a_cron_workflow_goes_on_after_a_run_that_timed_out_before_anybody_took_it_up(env: WorkflowEnvironment) -> None:
    handle = env.start(quick, id="cron", cron_schedule="*/5 * * * *", run_timeout=timedelta(minutes=2))
    handle.pause()
    env.skip(timedelta(minutes=8))
    assert handle.describe().status == "timed_out"
    env.skip(timedelta(minutes=5))
    statuses = [seen.status for seen in env.client.list_workflows()]
    assert "completed" in statuses
    assert "running" in statuses


def test_a_run_whose_code_is_gone_is_ended_by_its_timeout_all_the_same(env: WorkflowEnvironment) -> None:
    """The run that was to follow could not be made: its deadline failed at every sweep, and nobody was told."""
    policy = RetryPolicy(initial_interval=timedelta(seconds=1))
    handle = env.start(counts, run_timeout=timedelta(minutes=1), retry_policy=policy)
    env.run()
    runtime = env._parts.runtime
    keys = runtime.store("default").keyspace.of_run(handle.run_id)
    runtime.connection.call("DEL", keys.bundle(handle.describe().bundle))
    env.skip("2m")
    with pytest.raises(WorkflowTimedOutError):
        handle.result()
