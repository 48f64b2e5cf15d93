"""Contracts and the functions bound to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import Boolean, Name, Reference, Text, fault, freeze, record
from orchestration.types import EntryId

__all__ = ["BoundContract", "ContractBinding", "ContractDefinition", "ContractMethod", "ContractSchema"]


def _check_schema(value: object) -> object:
    if not isinstance(value, (str, Mapping)):
        raise fault("must be a schema: a mapping, or its text", "write 'key: value' lines below it")
    return freeze(value)


SchemaText = Annotated[Any, BeforeValidator(_check_schema), WithJsonSchema({"type": ["object", "string"]})]


@record
class ContractSchema:
    """Shape of one value of a method."""

    format: Name = "application/schema+json"
    definition: SchemaText


@record
class ContractMethod:
    """One method of a contract."""

    name: Name
    description: Text = ""
    input_schemas: tuple[ContractSchema, ...] = ()
    output_schemas: tuple[ContractSchema, ...] = ()


def _unique_names(methods: tuple[ContractMethod, ...]) -> tuple[ContractMethod, ...]:
    names = [method.name for method in methods]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise fault(f"the method {twice[0]} is defined twice", "keep one of them")
    return methods


@record
class ContractDefinition(Entry):
    """What an implementation must offer."""

    methods: Annotated[tuple[ContractMethod, ...], AfterValidator(_unique_names)] = ()


def _frozen(methods: Mapping[str, EntryId]) -> Mapping[str, EntryId]:
    return MappingProxyType(dict(methods))


@record
class BoundContract:
    """One contract with the functions that implement it.

    Attributes:
        contract: Id of the definition.
        methods: Method to the id of a function.
        default: Whether it serves those who name no binding.
        context_required: Names that the context must have.
    """

    contract: Reference
    methods: Annotated[Mapping[str, Reference], AfterValidator(_frozen)] = Field(default_factory=dict)
    default: Boolean = False
    context_required: tuple[Name, ...] = ()


@record
class ContractBinding(Entry):
    """Functions that implement contracts."""

    contracts: tuple[BoundContract, ...] = Field(min_length=1)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        for index, bound in enumerate(self.contracts):
            at = f"contracts[{index}]"
            yield Link(
                field=f"{at}.contract",
                target=bound.contract,
                kinds=("contract.definition",),
                wanted="a contract.definition entry",
            )
            for name, target in bound.methods.items():
                yield Link(
                    field=f"{at}.methods.{name}",
                    target=target,
                    kinds=("function.*", "process.lua"),
                    wanted="a function entry",
                )
