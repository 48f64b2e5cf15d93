"""A workflow goes on from an earlier event as a new run; or another workflow begins with its history."""

from __future__ import annotations

import json
import time

import pytest
from celery import chain

from orchestration.errors import WorkflowAlreadyStartedError, WorkflowClosedError, WorkflowFailedError
from orchestration.tasks import copies
from tests.support import wait_until
from tests.support.projects import Project, deployed
from tests.support.warm_cli import project_cli

project = Project(tasks=["tests.acceptance.tasks"])
project.celery_task("add", "accept.add")
project.celery_task("echo", "accept.echo")
project.celery_task("flaky", "accept.flaky", **{"activity.retry_policy": {"maximum_attempts": 1}})

# Events: 1 start, 2 activity 1; 3 its answer, 4 activity 2; 5 its answer; then signals.
STEPS = """
local funcs = require("funcs")
local function main(n)
    local one = funcs.call("app:add", n, 1)
    local two = funcs.call("app:add", one, 10)
    local inbox, got = process.listen("item"), {}
    while #got < 2 do got[#got + 1] = inbox:receive() end
    return { one = one, two = two, got = got, id = require("workflow").info().workflow_id }
end
return main
"""
steps = project.workflow("steps", STEPS)
failing = project.workflow(
    "failing",
    """
    local funcs = require("funcs")
    local function main(key)
        local answer, problem = funcs.call("app:flaky", key, 1)
        if problem then error("it went wrong") end
        return answer
    end
    return main
    """,
)
sleeper = project.workflow(
    "sleeper",
    """
    local time = require("time")
    local function main()
        local begun = time.now():unix_nano() // 1000000
        local timer = time.after("1500ms")
        process.listen("go"):receive()
        timer:receive()
        return time.now():unix_nano() // 1000000 - begun
    end
    return main
    """,
)
account = project.workflow(
    "account",
    """
    local workflow = require("workflow")
    local function main()
        local sum = 0
        workflow.update("add", function(n) sum = sum + n return sum end)
        process.listen("stop"):receive()
        return sum
    end
    return main
    """,
)
child = project.workflow(
    "child",
    """
    local function main(name)
        local word = process.listen("word"):receive()
        return name .. " " .. word
    end
    return main
    """,
)
listens = project.workflow(
    "listens",
    """
    local function main()
        local message = process.inbox():receive()
        return message:from()
    end
    return main
    """,
)
asks = project.workflow(
    "asks",
    """
    local time, workflow = require("time"), require("workflow")
    local function main()
        local asked = process.listen("ask")
        time.sleep("10ms")
        process.send(asked:receive(), "hello", 1)
        return workflow.info().workflow_id
    end
    return main
    """,
)
parent = project.workflow(
    "parent",
    """
    local function main(name)
        process.spawn_monitored("app:child", "", name)
        local inbox = process.listen("go")
        local events = process.events()
        inbox:receive()
        local event = events:receive()
        return event.result.value
    end
    return main
    """,
)


def settled(handle, length):
    wait_until(lambda: handle.describe().history_length >= length, message=lambda: str(list(handle.history())))


def test_a_run_goes_on_from_an_event_and_who_waits_gets_the_new_result(client, running):
    result = running.app.send_task(steps, args=[1])
    handle = client.get_workflow(result.id)
    settled(handle, 5)
    old_run = handle.run_id
    handle.signal("item", "a")
    settled(handle, 6)
    new = handle.reset(3, "the bank had answered nonsense")
    assert handle.run_id == new.run_id != old_run
    old = client.get_workflow(result.id, old_run)
    assert old.describe().status == "terminated"
    assert list(old.history())[-1].reason == f"reset to event 3 as run {new.run_id}: the bank had answered nonsense"
    settled(new, 6)  # the signal is there again
    assert new.describe().reset_of == f"{old_run}/3"
    assert next(iter(new.history())).meta["reset_of"] == {"run": old_run, "event": 3}
    old.signal("item", "b")  # a handle of the old run follows
    assert result.get(timeout=10) == {"one": 2, "two": 12, "got": ["a", "b"], "id": result.id}
    assert old.result(timeout=5) == new.result(timeout=5) == result.get(timeout=5)


def test_signals_that_came_later_may_be_left_out(client):
    handle = client.start_workflow(steps, 1)
    settled(handle, 5)
    handle.signal("item", "a")
    settled(handle, 6)
    new = handle.reset("start", signals=False)
    new.signal("item", "b")
    new.signal("item", "c")
    assert handle.result(timeout=10)["got"] == ["b", "c"]


def test_a_failed_run_is_reset_to_before_its_failure(client, running):
    result = running.app.send_task(failing, args=["failed"])
    handle = client.get_workflow(result.id)
    with pytest.raises(WorkflowFailedError):
        handle.result(timeout=10)
    wait_until(lambda: result.state == "FAILURE", message="the task has failed")
    old_run = handle.run_id
    handle.reset("first-failure")
    assert handle.result(timeout=10) == 1
    wait_until(lambda: running.app.AsyncResult(result.id).state == "SUCCESS", message="the task of the start follows")
    assert client.get_workflow(result.id, old_run).describe().status == "failed"


def test_a_chain_goes_on_once_with_the_result_of_the_new_run(client, running):
    result = chain(
        running.app.signature(steps, args=[1]), running.app.signature("accept.echo")
    ).apply_async()  # fmt: skip
    handle = client.get_workflow(result.parent.id)
    settled(handle, 5)
    new = handle.reset("last-activity")
    for word in ("x", "y"):
        new.signal("item", word)
    assert result.get(timeout=10)["got"] == ["x", "y"]


def test_a_timer_goes_on_with_the_time_that_is_left(client):
    handle = client.start_workflow(sleeper)
    settled(handle, 2)
    time.sleep(0.5)
    new = handle.reset("start")
    new.signal("go")
    assert 1450 <= new.result(timeout=10) < 2600  # from the first start on, not from the reset
    due = client.start_workflow(sleeper)
    settled(due, 2)
    due.signal("go")
    settled(due, 4)
    due.result(timeout=10)
    assert due.reset("start").result(timeout=5) > 1450  # the timer is overdue, and the signal is there again


def test_an_update_of_before_is_made_once_and_one_that_is_unread_goes_to_the_new_run(client):
    handle = client.start_workflow(account)
    assert handle.update("add", 5, update_id="u-1") == 5
    handle.pause()
    handle.signal("stop")
    new = handle.reset("last")
    assert new.update("add", 5, update_id="u-1") == 5  # the answer of the first time
    assert new.result(timeout=10) == 5


def children(client, *handles, **filters):
    """The children of these runs; other tests have some too."""
    ids = tuple(handle.describe().run_id for handle in handles)
    return [item for item in client.list_workflows(type=child, **filters) if item.workflow_id.startswith(ids)]


def test_a_child_of_before_answers_the_new_run_and_one_of_later_is_ended(client):
    handle = client.start_workflow(parent, "kid")
    settled(handle, 3)
    (kid,) = children(client, handle, status="open")
    new = handle.reset("start")
    settled(new, 3)
    assert client.get_workflow(kid.workflow_id).describe().status == "running"
    client.get_workflow(kid.workflow_id).signal("word", "hello")
    new.signal("go")
    assert handle.result(timeout=10) == "kid hello"
    assert len(children(client, handle, new)) == 1
    # Reset again, after its end: the answer of the child is told again, it does not run again.
    again = new.reset("start")
    assert again.result(timeout=10) == "kid hello"  # the signal is there again too
    assert len(children(client, handle, new, again)) == 1


def test_a_reset_whose_client_dies_after_the_write_is_finished_by_the_sweep(client, monkeypatch):
    """What a reset leaves to be done is in the store: the child's end still finds the new run."""
    handle = client.start_workflow(parent, "kid-2")
    settled(handle, 3)
    (kid,) = children(client, handle, status="open")
    monkeypatch.setattr(copies, "_send", lambda *_args: None)
    new = handle.reset("start")
    new.signal("go")
    client.get_workflow(kid.workflow_id).signal("word", "hello")
    assert handle.result(timeout=15) == "kid-2 hello"


def test_a_fork_speaks_under_its_own_name(client):
    """Its code sees the original's name, those that it writes to see the fork's."""
    asked = client.start_workflow(asks, "nobody")
    settled(asked, 3)
    listener = client.start_workflow(listens)
    fork = asked.fork("start", id=f"{asked.id}-fork")
    fork.signal("ask", str(listener.pid))
    assert listener.result(timeout=10) == str(fork.pid)
    assert fork.result(timeout=10) == asked.id
    asked.terminate()


def test_on_a_broker_of_its_own_what_is_open_is_sent_too(tmp_path, redis_url, second_redis):
    with deployed(project, tmp_path, redis_url) as deployment:
        deployment.app.conf.broker_url = second_redis.url
        deployment.worker(env={"CELERY_BROKER_URL": second_redis.url})
        handle = deployment.client.start_workflow(steps, 1)
        settled(handle, 5)
        new = handle.reset(3)
        settled(new, 5)
        fork = new.fork("start", id="other")
        for one in (new, fork):
            for word in ("x", "y"):
                one.signal("item", word)
            assert one.result(timeout=15)["two"] == 12


def test_a_paused_run_is_reset_and_the_new_one_runs(client):
    handle = client.start_workflow(steps, 1)
    settled(handle, 5)
    handle.pause("look")
    new = handle.reset("last")
    assert new.describe().paused == ""
    for word in ("x", "y"):
        new.signal("item", word)
    assert handle.result(timeout=10)["got"] == ["x", "y"]


def test_what_cannot_be_reset_says_so(client):
    handle = client.start_workflow(steps, 1)
    settled(handle, 5)
    with pytest.raises(ValueError, match="no event 99: the inputs are events 1, 3, 5"):
        handle.reset(99)
    new = handle.reset("last")
    with pytest.raises(WorkflowClosedError, match=f"run {new.run_id} has taken its place"):
        handle.reset("last")
    new.terminate()


def test_a_fork_is_another_workflow_with_the_same_past_and_another_answer(client):
    handle = client.start_workflow(steps, 1)
    settled(handle, 5)
    before = list(handle.raw_history())
    seen = handle.preview(edit=(1, 100))
    assert (seen.event, seen.kept, seen.dropped) == (1, 2, 3)
    assert seen.commands == ("activity app:add (number 2)",)
    assert [place.line for place in seen.places] == [4]
    assert handle.describe().history_length == len(before)
    fork = handle.fork(edit=(1, 100), id=f"{handle.id}-what-if")
    for word in ("x", "y"):
        fork.signal("item", word)
    assert fork.result(timeout=10) == {"one": 100, "two": 110, "got": ["x", "y"], "id": handle.id}
    assert fork.describe().forked_from == f"{handle.run_id}/1"
    assert list(handle.raw_history()) == before
    with pytest.raises(WorkflowAlreadyStartedError):
        handle.fork(id=fork.id)
    with pytest.raises(ValueError, match="no result of an activity 9 is recorded there: there are 1, 2"):
        handle.fork(edit=(9, 1))
    plain = handle.fork()
    assert plain.id.startswith(f"{handle.id}-fork-")
    for word in ("p", "q"):
        plain.signal("item", word)
    assert plain.result(timeout=10)["got"] == ["p", "q"]
    handle.terminate()


def test_a_fork_is_refused_where_a_child_is_open(client):
    handle = client.start_workflow(parent, "kid")
    settled(handle, 3)
    with pytest.raises(ValueError, match="child workflow app:child"):
        handle.fork()
    handle.terminate()


@pytest.fixture(scope="module")
def shop(running):
    with project_cli(running) as run:
        yield run


def test_the_command_line_resets_and_forks(client, shop):
    handles = [client.start_workflow(steps, number, id=f"r-{number}") for number in range(3)]
    for handle in handles:
        settled(handle, 5)
    assert "the inputs are events 1, 3, 5" in shop("reset", "r-0", "--to", "99", code=2).stderr
    done = shop("reset", "r-0", "--to", "3", "--reason", "why", "--json")
    facts = json.loads(done.stdout)
    assert facts["old_run_id"] == handles[0].run_id != facts["run_id"]
    assert "reset of" in shop("show", "r-0").stdout
    done = shop("reset", "--all", "--type", steps, "--status", "running", "--to", "start", "--dry-run")
    assert "r-1 would go on from event 1, 3 events dropped; open there: activity app:add (number 1)" in done.stdout
    done = shop("reset", "r-1", "r-2", "--to", "last-activity", "--rate", "50/s")
    assert len(done.stdout.splitlines()) == 2
    done = shop("fork", "r-1", "--edit", "1=100", "--dry-run")
    assert "event 1: 2 events kept" in done.stdout
    assert "it would ask for activity app:add (number 2)" in done.stdout
    assert "takes the number of an activity" in shop("fork", "r-1", "--edit", "x", code=2).stderr
    assert "r-9 begins as run " in shop("fork", "r-1", "--from", "3", "--id", "r-9").stdout
    assert "forked from" in shop("show", "r-9").stdout
    shop("fork", "r-1", "--id", "r-9", code=6)
    shop("terminate", "--all", "--type", steps)


def test_a_reset_on_new_code_goes_past_the_mistake(tmp_path, redis_url):
    with deployed(project, tmp_path / "old", redis_url) as deployment:
        deployment.worker()
        wrong = STEPS.replace("return { one", 'error("mistake") return { one')
        bad = Project(tasks=project.tasks)
        bad.celery_task("add", "accept.add")
        bad.workflow("steps", wrong)
        with deployed(bad, tmp_path / "bad", redis_url) as failing_code:
            handle = failing_code.client.start_workflow(steps, 1, signals=[("item", ["a"]), ("item", ["b"])])
            with pytest.raises(WorkflowFailedError, match="mistake"):
                handle.result(timeout=10)
        found = deployment.client.get_workflow(handle.id)
        with pytest.raises(WorkflowFailedError, match="mistake"):
            found.reset("last-activity").result(timeout=10)
        new = found.reset("last-activity", new_code=True)
        assert new.result(timeout=10)["two"] == 12
        assert new.describe().bundle != handle.describe().bundle
