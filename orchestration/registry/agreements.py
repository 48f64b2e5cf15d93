"""Checks between entries of one subject: contracts with their bindings, policy groups, and kinds that nothing runs."""

from __future__ import annotations

from collections.abc import Mapping

from orchestration.core.activity_options import KNOWN_OPTIONS, option_problems
from orchestration.core.call_options import call_retry, call_timeout_ms
from orchestration.registry.definitions import Definition
from orchestration.registry.entry import Entry
from orchestration.registry.kinds import CHECKED_ONLY_KINDS
from orchestration.registry.kinds.contracts import ContractBinding, ContractDefinition
from orchestration.registry.kinds.lifecycle import Lifecycle
from orchestration.registry.kinds.security import SecurityPolicy, SecurityPolicyExpr
from orchestration.registry.problems import ProblemList, close_matches, shown
from orchestration.types import EntryId

__all__ = ["check_agreements"]

_CURE = "correct it; docs/how-to/activities.md lists the options"


def check_agreements(
    entries: Mapping[EntryId, Entry], definitions: Mapping[EntryId, Definition], problems: ProblemList
) -> None:
    """Check contracts, policy groups and call options; warn once for each kind that nothing runs in this release."""
    _check_options(entries, definitions, problems)
    _check_contracts(entries, definitions, problems)
    _check_groups(entries, definitions, problems)
    told: set[str] = set()
    for entry in entries.values():
        if entry.kind in CHECKED_ONLY_KINDS and entry.kind not in told:
            told.add(entry.kind)
            what = f"entries of kind {entry.kind} are checked, but nothing runs them in this release"
            problems.warn(definitions[entry.id].problem("kind", what, "keep them for a later release, or remove them"))


def _check_contracts(
    entries: Mapping[EntryId, Entry], definitions: Mapping[EntryId, Definition], problems: ProblemList
) -> None:
    defaults: dict[EntryId, ContractBinding] = {}
    for entry in entries.values():
        if not isinstance(entry, ContractBinding):
            continue
        written = definitions[entry.id]
        for index, bound in enumerate(entry.contracts):
            at = f"contracts[{index}]"
            contract = entries.get(bound.contract)
            if isinstance(contract, ContractDefinition):
                names = [method.name for method in contract.methods]
                for method in bound.methods:
                    if method not in names:
                        what = f"the contract {contract.id} has no such method"
                        cure = close_matches(method, names, otherwise="use one of " + ", ".join(names))
                        field = f"{at}.methods.{method}"
                        problems.add(written.problem(field, what, cure, value=shown(method)))
            if bound.default:
                first = defaults.setdefault(bound.contract, entry)
                if first is not entry:
                    what = f"{bound.contract} has a default binding already, {first.id} ({first.location})"
                    cure = "make one binding the default"
                    problems.add(written.problem(f"{at}.default", what, cure, value="true"))


def _check_options(
    entries: Mapping[EntryId, Entry], definitions: Mapping[EntryId, Definition], problems: ProblemList
) -> None:
    """Default options of calls, in meta.options: a bad one would park the first run that makes a call."""
    for entry in entries.values():
        if not entry.kind.startswith("function."):
            continue
        written, options = definitions[entry.id], entry.meta.get("options")
        if options is None:
            continue
        if not isinstance(options, Mapping):
            what, cure = "must be a table of options", "write them as keys below it"
            problems.add(written.problem("meta.options", what, cure, value=shown(options)))
            continue
        for key, value, what in option_problems(options):
            field = f"meta.options.{key}"
            if what:
                problems.add(written.problem(field, what, _CURE, value=shown(value)))
            else:
                name = key.rpartition(".")[2]
                cure = close_matches(name, KNOWN_OPTIONS, otherwise="remove it, or correct its name")
                told = "there is no such option: it has no effect"
                problems.warn(written.problem(field, told, cure, value=shown(value)))
        for name in options.keys() & set(KNOWN_OPTIONS):
            told, cure = "it has no effect without its prefix", f"write it as activity.{name}"
            problems.warn(written.problem(f"meta.options.{name}", told, cure, value=shown(options[name])))
        for name, read in (("retry", call_retry), ("timeout", call_timeout_ms)):
            try:
                read(options)
            except ValueError as error:
                problem = written.problem(f"meta.options.{name}", str(error), _CURE, value=shown(options.get(name)))
                problems.add(problem)


def _check_groups(
    entries: Mapping[EntryId, Entry], definitions: Mapping[EntryId, Definition], problems: ProblemList
) -> None:
    policies = [entry for entry in entries.values() if isinstance(entry, (SecurityPolicy, SecurityPolicyExpr))]
    groups = {group for policy in policies for group in policy.groups}
    for entry in entries.values():
        lifecycle = getattr(entry, "lifecycle", None)
        if not isinstance(lifecycle, Lifecycle):
            continue
        for index, group in enumerate(lifecycle.security.groups):
            if group not in groups:
                cure = close_matches(group, groups, otherwise="name a group that a security.policy entry lists")
                field = f"lifecycle.security.groups[{index}]"
                problem = definitions[entry.id].problem(field, "no policy is in this group", cure, value=shown(group))
                problems.add(problem)
