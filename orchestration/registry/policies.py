"""The policies of an application, ready to be asked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial

from orchestration.core.policies import Access, Decision, Rule, conclude
from orchestration.registry.entry import Entry
from orchestration.registry.kinds.security import SecurityPolicy, SecurityPolicyExpr
from orchestration.types import EntryId

__all__ = ["Policies"]

logger = logging.getLogger(__name__)


class Policies:
    """Every policy by its id, and the groups they are in.

    Args:
        entries: Those that are no policies are left out.

    Attributes:
        groups: Ids of the policies of each group, sorted.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._rules: dict[str, Rule] = {}
        groups: dict[str, list[EntryId]] = {}
        for entry in entries:
            if isinstance(entry, (SecurityPolicy, SecurityPolicyExpr)):
                self._rules[entry.id] = entry.policy.rule()
                for group in entry.groups:
                    groups.setdefault(group, []).append(entry.id)
        self.groups: Mapping[str, tuple[EntryId, ...]] = {name: tuple(sorted(ids)) for name, ids in groups.items()}

    def __contains__(self, policy_id: object) -> bool:
        return policy_id in self._rules

    def group(self, name: str) -> tuple[EntryId, ...]:
        """The policies of a group.

        Raises:
            ValueError: No policy is in a group of this id.
        """
        if name not in self.groups:
            raise ValueError(f"there is no group of policies {name!r}")
        return self.groups[name]

    def ids_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The policies that ids of policies and of groups name, each once, in their order.

        Raises:
            ValueError: Neither a policy nor a group has one of these ids.
        """
        found: dict[str, None] = {}
        for name in names:
            ids = (name,) if name in self._rules else self.groups.get(name, ())
            if not ids:
                raise ValueError(f"there is no policy and no group of policies {name!r}")
            found.update(dict.fromkeys(ids))
        return tuple(found)

    def evaluate(self, policy_ids: Iterable[str], access: Access) -> Decision:
        """What policies say of an access together.

        A policy that is not defined here denies: whether it would have denied, nobody here can tell.
        """
        return conclude(self._decide(policy_id, access) for policy_id in policy_ids)

    def _decide(self, policy_id: str, access: Access) -> Decision:
        rule = self._rules.get(policy_id)
        if rule is None:
            logger.warning("denied: the policy %s is not defined here", policy_id, extra={"action": access.action})
            return Decision.DENY
        return rule.decide(access, partial(_note, policy_id))


def _note(policy_id: str, why: str) -> None:
    logger.warning("the policy %s could not be asked, it allows nothing: %s", policy_id, why)
