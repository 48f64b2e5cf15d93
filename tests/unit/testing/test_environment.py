"""Workflows in memory: the same engine, one thread, a clock that skips."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest

from orchestration import RetryPolicy, ScheduleAction, ScheduleSpec, activity
from orchestration.core import events
from orchestration.errors import (
    ActivityNotReplacedError,
    ApplicationError,
    ConfigError,
    NothingDueError,
    OrchestrationError,
    RegistryError,
    WorkflowAlreadyStartedError,
    WorkflowFailedError,
    WorkflowTerminatedError,
    WorkflowTimedOutError,
)
from orchestration.tasks import engine as engine_module
from orchestration.testing import Hang, WorkflowEnvironment, assert_history
from tests.support.replaying import is_replaying_everything

ORDER = {"id": "A-1", "amount": 5}
DAY = timedelta(days=1)


@pytest.fixture
def shop(env):
    env.activity("app:charge", lambda order: {"id": "p-1"})
    env.activity("app:ship", lambda order_id: None)
    return env


class TestTime:
    def test_a_day_is_skipped_and_every_moment_of_it_can_be_looked_at(self, shop):
        begun = time.monotonic()
        handle = shop.start("app:order", ORDER)
        shop.skip("23h")
        assert handle.describe().status == "running"
        assert "time.sleep" in handle.describe().places[0].waits_for
        shop.skip(timedelta(hours=1))
        assert handle.describe().status == "completed"
        assert handle.result() == {"payment": "p-1", "id": "A-1"}
        assert time.monotonic() - begun < 5

    def test_a_result_lets_the_time_pass_that_it_takes(self, shop):
        before = shop.now
        assert shop.start("app:order", ORDER).result(timeout=1)["id"] == "A-1"
        assert shop.now - before == DAY

    def test_nothing_moves_until_it_is_told_to(self, shop):
        handle = shop.start("app:order", ORDER)
        assert handle.describe().history_length == 0
        shop.run()
        assert_history(handle).has_activity("app:charge", times=1).has_timer("24h").is_open()
        before = shop.now
        shop.run()
        assert shop.now == before

    def test_until_nothing_is_to_come(self, shop):
        handles = [shop.start("app:order", ORDER) for _ in range(3)]
        shop.run_until_idle()
        assert {handle.describe().status for handle in handles} == {"completed"}

    def test_the_clock_begins_where_it_is_told_to_and_code_sees_it(self, make_env):
        start = datetime(2030, 1, 1, tzinfo=UTC)
        env = make_env(start=start)
        found = env.start("app:moments").result()
        assert found == {"first": int(start.timestamp()), "second": int(start.timestamp()) + 3600}

    def test_a_run_that_never_ends_is_said_to(self, env, monkeypatch):
        monkeypatch.setattr("orchestration.testing.environment._MOST_SKIPS", 50)
        env.start("app:ticks")
        with pytest.raises(NothingDueError, match="still something to come"):
            env.run_until_idle()
        env.skip("1h")

    @pytest.mark.parametrize("wrong", [-DAY, "-1h", "soon", 5, None])
    def test_what_is_no_duration_is_refused(self, env, wrong):
        with pytest.raises(ValueError):
            env.skip(wrong)

    def test_a_result_that_cannot_come_is_an_error_that_says_what_is_waited_for(self, env):
        handle = env.start("app:waits", id="w-1")
        with pytest.raises(NothingDueError, match=r"app:waits 'w-1' is running\n.*waits for .*go") as caught:
            handle.result()
        assert isinstance(caught.value, TimeoutError)

    def test_no_thread_is_left_behind(self, registry):
        before = threading.active_count()
        with WorkflowEnvironment(registry=registry) as env:
            env.activity("app:charge", lambda order: {"id": 1})
            env.activity("app:ship", lambda order: None)
            env.start("app:order", ORDER).result()
            assert threading.active_count() == before


class TestActivities:
    def test_a_function_is_called_as_the_task_would_be(self, shop):
        charge = shop.activity("app:charge", Mock(return_value={"id": "p-2"}))
        assert shop.start("app:order", ORDER).result()["payment"] == "p-2"
        charge.assert_called_once_with(ORDER)

    def test_a_decorator_does_the_same(self, shop):
        @shop.activity("app:charge")
        def charge(order):
            return {"id": f"p-{order['id']}"}

        assert shop.start("app:order", ORDER).result()["payment"] == "p-A-1"
        assert charge({"id": 1}) == {"id": "p-1"}

    def test_the_name_of_the_celery_task_serves_too(self, env):
        env.activity("shop.charge", lambda order: {"id": "by task"})
        env.activity("shop.ship", lambda order: None)
        assert env.start("app:order", ORDER).result()["payment"] == "by task"

    def test_a_failing_attempt_is_tried_again_after_its_pause(self, shop):
        charge = shop.activity("app:charge", Mock(side_effect=[ValueError("no"), OSError("no"), {"id": "third"}]))
        handle = shop.start("app:order", ORDER)
        before = shop.now
        assert handle.result()["payment"] == "third"
        assert charge.call_count == 3
        assert shop.now - before > DAY + timedelta(seconds=2)
        (call, _) = assert_history(handle).activities
        assert (call.status, call.attempts) == ("completed", 3)

    def test_an_error_that_forbids_it_is_not_tried_again(self, shop):
        refuse = Mock(side_effect=ApplicationError("declined", kind="Declined", retryable=False))
        shop.activity("app:charge", refuse)
        with pytest.raises(WorkflowFailedError) as caught:
            shop.start("app:order", ORDER).result()
        assert (caught.value.kind, refuse.call_count) == ("Declined", 1)

    def test_an_activity_that_hangs_meets_its_timeout(self, env):
        attempts = []

        @env.activity("app:charge")
        def charge(order):
            attempts.append(activity.info().attempt)
            raise Hang

        options = {"activity.start_to_close_timeout": "30s", "activity.retry_policy": {"maximum_attempts": 2}}
        before = env.now
        found = env.start("app:patient", options).result()
        assert (found["kind"], found["details"]["timeout_type"]) == ("Timeout", "start_to_close")
        assert attempts == [1, 2]
        assert env.now - before >= timedelta(seconds=60)

    def test_an_activity_that_takes_an_hour(self, env):
        @env.activity("app:charge")
        def charge(order):
            env.skip("1h")
            return "slow"

        handle = env.start("app:patient", {"activity.start_to_close_timeout": "2h"})
        before = env.now
        assert handle.result() == "slow"
        assert env.now - before == timedelta(hours=1)
        (done,) = [event for event in handle.history() if isinstance(event, events.ActivityCompleted)]
        assert done.time_ms == env.clock.now_ms

    def test_an_activity_that_takes_too_long_is_not_heard_any_more(self, env):
        @env.activity("app:charge")
        def charge(order):
            env.skip("1h")
            return "slow"

        options = {"activity.start_to_close_timeout": "10m", "activity.retry_policy": {"maximum_attempts": 1}}
        assert env.start("app:patient", options).result()["kind"] == "Timeout"

    def test_silence_longer_than_the_heartbeat_timeout_ends_an_attempt_and_the_next_one_gets_the_details(self, env):
        seen = []

        @env.activity("app:charge")
        def charge(order):
            seen.append(activity.info().heartbeat_details)
            activity.heartbeat({"page": len(seen)})
            if len(seen) == 1:
                raise Hang
            env.skip("50s")
            activity.heartbeat()
            env.skip("50s")
            return "done"

        assert env.start("app:patient", {"activity.heartbeat_timeout": "1m"}).result() == "done"
        assert seen == [None, {"page": 1}]

    def test_what_has_no_stand_in_is_named(self, env):
        handle = env.start("app:order", ORDER)
        with pytest.raises(ActivityNotReplacedError, match=r"'app:charge' \(Celery task 'shop.charge'\)"):
            handle.result()
        env.activity("app:charge", lambda order: {"id": "late"})
        env.activity("app:ship", lambda order: None)
        assert handle.result()["payment"] == "late"

    def test_a_python_function_is_not_run_either(self, env):
        handle = env.start("app:told", 1)
        with pytest.raises(ActivityNotReplacedError, match="app:notify"):
            env.run()
        env.activity("app:notify", lambda n: n + 1)
        assert handle.result() == 2

    def test_a_function_in_lua_runs_as_it_is_and_may_be_replaced(self, env):
        assert env.start("app:doubled", 4).result() == 8
        env.activity("app:double", lambda n: "replaced")
        assert env.start("app:doubled", 4).result() == "replaced"

    def test_what_a_function_in_lua_calls_is_replaced_too(self, env):
        env.start("app:quoted", 4)
        with pytest.raises(ActivityNotReplacedError, match="app:charge"):
            env.run()
        env.activity("app:charge", lambda n: n * 100)
        assert env.start("app:quoted", 4).result() == 400

    def test_a_local_activity_is_replaced_too(self, env):
        handle = env.start("app:patient", {"activity.local": True})
        with pytest.raises(ActivityNotReplacedError, match="app:charge"):
            env.run()
        assert handle.result()["kind"] == "NotFound"
        env.activity("app:charge", lambda n: n + 1)
        handle = env.start("app:patient", {"activity.local": True})
        assert handle.result() == 2
        assert_history(handle).has_activity("app:charge", args=[1], times=1, result=2)

    def test_a_workflow_is_not_replaced(self, env):
        with pytest.raises(ConfigError, match="is a workflow"):
            env.activity("app:order", lambda: None)

    def test_arguments_and_results_cross_a_border(self, env):
        """As between processes: what a task gets is a copy, and what cannot be carried is refused."""
        env.activity("app:charge", lambda order: object())
        assert env.start("app:patient", {}).result()["kind"] == "Invalid"


class TestRuns:
    def test_signals(self, env):
        handle = env.start("app:approval")
        env.skip("1h")
        handle.signal("decision", {"approved": True})
        assert handle.result() == {"approved": True}
        assert env.start("app:approval").result() == "too late"

    def test_a_start_with_signals_and_a_fixed_id(self, env):
        handle = env.start("app:approval", id="fixed", signals=[("decision", ["yes"])])
        with pytest.raises(WorkflowAlreadyStartedError):
            env.start("app:approval", id="fixed")
        assert handle.result() == "yes"
        assert env.client.get_workflow("fixed").result() == "yes"

    def test_cancel_and_terminate(self, env):
        cancelled, ended = env.start("app:cancelled"), env.start("app:cancelled")
        env.run()
        cancelled.cancel("enough")
        ended.terminate("now")
        with pytest.raises(WorkflowFailedError, match="stopped"):
            cancelled.result()
        with pytest.raises(WorkflowTerminatedError):
            ended.result()
        assert_history(cancelled).got_cancel("enough").failed(message="stopped")
        assert_history(ended).terminated()

    def test_children(self, env):
        handle = env.start("app:parent", 3)
        before = env.now
        assert handle.result() == 6
        assert env.now - before == timedelta(hours=3)
        assert_history(handle).started_child("app:child", times=3).started_child("app:child", args=[2], times=1)

    def test_a_run_timeout(self, env):
        handle = env.start("app:waits", run_timeout=DAY)
        with pytest.raises(WorkflowTimedOutError):
            handle.result()
        assert_history(handle).timed_out()

    def test_a_start_by_celery_itself(self, shop):
        result = shop.app.send_task("app:order", args=[ORDER])
        assert result.get() == {"payment": "p-1", "id": "A-1"}

    def test_what_a_chain_goes_on_with_is_replaced_like_an_activity(self, shop):
        ship = shop.activity("shop.ship", Mock(return_value="shipped"))
        chain = shop.app.signature("app:doubled", args=[4]) | shop.app.signature("shop.ship")
        assert chain.apply_async().get() == "shipped"
        ship.assert_called_once_with(8)

    def test_runs_that_ended_long_ago_can_be_looked_at(self, shop):
        handle = shop.start("app:order", ORDER)
        handle.result()
        shop.skip("87600h")
        assert_history(handle).completed()

    def test_queries_and_updates(self, env):
        handle = env.start("app:counter")
        before = env.now
        assert handle.query("count") == 0
        assert handle.update("add", 4) == 4
        with pytest.raises(OrchestrationError, match="only up"):
            handle.update("add", -1)
        assert handle.query("count") == 4
        assert handle.update("add", 6) == 10
        assert handle.result() == 10
        assert env.now - before == timedelta(hours=2)


class TestSurroundings:
    def test_environments_know_nothing_of_each_other(self, make_env):
        one, other = make_env(), make_env()
        one.start("app:waits", id="same").signal("go", 1)
        other.start("app:waits", id="same").signal("go", 2)
        assert one.client.get_workflow("same").result() == 1
        assert other.client.get_workflow("same").result() == 2

    def test_variables_of_the_process_change_nothing(self, monkeypatch, config):
        """A test must not reach the servers that the variables of a developer's shell name."""
        for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "REDIS_URL", "ORCHESTRATION_REDIS_URL"):
            monkeypatch.setenv(name, "redis://127.0.0.1:1/0")
        monkeypatch.setenv("ORCHESTRATION_CONFIG", "/nowhere")
        with WorkflowEnvironment(config) as env:
            assert env.app.send_task("app:doubled", args=[1]).get() == 2

    def test_bad_definitions_are_an_error_at_once(self, config):
        (config / "broken.yaml").write_text("version: '1.0'\nnamespace: x\nentries: [{name: a, kind: nonsense}]\n")
        with pytest.raises(RegistryError, match="nonsense"):
            WorkflowEnvironment(config)

    def test_an_unknown_setting_is_an_error(self, config):
        with pytest.raises(ConfigError, match="payload_byte"):
            WorkflowEnvironment(config, payload_byte=5)

    def test_settings_count(self, make_env):
        env = make_env(history_limit=100)
        handle = env.start("app:ticks")
        env.skip("10h")
        assert handle.describe().status == "parked"

    def test_replaying_everything_replays_at_every_step(self, make_env, monkeypatch):
        machines = []

        class Counted(engine_module.Machine):
            def __init__(self, *args, **kwargs):
                machines.append(self)
                super().__init__(*args, **kwargs)

        monkeypatch.setattr(engine_module, "Machine", Counted)
        counts = []
        for replay_everything in (False, True):
            machines.clear()
            env = make_env(replay_everything=replay_everything)
            env.activity("app:charge", lambda order: {"id": 1})
            env.activity("app:ship", lambda order: None)
            env.start("app:order", ORDER).result()
            counts.append(len(machines))
        steps = 4  # start, charged, slept, shipped
        assert counts[1] == steps > counts[0]


class TestFollowingRuns:
    def test_a_workflow_that_continues_as_new_is_followed_to_its_last_run(self, env):
        before = env.now
        assert env.start("app:again", 3).result() == "done"
        assert env.now - before == timedelta(hours=4)

    def test_a_delayed_start_and_the_pauses_of_a_retry_policy_are_skipped(self, env):
        before = env.now
        policy = RetryPolicy(maximum_attempts=3, initial_interval=timedelta(minutes=1))
        handle = env.start("app:broken", start_delay=timedelta(hours=5), retry_policy=policy)
        with pytest.raises(WorkflowFailedError, match="never works"):
            handle.result()
        assert env.now - before == timedelta(hours=5, minutes=3)

    def test_a_cron_schedule_runs_as_time_is_skipped(self, make_env):
        env = make_env(start=datetime(2030, 1, 1, 0, 30, tzinfo=UTC))
        env.start("app:doubled", 1, id="hourly", cron_schedule="0 * * * *")
        env.skip("5h")
        assert [seen.status for seen in env.client.list_workflows()] == ["running", *["completed"] * 5]

    def test_a_schedule_fires_as_time_is_skipped(self, make_env):
        env = make_env(start=datetime(2030, 1, 1, 0, 30, tzinfo=UTC))
        spec, action = ScheduleSpec(cron="0 * * * *"), ScheduleAction(workflow_type="app:doubled", args=[1])
        env.client.create_schedule("hourly", spec=spec, action=action)
        env.skip("5h")
        assert [seen.status for seen in env.client.list_workflows()] == ["completed"] * 5


@pytest.mark.skipif(is_replaying_everything(), reason="then it is replayed at every step")
def test_a_long_run_that_waits_for_messages_is_not_replayed_at_every_one(env, monkeypatch):
    """A step costs the same however many there were before; a short run that sleeps stays in no worker."""
    replays = Mock(side_effect=engine_module.replay)
    monkeypatch.setattr(engine_module, "replay", replays)
    handle = env.start("app:listener")
    for number in range(210):
        handle.signal("count", number)
        env.run()
    assert handle.describe().history_length > 200
    before = replays.call_count
    assert before > 150
    for number in range(50):
        handle.signal("count", number)
        env.run()
    assert replays.call_count == before


def test_large_values_are_offloaded_when_a_stage_is_set(env, tmp_path):
    """The claim check in memory: what is large is in the folder, and every reader has it whole."""
    large = "x" * 3_000_000
    with WorkflowEnvironment(registry=env.registry, offload=str(tmp_path), replay_everything=True) as offloading:
        offloading.activity("app:charge", lambda order: {"id": order["id"]})
        offloading.activity("app:ship", lambda order_id: None)
        handle = offloading.start("app:order", {"id": large}, id="large")
        assert handle.result() == {"payment": large, "id": large}
        assert handle.describe().history_bytes < 3_000
        assert sum(map(len, handle.raw_history())) > 5 * len(large)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) > 5 * len(large)
