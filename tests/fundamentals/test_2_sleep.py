"""Sleeping: code that reads like a script, and holds nothing while it waits."""

from __future__ import annotations

from tests.support import wait_until
from tests.support.projects import Project

project = Project()

nap = project.workflow(
    "nap",
    """
    local time = require("time")

    local function main(how_long)
        local before = time.now()
        time.sleep(how_long)
        return time.now():sub(before):milliseconds()
    end
    return main
    """,
    modules=["time"],
)


def test_a_sleep_takes_its_time(client):
    slept_ms = client.start_workflow(nap, "300ms").result(timeout=10)
    assert 300 <= slept_ms < 5000


def test_one_sees_where_it_sleeps(client):
    handle = client.start_workflow(nap, "24h", id="long-nap")
    wait_until(lambda: handle.describe().places, message="the workflow asleep")
    (place,) = handle.describe().places
    assert (place.file, place.line) == ("nap.lua", 5)
    assert "24h" in place.waits_for
    handle.terminate("the test is over")
