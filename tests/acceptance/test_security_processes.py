"""Identities and permissions of processes that run beside a prefork pool: every message goes from node to node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from orchestration import Client
from tests.support.guarded import ANN, everything, flow, manager
from tests.support.guarded import project as guarded
from tests.support.waiting import wait_until

project = guarded.copy(pool="prefork", concurrency=2)
SENDERS = {"actor": ANN, "scope": ["app:senders"]}
CLERK = "app:clerk"


def ask(client: Client, *args: Any, scope: list[str] | None = None) -> Any:
    return client.call(manager, *args, timeout=30, actor=ANN, scope=scope)


def refused(action: str, target: str) -> list[str]:
    return ["PermissionDenied", f"not allowed to {action}: {target}"]


@pytest.fixture
def clerk(client: Client) -> Iterator[str]:
    """A process with the name ``clerk``."""
    pid = client.call(manager, "hire", "clerk", timeout=30)
    wait_until(lambda: client.call(manager, "send", "clerk", timeout=30) is True)
    yield pid
    client.call(manager, "terminate", pid, timeout=30)


def test_a_process_runs_in_the_name_of_its_spawner(client: Client) -> None:
    found = ask(client, "ask", scope=[everything])
    assert (found["id"], found["scoped"]) == ("ann", True)
    assert found["called"]["id"] == "ann"
    assert ask(client, "ask")["scoped"] is False


def test_with_an_empty_scope_a_process_may_not_even_be_spawned(client: Client) -> None:
    assert ask(client, "hire", scope=[]) == refused("process.spawn", CLERK)
    assert ask(client, "hire", scope=["app:spawners"]) == refused("process.host", "app:host")
    assert ask(client, "exec", scope=["app:spawners"]) == refused("process.exec", CLERK)
    assert ask(client, "build", scope=["app:optional"]) == [
        False, "PermissionDenied", f"not allowed to spawn process: {CLERK}"
    ]  # fmt: skip


def test_what_is_done_to_a_process_needs_a_permission_on_its_address(client: Client, clerk: str) -> None:
    assert ask(client, "send", clerk, scope=["app:senders"]) is True
    assert ask(client, "monitor", clerk, scope=["app:senders"]) is True
    assert ask(client, "link", clerk, scope=["app:senders"]) == refused("process.link", clerk)
    assert ask(client, "terminate", clerk, scope=["app:senders"]) == refused("process.terminate", clerk)
    assert ask(client, "send", clerk, scope=["app:optional"]) == refused("process.send", clerk)


def test_a_name_or_a_false_address_is_asked_about_as_the_true_one(client: Client, clerk: str) -> None:
    false = re.sub(r"@.*\|", "@app:other|", clerk)
    for dest in ("clerk", false):
        assert ask(client, "send", dest, scope=["app:senders"]) is True
        assert ask(client, "send", dest, scope=["app:optional"]) == refused("process.send", clerk)
    workflow = client.start_workflow(flow, "sleep", id="asleep")
    for dest in (workflow.pid, "{a@app:host|asleep}"):
        assert ask(client, "send", dest, scope=["app:senders"]) == refused("process.send", workflow.pid)
    guarded_flow = client.start_workflow(flow, "send", "{a@app:host|asleep}", **SENDERS)
    assert guarded_flow.result(timeout=30) == refused("process.send", workflow.pid)
    workflow.terminate()


def test_names_need_permissions_and_those_of_others_one_more(client: Client, clerk: str) -> None:
    assert ask(client, "own", scope=["app:senders"]) is True
    assert ask(client, "own", scope=[]) == refused("process.registry.register", "guest-own")
    assert ask(client, "register", "guest-1", clerk, scope=["app:senders"]) is True
    assert ask(client, "unregister", "guest-1", scope=[]) == refused("process.registry.unregister", "guest-1")
    assert ask(client, "unregister", "guest-1", scope=["app:senders"]) is True
    scope = ["app:senders", "app:no_foreign"]
    assert ask(client, "register", "guest-2", clerk, scope=scope) == refused("process.registry.foreign", clerk)
    assert ask(client, "register", "other", clerk, scope=scope) == refused("process.registry.register", "other")


def test_a_spawn_by_the_name_of_another_is_no_way_around_permissions_on_it(client: Client, clerk: str) -> None:
    scope = ["app:hirers"]
    assert ask(client, "meet", "clerk", "spawn", scope=scope) == clerk
    assert ask(client, "meet", "clerk", "spawn", True, scope=scope) == refused("process.send", clerk)
    assert ask(client, "meet", "clerk", "spawn_linked", scope=scope) == refused("process.link", clerk)
    assert ask(client, "meet", "clerk", "spawn_monitored", scope=scope) == refused("process.monitor", clerk)
    assert ask(client, "meet", "clerk", "spawn_monitored", True, scope=[*scope, "app:senders"]) == clerk


def test_one_who_is_gone_is_not_found_by_those_who_may_ask(client: Client, clerk: str) -> None:
    client.call(manager, "terminate", clerk, timeout=30)
    wait_until(lambda: ask(client, "send", clerk, scope=["app:senders"]) is not True)
    assert ask(client, "send", clerk, scope=["app:senders"])[0] == "NotFound"
    assert ask(client, "send", clerk, scope=["app:optional"]) == refused("process.send", clerk)
