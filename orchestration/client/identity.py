"""In whose name trusted Python code starts and calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from orchestration.core.checks import check_kind, check_text
from orchestration.core.identity import Actor, Identity
from orchestration.registry.policies import Policies

__all__ = ["identity_of"]


def identity_of(policies: Policies, actor: Actor | None, scope: Iterable[str] | None) -> Identity:
    """The arguments ``actor`` and ``scope`` of a start or call.

    Args:
        policies: Of the application.
        actor: Who it is for; None: nobody.
        scope: Ids of policies and of groups of policies; None: no scope, which is not an empty one.

    Raises:
        TypeError: One of them is of another type.
        ValueError: There is no such policy and no such group.
    """
    if actor is not None:
        check_kind("an actor", actor, Actor, "an Actor")
    return Identity(None if actor is None else actor.fields(), None if scope is None else policies.ids_of(_ids(scope)))


def _ids(scope: Any) -> Sequence[str]:
    if isinstance(scope, (str, bytes)) or not isinstance(scope, Iterable):
        raise TypeError(f"a scope is a list of ids of policies or groups, not {scope!r:.100}")
    return [check_text("the id of a policy", name) for name in scope]
