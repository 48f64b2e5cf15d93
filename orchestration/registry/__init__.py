"""Definitions: YAML trees to typed, checked, immutable entries."""

from __future__ import annotations

from orchestration.registry.entry import Entry, Link, Location
from orchestration.registry.kinds.free import RegistryEntry, UnsupportedEntry
from orchestration.registry.kinds.functions import FunctionCelery, FunctionPython
from orchestration.registry.kinds.lua import (
    FunctionLua,
    LibraryLua,
    LuaEntry,
    ModuleLua,
    Pool,
    PoolType,
    ProcessLua,
    WorkflowLua,
)
from orchestration.registry.kinds.workers import CeleryClient, CeleryWorker, WorkerOptions
from orchestration.registry.loader import load_registry
from orchestration.registry.problems import DefinitionsError, Problem
from orchestration.registry.registry import DEFAULT_NAMESPACE, Registry

__all__ = [
    "DEFAULT_NAMESPACE",
    "CeleryClient",
    "CeleryWorker",
    "DefinitionsError",
    "Entry",
    "FunctionCelery",
    "FunctionLua",
    "FunctionPython",
    "LibraryLua",
    "Link",
    "Location",
    "LuaEntry",
    "ModuleLua",
    "Pool",
    "PoolType",
    "Problem",
    "ProcessLua",
    "Registry",
    "RegistryEntry",
    "UnsupportedEntry",
    "WorkerOptions",
    "WorkflowLua",
    "load_registry",
]
