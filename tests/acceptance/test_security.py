"""Identities and permissions with real messages: a broker, a prefork worker, a client beside it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration import Client
from orchestration.client import Actor
from tests.support.guarded import ANN, child, everything, flow, lua, no_secrets, who
from tests.support.guarded import project as guarded

project = guarded.copy(tasks=["tests.acceptance.identity_tasks"], pool="prefork", concurrency=2)
tell = project.celery_task("tell", "identity.tell")
other = project.celery_task("other", who)

AS_ANN = {"id": "ann", "meta": {"role": "admin"}, "scoped": True, "ids": everything}
IDENTITY = {"actor": ANN.fields(), "scope": [everything]}


def call(client: Client, *args: Any, identity: dict[str, Any] | None = None, task: str = lua) -> Any:
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


def test_a_header_of_a_celery_message_gives_an_identity(client: Client) -> None:
    assert call(client, task=who, identity=IDENTITY) == AS_ANN
    assert call(client, "call", who, identity=IDENTITY) == AS_ANN
    assert call(client, "call", other, identity=IDENTITY) == AS_ANN
    assert call(client, "call", who, task=flow, identity=IDENTITY) == AS_ANN
    assert call(client, task=who) == {"scoped": False, "ids": ""}


def test_what_policies_do_not_allow_is_refused_in_workflows_and_functions(client: Client) -> None:
    refused = ["PermissionDenied", "not allowed: app:secret"]
    identity = {"actor": ANN.fields(), "scope": [everything, no_secrets]}
    assert call(client, "call", "app:secret", identity=identity) == refused
    assert call(client, "call", "app:secret", task=flow, identity=identity) == refused
    assert call(client, "call", "app:secret", task=flow) == 42
    nobody = client.start_workflow(flow, "spawn", "", actor=Actor("bob"), scope=[])
    assert nobody.result(timeout=30) == ["PermissionDenied", f"not allowed to process.spawn: {child}"]
