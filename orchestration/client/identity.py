"""In whose name trusted Python code starts and calls."""

from __future__ import annotations

from collections.abc import Iterable

from orchestration.core.checks import check_kind
from orchestration.core.identity import Actor, Identity, check_scope
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
    ids = None if scope is None else policies.ids_of(check_scope(scope))
    return Identity(None if actor is None else actor.fields(), ids)
