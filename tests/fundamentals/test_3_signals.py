"""Signals: messages to a workflow, kept until its code reads them."""

from __future__ import annotations

import pytest

from orchestration.errors import WorkflowClosedError
from tests.support.projects import Project

project = Project()

approval = project.workflow(
    "approval",
    """
    local function main(request)
        local inbox = process.inbox()
        local msg = inbox:receive()
        if msg.approved then
            return "fulfilled " .. request.order_id
        end
        return "rejected " .. request.order_id
    end
    return main
    """,
    modules=[],
)

counter = project.workflow(
    "counter",
    """
    local function main()
        local increments = process.listen("increment")
        local finish = process.listen("finish")
        local total = 0
        while true do
            local picked = channel.select { increments:case_receive(), finish:case_receive() }
            if picked.channel == finish then
                return total
            end
            total = total + picked.value
        end
    end
    return main
    """,
    modules=[],
)

patience = project.workflow(
    "patience",
    """
    local time = require("time")

    local function main(how_long)
        local answer = process.listen("answer")
        local timeout = time.after(how_long)
        local picked = channel.select { answer:case_receive(), timeout:case_receive() }
        if picked.channel == timeout then
            return "nobody answered"
        end
        return picked.value
    end
    return main
    """,
    modules=["time"],
)

message = project.workflow(
    "message",
    """
    local function main()
        local msg = process.inbox():receive()
        return { topic = msg:topic(), payload = msg:payload():data() }
    end
    return main
    """,
    modules=[],
)


@pytest.mark.parametrize(("approved", "outcome"), [(True, "fulfilled 7"), (False, "rejected 7")])
def test_a_workflow_waits_for_a_decision(client, approved, outcome):
    handle = client.start_workflow(approval, {"order_id": "7"})
    handle.signal("decision", {"approved": approved})
    assert handle.result(timeout=10) == outcome


def test_a_message_has_a_topic_and_a_payload(client):
    handle = client.start_workflow(message)
    handle.signal("news", {"headline": "it works"})
    assert handle.result(timeout=10) == {"topic": "news", "payload": {"headline": "it works"}}


def test_listen_takes_the_messages_of_one_topic_in_order(client):
    handle = client.start_workflow(counter)
    for number in (1, 2, 3):
        handle.signal("increment", number)
    handle.signal("finish")
    assert handle.result(timeout=10) == 6


def test_messages_can_be_given_with_the_start(client):
    handle = client.start_workflow(counter, signals=[("increment", [20]), ("increment", [22]), ("finish", [])])
    assert handle.result(timeout=10) == 42


def test_select_waits_for_a_message_or_a_timeout(client):
    assert client.start_workflow(patience, "100ms").result(timeout=10) == "nobody answered"
    handle = client.start_workflow(patience, "1h")
    handle.signal("answer", "yes")
    assert handle.result(timeout=10) == "yes"


def test_a_workflow_that_has_ended_takes_no_more_messages(client):
    handle = client.start_workflow(patience, "1ms", id="over")
    handle.result(timeout=10)
    with pytest.raises(WorkflowClosedError, match=r"'over'.*completed"):
        handle.signal("answer", "too late")
