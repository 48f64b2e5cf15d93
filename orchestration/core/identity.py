"""In whose name code runs: what travels with every call, start and message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestration.core import payload
from orchestration.core.checks import check_kind, check_text

__all__ = ["Actor", "Identity", "check_scope"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody in whose name code runs: a user, a service.

    Only trusted Python code makes actors, by this class; Lua code needs a permission to.

    Attributes:
        id: What policies read as ``actor.id``.
        meta: What they read as ``actor.meta.<key>``: roles, a tenant; no secrets, it is stored with each run.

    Raises:
        TypeError: The id is no text, or the meta is no map.
        ValueError: The id is empty.
        EncodeError: A value of the meta cannot be carried.
    """

    id: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check both."""
        check_text("the id of an actor", self.id, least=1)
        check_kind("the meta of an actor", self.meta, Mapping, "a map of texts to values")
        payload.encode(dict(self.meta))

    def fields(self) -> dict[str, Any]:
        """The actor as it travels."""
        return {"id": self.id, "meta": dict(self.meta)}


def check_scope(scope: Any) -> tuple[str, ...]:
    """Refuse what is no list of ids.

    Raises:
        TypeError: It is none.
    """
    if isinstance(scope, (str, bytes)) or not isinstance(scope, Iterable):
        raise TypeError(f"a scope is a list of ids of policies or groups, not {scope!r:.100}")
    return tuple(check_text("the id of a policy", name) for name in scope)


@dataclass(frozen=True, slots=True)
class Identity:
    """In whose name code runs.

    Attributes:
        actor: ``{"id": text, "meta": {...}}``; None: nobody's.
        scope: Ids of the policies in force; None: no scope at all, which is not an empty one.
    """

    actor: Mapping[str, Any] | None = None
    scope: tuple[str, ...] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether there is an actor and a scope: only then do policies decide."""
        return self.actor is not None and self.scope is not None

    @classmethod
    def of(cls, fields: Mapping[str, Any], default: Identity | None = None) -> Identity:
        """Read the fields ``actor`` and ``scope`` of a command's options or a start; what is missing is inherited."""
        default = default or cls()
        scope = fields.get("scope")
        return cls(fields.get("actor") or default.actor, default.scope if scope is None else tuple(scope))

    def fields(self) -> dict[str, Any]:
        """The same as fields of a start; empty without actor and scope."""
        found: dict[str, Any] = {}
        if self.actor is not None:
            found["actor"] = dict(self.actor)
        if self.scope is not None:
            found["scope"] = list(self.scope)
        return found
