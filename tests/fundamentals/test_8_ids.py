"""Workflow ids: the caller's own names."""

from __future__ import annotations

import uuid

import pytest

from orchestration.errors import WorkflowAlreadyStartedError
from tests.support.projects import Project

project = Project()

who = project.workflow(
    "who",
    """
    local workflow = require("workflow")

    local function main()
        local asked = process.listen("who"):receive()
        return { id = workflow.info().workflow_id, pid = process.pid(), asked = asked }
    end
    return main
    """,
    modules=["workflow"],
)

ring = project.workflow(
    "ring",
    """
    local function main(pid)
        return process.send(pid, "who", "from a workflow")
    end
    return main
    """,
    modules=[],
)


@pytest.mark.parametrize(
    "workflow_id",
    ["order-42", "pedido ñ 🦙", "{braces}", "}{", "100% %25", "a:b/c|d@e", "x" * 255, "é" * 127, " ", "'\"\\"],
    ids=repr,
)
def test_any_text_without_control_characters_will_do(client, workflow_id):
    handle = client.start_workflow(who, id=workflow_id)
    handle.signal("who", "the client")
    assert client.get_workflow(workflow_id).result(timeout=10)["id"] == workflow_id
    assert workflow_id in {found.workflow_id for found in client.list_workflows()}


@pytest.mark.parametrize("workflow_id", ["pedido ñ", "{braces}", "}|{", "100%25", "a|b"], ids=repr)
def test_its_address_can_be_sent_to(client, workflow_id):
    workflow_id += " addressed"
    handle = client.start_workflow(who, id=workflow_id)
    assert client.start_workflow(ring, handle.pid).result(timeout=10) is True
    result = handle.result(timeout=10)
    assert (result["pid"], result["asked"]) == (handle.pid, "from a workflow")


@pytest.mark.parametrize("workflow_id", ["", "x" * 256, "é" * 128, "a\nb", "a\x00b", "a\x7fb", "\x85"], ids=repr)
def test_others_are_refused(client, workflow_id):
    with pytest.raises(ValueError, match="workflow id"):
        client.start_workflow(who, id=workflow_id)


def test_without_one_it_gets_a_uuid(client):
    handle = client.start_workflow(who)
    assert str(uuid.UUID(handle.id)) == handle.id
    handle.terminate()


def test_an_id_is_taken_while_its_workflow_is_open(client):
    handle = client.start_workflow(who, id="once")
    with pytest.raises(WorkflowAlreadyStartedError, match="'once'"):
        client.start_workflow(who, id="once")
    same = client.start_workflow(who, id="once", id_conflict_policy="use_existing")
    assert same.run_id == handle.run_id
    handle.signal("who", "me")
    handle.result(timeout=10)
    again = client.start_workflow(who, id="once")
    assert again.run_id != handle.run_id
    again.terminate()
