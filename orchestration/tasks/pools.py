"""What has to be known of the pool that a worker has.

Those of greenlets run no Lua: one call into Lua would hold up every other task of the worker.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import Celery

from orchestration.errors import ApplicationError
from orchestration.registry import Registry
from orchestration.registry.kinds.lua import FunctionLua, ProcessLua, WorkflowLua

__all__ = ["check_lua", "greenlet_pool", "keep_prefetch", "name_of_pool", "note_pool", "pool_without_lua"]

logger = logging.getLogger(__name__)

_GREENLETS: Final = ("gevent", "eventlet")
_CURE: Final = "start a worker with --pool prefork, threads or solo for it, and give this one queues of its own (-Q)"
_MOST_NAMED: Final = 20


def name_of_pool(worker: Any) -> str:
    """The pool of a worker, as ``--pool`` has it or as the module it is in."""
    pool = worker.pool_cls
    return pool if isinstance(pool, str) else str(pool.__module__)


def greenlet_pool(worker: Any) -> str:
    """``gevent`` or ``eventlet`` if that is the pool of a worker; empty for every other."""
    name = name_of_pool(worker)
    return next((word for word in _GREENLETS if word in name), "")


def note_pool(worker: Any, registry: Registry) -> None:
    """Remember whether the worker of this process runs Lua; say by name what it will not run.

    Args:
        worker: The worker that is being set up.
        registry: The definitions.
    """
    pool = greenlet_pool(worker)
    worker.app._orchestration_pool = pool
    names = sorted(entry.id for entry in registry.entries if isinstance(entry, (FunctionLua, ProcessLua, WorkflowLua)))
    if not pool or not names:
        return
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    logger.error(
        "this worker runs activities in Python alone: the %s pool can run no Lua, so it refuses %s%s; %s", pool,
        ", ".join(names[:_MOST_NAMED]), more, _CURE,
    )  # fmt: skip


def keep_prefetch(worker: Any) -> None:
    """Have a worker with the threads pool not change its prefetch count after a broken connection to RabbitMQ.

    Celery lowers it while old tasks still run, and raises it again when messages are acknowledged. With threads that is
    in one of theirs: it waits for RabbitMQ's answer on the connection that the main thread reads from, which takes the
    answer away, and the worker hangs for a minute or longer.

    Source: ``_restore_prefetch_count_after_connection_restart`` of Celery 5.4 to 5.7 (celery/worker/consumer).
    """
    if "thread" in name_of_pool(worker) and worker.app.connection_for_read().transport.driver_type == "amqp":
        worker.app.conf.worker_enable_prefetch_count_reduction = False


def pool_without_lua(app: Celery) -> str:
    """Name of the pool of this process' worker if it runs no Lua; else empty."""
    return str(getattr(app, "_orchestration_pool", ""))


def check_lua(app: Celery, entry_id: str) -> None:
    """Refuse an entry in Lua where the pool can run none.

    Raises:
        ApplicationError: It can not; kind ``Unavailable``, and another worker may do better.
    """
    pool = pool_without_lua(app)
    if pool:
        text = f"{entry_id} is Lua, which the {pool} pool of this worker can not run: {_CURE}"
        raise ApplicationError(text, kind="Unavailable", retryable=True, details={"entry": entry_id, "pool": pool})
