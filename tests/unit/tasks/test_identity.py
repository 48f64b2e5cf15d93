"""In whose name code runs, how that travels, and what is refused to it; without a server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.client import Actor
from orchestration.client.identity import identity_of
from orchestration.core.identity import Identity
from orchestration.modules.permissions import service_identity
from orchestration.registry.kinds.lifecycle import ServiceSecurity
from orchestration.tasks.functions import run_function
from orchestration.testing import WorkflowEnvironment, replay
from tests.support.guarded import ANN, admins, child, deep, everything, flow, lua, no_secrets, project, spawners, who

ALL = {"actor": ANN, "scope": [everything]}
CALLER = {"actor": ANN, "scope": [admins]}  # may call functions, nothing else
NOTHING = {"actor": ANN, "scope": []}
AS_ANN = {"id": "ann", "meta": {"role": "admin"}, "scoped": True, "ids": everything}
NOBODY = {"scoped": False, "ids": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.write(tmp_path_factory.mktemp("config"))


@pytest.fixture
def env(folder: Path) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(folder) as env:
        yield env


@pytest.fixture
def strict(folder: Path) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(folder, strict_security="yes") as env:
        yield env


def in_flow(env: WorkflowEnvironment, *args: Any, **options: Any) -> Any:
    return env.start(flow, *args, **options).result()


def in_lua(env: WorkflowEnvironment, *args: Any, **options: Any) -> Any:
    runtime = env.app.orchestration.runtime
    identity = identity_of(runtime.registry.policies, options.get("actor"), options.get("scope"))
    return run_function(runtime, options.get("function", lua), args, context={}, identity=identity)


def refused(text: str) -> list[str]:
    return ["PermissionDenied", text]


# Identities travel ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "arg"), [("call", who), ("call", deep), ("future", who), ("exec", ""), ("spawn", "")])
def test_actor_and_scope_reach_activities_and_children_at_any_depth(
    env: WorkflowEnvironment, case: str, arg: str
) -> None:
    assert in_flow(env, case, arg, **ALL) == AS_ANN
    assert in_flow(env, case, arg) == NOBODY


def test_the_identity_stays_when_a_workflow_goes_on_as_another_run(env: WorkflowEnvironment) -> None:
    assert in_flow(env, "again", 2, **ALL) == AS_ANN


def test_the_identity_is_part_of_the_recorded_start(env: WorkflowEnvironment) -> None:
    handle = env.start(flow, "call", who, **ALL)
    handle.result()
    started = next(iter(handle.history()))
    assert started.meta["actor"] == ANN.fields()
    assert started.meta["scope"] == [everything]


def test_functions_hand_their_identity_to_functions_and_workflows(env: WorkflowEnvironment) -> None:
    assert in_lua(env, "call", who, **ALL) == AS_ANN
    assert in_lua(env, "call", deep, **ALL) == AS_ANN
    assert in_lua(env, "call", who) == NOBODY


def test_an_executor_calls_in_the_name_of_another(env: WorkflowEnvironment) -> None:
    found = in_lua(env, "as", "guest", [everything, no_secrets], deep, **ALL)
    assert found == {"id": "guest", "meta": {"role": "guest"}, "scoped": True, "ids": f"{everything} {no_secrets}"}


def test_a_scope_of_groups_is_that_of_their_policies(env: WorkflowEnvironment) -> None:
    assert in_flow(env, "call", who, actor=ANN, scope=["app:staff", everything])["ids"] == f"{everything} {no_secrets}"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"scope": ["app:nope"]}, "no policy and no group"), ({"scope": "app:everything"}, "list"),
        ({"actor": "ann"}, "an actor is an Actor"), ({"scope": [5]}, "text"),
    ],
)  # fmt: skip
def test_an_identity_that_is_none_is_refused_at_the_start(
    env: WorkflowEnvironment, options: dict[str, Any], error: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        env.start(flow, **options)
    with pytest.raises(ValueError, match="empty"):
        Actor("")


# Workflows: refusals are recorded answers ----------------------------------------------------------------------------


def test_a_call_that_is_not_permitted_is_refused(env: WorkflowEnvironment) -> None:
    for case in ("call", "future"):
        assert in_flow(env, case, who, **NOTHING) == refused(f"not allowed: {who}")
        assert in_flow(env, case, "app:secret", actor=ANN, scope=["app:staff"]) == refused("not allowed: app:secret")
    assert in_flow(env, "call", who, actor=Actor("bob"), scope=[admins]) == refused(f"not allowed: {who}")


def test_context_of_a_call_needs_its_own_permission(env: WorkflowEnvironment) -> None:
    assert in_flow(env, "context", who, **CALLER) == refused("not allowed to funcs.context: context")
    assert in_flow(env, "context", who, **ALL)["asked"] == "yes"


def test_a_refusal_is_recorded_and_replays_without_asking_the_policies(env: WorkflowEnvironment) -> None:
    handle = env.start(flow, "call", who, **NOTHING)
    assert handle.result() == refused(f"not allowed: {who}")
    replay(handle)
    codes = [type(event).__name__ for event in handle.history()]
    assert codes == ["Started", "ScheduleActivity", "ActivityFailed", "Complete"]


def test_workflow_exec_and_process_exec_have_permissions_of_their_own(env: WorkflowEnvironment) -> None:
    assert in_flow(env, "exec", **CALLER) == refused(f"not allowed: {child}")
    assert in_flow(env, "process_exec", "orders", **CALLER) == refused(f"not allowed to process.exec: {child}")
    assert in_flow(env, "process_exec", "orders", **ALL) == AS_ANN


def test_a_spawn_is_returned_as_refused_and_needs_the_host_too(env: WorkflowEnvironment) -> None:
    assert in_flow(env, "spawn", "", **CALLER) == refused(f"not allowed to process.spawn: {child}")
    options = {"actor": ANN, "scope": [spawners]}
    assert in_flow(env, "spawn", "orders", **options) == refused("not allowed to process.host: orders")
    assert in_flow(env, "monitored", **options) == refused(
        f"not allowed to process.spawn.monitored: {child}"
    )


def test_a_builder_raises_what_is_refused_and_asks_not_for_the_host(env: WorkflowEnvironment) -> None:
    kind = "PermissionDenied"
    assert in_flow(env, "build", "", **CALLER) == [False, kind, "not allowed to spawn processes with custom options"]
    options = {"actor": ANN, "scope": [spawners, "app:optional"]}
    assert in_flow(env, "build", "", **options) == [True, "started", ""]
    text = "not allowed to spawn processes with custom context"
    assert in_flow(env, "build", "context", **options) == [False, kind, text]
    only = {"actor": ANN, "scope": ["app:optional"]}
    assert in_flow(env, "build", "", **only) == [False, kind, f"not allowed to spawn process: {child}"]


def test_sending_cancelling_and_terminating_need_permissions_on_the_address(env: WorkflowEnvironment) -> None:
    pid = env.start(flow, "sleep", id="sleeper").pid
    assert in_flow(env, "send", pid, **CALLER) == refused(f"not allowed to process.send: {pid}")
    assert in_flow(env, "send", pid, actor=ANN, scope=[spawners]) is True
    for case in ("cancel", "terminate"):
        assert in_flow(env, case, pid, actor=ANN, scope=[spawners]) == refused(f"not allowed to process.{case}: {pid}")
        assert in_flow(env, case, pid, **ALL) is True


def test_a_start_by_the_id_of_another_is_no_way_around_permissions_on_it(env: WorkflowEnvironment) -> None:
    there = env.start(flow, "sleep", id="there")
    options = {"actor": ANN, "scope": ["app:hirers"]}
    assert in_flow(env, "meet", "there", "use_existing", **options) == refused(
        f"not allowed to process.send: {there.pid}"
    )
    assert in_flow(env, "meet", "there", "terminate_existing", **options) == refused(
        f"not allowed to process.terminate: {there.pid}"
    )
    assert in_flow(env, "meet", "not there", "use_existing", **options).endswith("|not there}")
    assert in_flow(env, "meet", "there", "use_existing", actor=ANN, scope=[spawners, "app:optional"]) == there.pid
    there.terminate()
    assert in_flow(env, "meet", "there", "use_existing", **options).endswith("|there}")


def test_what_is_no_actor_is_refused_in_workflows_too(env: WorkflowEnvironment) -> None:
    assert "actor expected, got string" in in_flow(env, "actor")


# Functions -----------------------------------------------------------------------------------------------------------


def test_a_function_is_refused_at_once(env: WorkflowEnvironment) -> None:
    assert in_lua(env, "call", who, **NOTHING) == refused(f"not allowed: {who}")
    assert in_lua(env, "async", who, **NOTHING) == refused(f"not allowed: {who}")
    assert in_lua(env, "context", **CALLER) == refused("not allowed to funcs.context: context")
    assert in_lua(env, "spawn", "", **CALLER) == refused(f"not allowed to process.spawn: {child}")
    assert in_lua(env, "exec", **CALLER) == refused(f"not allowed to process.exec: {child}")
    pid = "{a@b|c}"
    for case in ("send", "cancel", "monitor"):
        assert in_lua(env, case, pid, **CALLER) == refused(f"not allowed to process.{case}: {pid}")


def test_identities_are_checked_and_need_permissions(env: WorkflowEnvironment) -> None:
    kind = "PermissionDenied"
    assert in_lua(env, "new_actor", **CALLER) == [False, kind, "not allowed to security.actor.create: x"]
    assert in_lua(env, "new_scope", **CALLER) == [False, kind, "not allowed to security.scope.create: custom"]
    assert in_lua(env, "as", "guest", [], who, actor=ANN, scope=["app:makers"]) == refused(
        "not allowed to funcs.security: security"
    )
    for method in ("with_actor", "with_scope"):
        assert "expected, got table" in in_lua(env, "refuses", method)


def test_a_builder_of_a_function_raises_at_once(env: WorkflowEnvironment) -> None:
    kind, options = "PermissionDenied", {"actor": ANN, "scope": ["app:optional", "app:makers"]}
    assert in_lua(env, "build", "", **CALLER) == [False, kind, "not allowed to spawn processes with custom options"]
    text = "not allowed to spawn processes with custom security context"
    assert in_lua(env, "build", "actor", **options) == [False, kind, text]
    assert in_lua(env, "build", "", **options) == [False, kind, f"not allowed to spawn process: {child}"]


def test_can_asks_the_policies_with_the_given_facts(env: WorkflowEnvironment) -> None:
    owners = {"actor": ANN, "scope": ["app:owners"]}
    assert in_lua(env, "can", "doc.read", "d1", {"owner": "ann"}, **owners) is True
    assert in_lua(env, "can", "doc.read", "d1", {"owner": "bob"}, **owners) is False
    assert in_lua(env, "can", "doc.read", "d1", **owners) is False
    assert in_lua(env, "can", "anything", "at all") is True


def test_scopes_and_policies_are_immutable_values(env: WorkflowEnvironment) -> None:
    assert in_lua(env, "scopes") == [
        0, 1, True, True, False, 0, 1, "undefined", "allow", "deny", "allow", "allow", "undefined", "userdata",
        "security.Actor{ann}",
    ]  # fmt: skip


def test_policies_and_groups_by_their_ids(env: WorkflowEnvironment) -> None:
    assert in_lua(env, "group", "app:staff") == [everything, no_secrets]
    assert in_lua(env, "group", "app:nope") == ["Internal", "no policy group app:nope"]
    assert in_lua(env, "group", "") == ["Invalid", "policy group ID required"]
    assert in_lua(env, "policy", "app:nope") == ["Internal", "no policy app:nope"]
    assert in_lua(env, "policy", "") == ["Invalid", "policy ID required"]
    assert in_lua(env, "group", "app:staff", **NOTHING)[0] == "Invalid"
    assert in_lua(env, "policy", everything, **NOTHING)[0] == "Invalid"


def test_actors_and_scopes_become_nil_as_arguments(env: WorkflowEnvironment) -> None:
    assert in_lua(env, "hand") == ["2nil"]


# Modes ---------------------------------------------------------------------------------------------------------------


def test_without_an_actor_or_a_scope_everything_is_permitted(env: WorkflowEnvironment) -> None:
    for options in ({}, {"actor": ANN}, {"scope": []}):
        assert isinstance(in_flow(env, "call", who, **options), dict)
        assert in_lua(env, "can", "x", "y", **options) is True


def test_in_strict_mode_it_is_refused(strict: WorkflowEnvironment) -> None:
    for options in ({}, {"actor": ANN}, {"scope": [everything]}):
        assert in_flow(strict, "call", who, **options) == refused(f"not allowed: {who}")
        assert in_flow(strict, "spawn", "", **options) == refused(f"not allowed to process.spawn: {child}")
        assert in_lua(strict, "async", who, **options) == refused(f"not allowed: {who}")
        assert in_lua(strict, "new_actor", **options)[0] is False
        assert in_lua(strict, "can", "x", "y", **options) is False
    assert in_flow(strict, "call", who, **ALL) == AS_ANN


def test_a_policy_that_is_not_defined_here_denies(env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture) -> None:
    runtime = env.app.orchestration.runtime
    with caplog.at_level(logging.WARNING):
        found = run_function(
            runtime, lua, ["call", who], context={}, identity=Identity(ANN.fields(), (everything, "app:gone"))
        )
    assert found == refused(f"not allowed: {who}")
    assert "app:gone is not defined here" in caplog.text


def test_a_service_runs_as_its_definition_says(env: WorkflowEnvironment) -> None:
    policies = env.app.orchestration.runtime.registry.policies
    assert service_identity(policies, ServiceSecurity()) == Identity()
    security = ServiceSecurity(groups=("app:staff",), policies=(admins, everything))
    assert service_identity(policies, security) == Identity(None, (everything, no_secrets, admins))
    with pytest.raises(ValueError, match="app:nope"):
        service_identity(policies, ServiceSecurity(groups=("app:nope",)))
