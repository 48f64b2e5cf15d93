"""Limits of one run: its inbox, its history, its pending commands. Each is told before it is reached."""

from __future__ import annotations

import pytest
from celery import Celery

from orchestration import Client, Orchestration
from orchestration.errors import InboxFullError
from tests.support import wait_until
from tests.support.projects import Project

LIMITS = {
    "ORCHESTRATION_INBOX_LIMIT": "10", "ORCHESTRATION_HISTORY_LIMIT": "100", "ORCHESTRATION_HISTORY_BYTES": "70000",
}  # fmt: skip

project = Project(tasks=["tests.acceptance.tasks"], env=LIMITS)
project.celery_task("add", "accept.add")
listener = project.workflow(
    "listener",
    """
    return function()
        local inbox, count = process.inbox(), 0
        while true do
            local message = inbox:receive()
            if message:topic() == "stop" then return count end
            count = count + 1
        end
    end
    """,
)
sender = project.workflow(
    "sender",
    """
    return function(pid)
        local sent, err = process.send(pid, "word", 1)
        return sent or { kind = err:kind(), retryable = err:retryable(), message = err:message() }
    end
    """,
)
caller = project.workflow(
    "caller",
    """
    return function()
        local funcs, value = require("funcs"), 0
        for _ = 1, 100 do
            if value == 41 then process.listen("go"):receive() end
            value = funcs.call("app:add", value, 1)
        end
        return value
    end
    """,
)


@pytest.fixture(scope="module")
def limited(running):
    """A client whose application has the limits of the worker."""
    app = Celery("limited", broker=running.redis_url, backend=running.redis_url, set_as_current=False)
    limits = {name.removeprefix("ORCHESTRATION_").lower(): int(value) for name, value in LIMITS.items()}
    return Client(Orchestration(app, config=str(running.config), **limits))


def test_a_full_inbox_pushes_back_on_every_sender(limited):
    client = limited
    target = client.start_workflow(listener)
    wait_until(lambda: target.describe().places, message="listening")
    target.pause()
    for _ in range(7):
        target.signal("word")
    assert target.describe().warnings == ()
    target.signal("word")
    assert target.describe().warnings == ("8 inputs unread, the limit is 10",)
    target.signal("word")
    target.signal("word")
    with pytest.raises(InboxFullError, match="10 unread") as caught:
        target.signal("word")
    assert (caught.value.workflow_id, caught.value.unread) == (target.id, 10)
    answer = client.start_workflow(sender, str(target.pid)).result(timeout=20)
    message = f"the inbox of {target.pid} is full: 10 messages are unread"
    assert answer == {"kind": "RateLimited", "retryable": True, "message": message}
    target.cancel("always taken")
    target.resume()
    wait_until(lambda: target.describe().unread == 0, message="read")
    target.signal("stop")
    assert target.result(timeout=20) == 10
    assert target.describe().warnings == ()


def test_a_history_near_its_limit_is_told_and_parks_beyond_it(limited, running):
    handle = limited.start_workflow(caller)
    wait_until(lambda: handle.describe().history_length >= 83 and not handle.describe().pending, message="near")
    (warning,) = handle.describe().warnings
    assert warning.endswith("events in the history, the limit is 100")
    assert limited.list_workflows(id_prefix=handle.id)[0].warnings == (warning,)
    assert "run near a limit: 8" in running.workers[0].log()
    handle.signal("go")
    wait_until(lambda: handle.describe().status == "parked", message="parked")
    assert handle.describe().parked == "limit: the history would have more than 100 events"
    handle.terminate()


def test_a_history_of_too_many_bytes_is_parked(limited):
    handle = limited.start_workflow(listener)
    for _ in range(7):
        handle.signal("word", "x" * 9_000)
        wait_until(lambda: handle.describe().unread == 0, message="read")
    (warning,) = handle.describe().warnings
    assert warning.endswith("bytes in the history, the limit is 70,000")
    handle.signal("word", "x" * 9_000)
    wait_until(lambda: handle.describe().status == "parked", message="parked")
    assert handle.describe().parked == "limit: the history would have more than 70000 bytes"
    handle.terminate()
