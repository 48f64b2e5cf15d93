"""Module ``security``: who the code runs for, what they may do, and other identities for the calls it makes.

Permissions: ``security.policy.get`` on a policy, ``security.policy_group.get`` on a group, ``security.scope.create`` on
``custom``, ``security.actor.create`` on the actor's id; those of token stores are asked in
:mod:`~orchestration.modules.tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.core.lua.host import HostError
from orchestration.core.policies import Access
from orchestration.modules import permissions, tokens
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import permitted
from orchestration.modules.verbs import verb

__all__: list[str] = []


@verb("security.actor", quick=True)
def _actor(caller: Caller) -> dict[str, Any] | None:
    actor = caller.identity.actor
    return None if actor is None else dict(actor)


@verb("security.scope", quick=True)
def _scope(caller: Caller) -> list[str] | None:
    scope = caller.identity.scope
    return None if scope is None else list(scope)


@verb("security.can", quick=True)
def _can(caller: Caller, action: Any, resource: Any, meta: Any) -> bool:
    return permitted(caller.runtime, caller.identity, _text(action), _text(resource), caller.pid, _map(meta))


@verb("security.require", quick=True)
def _require(caller: Caller, action: Any, resource: Any, text: Any) -> bool:
    permissions.require(caller, _text(action), _text(resource), text=_text(text))
    return True


@verb("security.evaluate", quick=True)
def _evaluate(caller: Caller, policy_ids: Any, actor: Any, action: Any, resource: Any, meta: Any) -> str:
    """What policies say of somebody's access, whoever asks."""
    access = Access(action=_text(action), resource=_text(resource), actor=_map(actor), meta=_map(meta))
    ids = policy_ids if isinstance(policy_ids, list) else []
    return caller.runtime.registry.policies.evaluate(map(_text, ids), access).value


@verb("security.policy", quick=True)
def _policy(caller: Caller, policy_id: Any) -> str:
    name = _named(policy_id, "policy ID required")
    _may_read(caller, "security.policy.get", name)
    if name not in caller.runtime.registry.policies:
        raise HostError("Internal", f"no policy {name}")
    return name


@verb("security.group", quick=True)
def _group(caller: Caller, group_id: Any) -> list[str]:
    group_id = _named(group_id, "policy group ID required")
    _may_read(caller, "security.policy_group.get", group_id)
    ids = caller.runtime.registry.policies.groups.get(group_id)
    if ids is None:
        raise HostError("Internal", f"no policy group {group_id}")
    return list(ids)


@verb("security.token_store", quick=True)
def _token_store(caller: Caller, store_id: Any) -> str:
    return tokens.open_store(caller, _text(store_id)).id


@verb("security.create_token")
def _create_token(caller: Caller, store_id: Any, actor: Any, scope: Any, expiration: Any, meta: Any) -> str:
    ids = [_text(policy_id) for policy_id in scope] if isinstance(scope, list) else []
    return tokens.create(caller, _text(store_id), _map(actor), ids, expiration=expiration, meta=_map(meta))


@verb("security.validate_token")
def _validate_token(caller: Caller, store_id: Any, token: Any) -> dict[str, Any]:
    return tokens.validate(caller, _text(store_id), token)


@verb("security.revoke_token")
def _revoke_token(caller: Caller, store_id: Any, token: Any) -> bool:
    return tokens.revoke(caller, _text(store_id), token)


def _may_read(caller: Caller, action: str, resource: str) -> None:
    if not permitted(caller.runtime, caller.identity, action, resource, caller.pid):
        raise HostError("Invalid", f"not allowed to {action}: {resource}")


def _named(value: Any, problem: str) -> str:
    if value == "":
        raise HostError("Invalid", problem)
    return _text(value)


def _text(value: Any) -> str:
    """A Lua string; bytes that are no UTF-8 stay different from any others."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _map(value: Any) -> Mapping[str, Any]:
    """An empty Lua table may come as a list."""
    return value if isinstance(value, Mapping) else {}
