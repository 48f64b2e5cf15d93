"""Kinds of entries: one immutable record for each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orchestration.registry.entry import Entry
from orchestration.registry.kinds.contracts import ContractBinding, ContractDefinition
from orchestration.registry.kinds.databases import MysqlDatabase, PostgresDatabase, SqliteDatabase
from orchestration.registry.kinds.environment import (
    EnvStorageFile,
    EnvStorageMemory,
    EnvStorageOs,
    EnvStorageRouter,
    EnvStorageStatic,
    EnvVariable,
)
from orchestration.registry.kinds.free import RegistryEntry
from orchestration.registry.kinds.functions import FunctionCelery, FunctionPython
from orchestration.registry.kinds.lua import FunctionLua, LibraryLua, ModuleLua, ProcessLua, WorkflowLua
from orchestration.registry.kinds.processes import ProcessHost, ProcessPython, ProcessService
from orchestration.registry.kinds.queues import Queue, QueueConsumer, QueueDriver
from orchestration.registry.kinds.security import SecurityPolicy, SecurityPolicyExpr, TokenStore
from orchestration.registry.kinds.stores import StoreMemory, StoreSql
from orchestration.registry.kinds.workers import CeleryClient, CeleryWorker

__all__ = ["CHECKED_ONLY_KINDS", "KINDS", "OUTSIDE_KINDS", "is_outside"]

KINDS: Final[Mapping[str, type[Entry]]] = MappingProxyType(
    {
        "celery.client": CeleryClient,
        "celery.worker": CeleryWorker,
        "contract.binding": ContractBinding,
        "contract.definition": ContractDefinition,
        "db.sql.mysql": MysqlDatabase,
        "db.sql.postgres": PostgresDatabase,
        "db.sql.sqlite": SqliteDatabase,
        "env.storage.file": EnvStorageFile,
        "env.storage.memory": EnvStorageMemory,
        "env.storage.os": EnvStorageOs,
        "env.storage.router": EnvStorageRouter,
        "env.storage.static": EnvStorageStatic,
        "env.variable": EnvVariable,
        "function.celery": FunctionCelery,
        "function.lua": FunctionLua,
        "function.python": FunctionPython,
        "library.lua": LibraryLua,
        "module.lua": ModuleLua,
        "process.host": ProcessHost,
        "process.lua": ProcessLua,
        "process.python": ProcessPython,
        "process.service": ProcessService,
        "queue.consumer": QueueConsumer,
        "queue.driver.celery": QueueDriver,
        "queue.driver.memory": QueueDriver,
        "queue.queue": Queue,
        "registry.entry": RegistryEntry,
        "security.policy": SecurityPolicy,
        "security.policy.expr": SecurityPolicyExpr,
        "security.token_store": TokenStore,
        "store.memory": StoreMemory,
        "store.sql": StoreSql,
        "temporal.client": CeleryClient,
        "temporal.worker": CeleryWorker,
        "workflow.lua": WorkflowLua,
    }
)
"""Every kind that is read and checked."""

CHECKED_ONLY_KINDS: Final[frozenset[str]] = frozenset()
"""Kinds that are read and checked, but that nothing runs in this release."""

OUTSIDE_KINDS: Final = (
    "cloudstorage.s3",
    "config.aws",
    "db.cdc.postgres",
    "db.sql.*",
    "exec.docker",
    "exec.native",
    "fs.directory",
    "fs.embed",
    "function.lua.bc",
    "function.wasm",
    "function.wat",
    "http.endpoint",
    "http.router",
    "http.service",
    "http.static",
    "library.lua.bc",
    "module.lua.bc",
    "network.*",
    "network",
    "ns.definition",
    "ns.dependency",
    "ns.requirement",
    "pg.scope",
    "process.lua.bc",
    "process.wasm",
    "queue.driver.amqp",
    "queue.driver.sqs",
    "store.kv.*",
    "template.jet",
    "template.set",
    "terminal.host",
    "workflow.lua.bc",
)
"""Kinds of the reference runtime that are out of scope: kept, said once, without effect."""


def is_outside(kind: str) -> bool:
    """Whether the kind is known and out of scope."""
    if kind in KINDS:
        return False
    return any(kind == known or (known.endswith(".*") and kind.startswith(known[:-1])) for known in OUTSIDE_KINDS)
