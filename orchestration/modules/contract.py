"""Module ``contract``: finds what implements a contract. The calls themselves are those of ``funcs``, made in Lua.

Permissions: ``contract.get`` and ``contract.implementations`` on the id of a contract, ``contract.open`` on that of a
binding; then ``funcs.call`` on the function that a method is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from orchestration.core.lua.host import HostError
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import require
from orchestration.modules.verbs import verb
from orchestration.registry.fields import thaw
from orchestration.registry.kinds.contracts import (
    BoundContract,
    ContractBinding,
    ContractDefinition,
    ContractMethod,
    ContractSchema,
)

__all__: list[str] = []


@verb("contract.get", quick=True)
def _get(caller: Caller, contract_id: str | bytes) -> bool:
    name = _text(contract_id)
    require(caller, "contract.get", name)
    _definition(caller, name)
    return True


@verb("contract.methods", quick=True)
def _methods(caller: Caller, contract_id: str) -> list[dict[str, Any]]:
    return [_shown(method) for method in _definition(caller, contract_id).methods]


@verb("contract.implementations", quick=True)
def _implementations(caller: Caller, contract_id: str | bytes) -> list[str]:
    """Ids of the bindings that implement a contract, in order."""
    name = _text(contract_id)
    require(caller, "contract.implementations", name)
    _definition(caller, name)
    return [
        binding.id
        for binding in caller.runtime.registry.of(ContractBinding)
        if any(bound.contract == name for bound in binding.contracts)
    ]


@verb("contract.open", quick=True)
def _open(
    caller: Caller, contract_id: str | None, reference: str | bytes | None, names: Sequence[str | bytes]
) -> dict[str, Any]:
    """Choose a binding.

    Args:
        caller: Who asks.
        contract_id: The contract that it has to implement; None: whichever it does.
        reference: Its id, perhaps with ``?key=value&...``; None: the default of the contract.
        names: Of the context values that there are already.

    Returns:
        ``id``; ``context``: values that the reference adds; ``contracts``: ids of those implemented; ``methods``: the
        function that each method is; ``unbound``: methods of these contracts without one.
    """
    binding_id, _, query = _text(reference).partition("?") if reference is not None else ("", "", "")
    if reference is None:
        binding_id = _default(caller, contract_id or "")
    require(caller, "contract.open", binding_id)
    binding = caller.runtime.registry.find(binding_id)
    if binding is None:
        raise HostError("NotFound", f"there is no binding {binding_id}")
    if not isinstance(binding, ContractBinding):
        raise HostError("NotFound", f"{binding_id} is no binding: it is a {binding.kind}")
    opened = [bound for bound in binding.contracts if contract_id in (None, bound.contract)]
    if not opened:
        raise HostError("Invalid", f"the binding {binding_id} does not implement {contract_id}")
    context = _context(query)
    missing = sorted({name for bound in opened for name in bound.context_required} - {*names, *context})
    if missing:
        text = f"the binding {binding_id} needs context values that are missing: {', '.join(missing)}"
        raise HostError("Invalid", text)
    # What both have is the method of the contract that was asked for, else of the first.
    bounds = [*opened, *(bound for bound in binding.contracts if bound not in opened)]
    methods: dict[str, str] = {}
    for bound in bounds:
        for name, target in bound.methods.items():
            methods.setdefault(name, target)
    return {
        "id": binding_id,
        "context": context,
        "contracts": [bound.contract for bound in bounds],
        "methods": methods,
        "unbound": sorted({name for bound in bounds for name in _names(caller, bound)} - methods.keys()),
    }


def _default(caller: Caller, contract_id: str) -> str:
    for binding in caller.runtime.registry.of(ContractBinding):
        if any(bound.default and bound.contract == contract_id for bound in binding.contracts):
            return binding.id
    raise HostError("NotFound", f"the contract {contract_id} has no default binding: name one")


def _context(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"))
    except ValueError:  # the values may be secret
        raise HostError("Invalid", "what follows '?' in the id of a binding must be key=value&...") from None


def _definition(caller: Caller, contract_id: str) -> ContractDefinition:
    entry = caller.runtime.registry.find(contract_id)
    if entry is None:
        raise HostError("NotFound", f"there is no contract {contract_id}")
    if not isinstance(entry, ContractDefinition):
        raise HostError("NotFound", f"{contract_id} is no contract: it is a {entry.kind}")
    return entry


def _names(caller: Caller, bound: BoundContract) -> list[str]:
    return [method.name for method in _definition(caller, bound.contract).methods]


def _shown(method: ContractMethod) -> dict[str, Any]:
    def schemas(given: Sequence[ContractSchema]) -> list[dict[str, Any]]:
        return [{"format": schema.format, "definition": thaw(schema.definition)} for schema in given]

    return {
        "name": method.name,
        "description": method.description,
        "input_schemas": schemas(method.input_schemas),
        "output_schemas": schemas(method.output_schemas),
    }


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
