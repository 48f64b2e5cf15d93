"""Identities and permissions with real messages: a broker, a prefork worker, a client beside it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestration import Client, ScheduleAction, ScheduleSpec
from orchestration.client import Actor
from tests.support.guarded import ANN, child, everything, flow, lua, no_secrets, tokens, who
from tests.support.guarded import project as guarded
from tests.support.waiting import wait_until

project = guarded.copy(tasks=["tests.acceptance.identity_tasks"], pool="prefork", concurrency=2)
tell = project.celery_task("tell", "identity.tell")
other = project.celery_task("other", who)

AS_ANN = {"id": "ann", "meta": {"role": "admin"}, "scoped": True, "ids": everything}
IDENTITY = {"actor": ANN.fields(), "scope": [everything]}


def send(client: Client, *args: Any, identity: dict[str, Any] | None = None, task: str = lua) -> Any:
    headers = {"orchestration_identity": identity} if identity else None
    return client._orchestration.app.send_task(task, args=args, headers=headers).get(timeout=30)


@pytest.mark.parametrize("how", ["call", "exec", "spawn"])
def test_an_identity_goes_from_the_client_to_activities_and_children(client: Client, how: str) -> None:
    arg = who if how == "call" else ""
    handle = client.start_workflow(flow, how, arg, actor=ANN, scope=[everything])
    assert handle.result(timeout=30) == AS_ANN


def test_the_body_of_a_celery_task_can_know_it(client: Client) -> None:
    handle = client.start_workflow(flow, "call", tell, actor=ANN, scope=["app:staff"])
    assert handle.result(timeout=30) == {"actor": ANN.fields(), "scope": [everything, no_secrets]}
    assert client.start_workflow(flow, "call", tell).result(timeout=30) == {}  # nil is no field


def test_a_function_is_called_in_somebodys_name(client: Client) -> None:
    assert client.call(who, timeout=30, actor=ANN, scope=[everything]) == AS_ANN
    assert client.call(lua, "call", who, timeout=30, actor=ANN, scope=[]) == ["PermissionDenied", f"not allowed: {who}"]
    with pytest.raises(ValueError, match="no policy and no group"):
        client.call(who, scope=["app:nope"])


def test_a_schedule_starts_in_somebodys_name(client: Client) -> None:
    action = ScheduleAction(workflow_type=flow, args=["call", who], actor=ANN, scope=["app:staff"])
    schedule = client.create_schedule("staff", spec=ScheduleSpec(interval=timedelta(days=300)), action=action)
    assert schedule.describe().action == action
    schedule.trigger()
    (workflow_id,) = wait_until(
        lambda: [run.workflow_id for run in client.list_workflows(type=flow) if run.workflow_id.startswith("staff-")]
    )
    assert client.get_workflow(workflow_id).result(timeout=30)["ids"] == f"{everything} {no_secrets}"
    schedule.delete()


def test_a_header_of_a_celery_message_gives_an_identity(client: Client) -> None:
    assert send(client, task=who, identity=IDENTITY) == AS_ANN
    assert send(client, "call", who, identity=IDENTITY) == AS_ANN
    assert send(client, "call", other, identity=IDENTITY) == AS_ANN
    assert send(client, "call", who, task=flow, identity=IDENTITY) == AS_ANN
    assert send(client, task=who) == {"scoped": False, "ids": ""}


def test_what_policies_do_not_allow_is_refused_in_workflows_and_functions(client: Client) -> None:
    refused = ["PermissionDenied", "not allowed: app:secret"]
    identity = {"actor": ANN.fields(), "scope": [everything, no_secrets]}
    assert send(client, "call", "app:secret", identity=identity) == refused
    assert send(client, "call", "app:secret", task=flow, identity=identity) == refused
    assert send(client, "call", "app:secret", task=flow) == 42
    nobody = client.start_workflow(flow, "spawn", "", actor=Actor("bob"), scope=[])
    assert nobody.result(timeout=30) == ["PermissionDenied", f"not allowed to process.spawn: {child}"]


def test_a_token_made_by_one_call_is_good_in_another(client: Client) -> None:
    token = client.call(tokens, "create", "app:tokens", timeout=30)
    assert client.call(tokens, "validate", "app:tokens", token, timeout=30)["id"] == "ann"
    assert client.call(tokens, "call_as", "app:tokens", token, timeout=30) == AS_ANN
    assert client.call(tokens, "revoke", "app:tokens", token, timeout=30) is True
    assert client.call(tokens, "validate", "app:tokens", token, timeout=30) == ["Invalid", "the token is not valid"]
