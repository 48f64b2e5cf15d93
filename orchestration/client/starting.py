"""What a start asks for, checked without a look into the store, so that it can also be kept and carried out later."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestration.client.arguments import check_id, plain_map, signal_list
from orchestration.client.identity import identity_of
from orchestration.client.options import RetryPolicy, whole_ms
from orchestration.core.checks import check_kind, check_text
from orchestration.core.identity import Actor
from orchestration.registry import Registry
from orchestration.settings import Settings
from orchestration.store.keys import check_workflow_id
from orchestration.tasks.starts import StartRequest, workflow_args

if TYPE_CHECKING:
    from orchestration.client.updates import Update

__all__ = ["start_request"]


def start_request(  # noqa: D417 - the rest is described where users see it
    settings: Settings,
    registry: Registry,
    workflow_type: str,
    args: Sequence[Any],
    *,
    id: str | None = None,  # noqa: A002 - the word of the field
    request_id: str | None = None,
    id_conflict_policy: str = "fail",
    id_reuse_policy: str = "allow_duplicate",
    task_queue: str | None = None,
    run_timeout: timedelta | None = None,
    execution_timeout: timedelta | None = None,
    cancel_grace: timedelta | None = None,
    start_delay: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    cron_schedule: str = "",
    search: Mapping[str, Any] | None = None,
    memo: Mapping[str, Any] | None = None,
    summary: str = "",
    details: str = "",
    context: Mapping[str, Any] | None = None,
    actor: Actor | None = None,
    scope: Sequence[str] | None = None,
    signals: Sequence[tuple[str, Sequence[Any]]] = (),
    update: Update | None = None,
) -> StartRequest:
    """The request that the arguments of :meth:`Client.start_workflow` come to.

    Args:
        settings: Of the application.
        registry: Its definitions, for the policies that a scope names.
        workflow_type: It and everything else: as for :meth:`Client.start_workflow`, which says what is raised.
        args: Arguments of the main function.
        id: None: a new UUID.
        request_id: None: a new one.
    """
    limit = settings.value_limit_bytes
    check_text("a workflow type", workflow_type, least=1)
    if task_queue is not None:
        check_text("a task queue", task_queue, least=1)
    if retry_policy is not None:
        check_kind("retry_policy", retry_policy, RetryPolicy, "a RetryPolicy")
    return StartRequest(
        workflow_type=workflow_type, args=workflow_args(args, {}, limit=limit),
        workflow_id=check_workflow_id(id) if id is not None else str(uuid.uuid4()),
        request_id=check_id("a request id", request_id) or f"client/{os.urandom(12).hex()}",
        conflict=_policy(id_conflict_policy), reuse=_policy(id_reuse_policy), task_id="", queue=task_queue,
        run_timeout_ms=whole_ms(run_timeout, "run_timeout"),
        execution_timeout_ms=whole_ms(execution_timeout, "execution_timeout"),
        cancel_grace_ms=whole_ms(cancel_grace, "cancel_grace"), delay_ms=whole_ms(start_delay, "start_delay"),
        retry=retry_policy.to_options() if retry_policy else None,
        cron=check_text("a cron schedule", cron_schedule), search=plain_map("search", search),
        memo=plain_map("memo", memo), summary=check_text("a summary", summary),
        details=check_text("details", details), context=plain_map("context", context, limit=limit),
        identity=identity_of(registry.policies, actor, scope), signals=signal_list(signals, limit=limit),
        update=(update.id, update.name, update.args) if update else None,
    )  # fmt: skip


def _policy(text: str) -> str:
    """Policies as spelled in any of their usual forms."""
    name = check_text("a policy", text).lower().replace("-", "_")
    for prefix in ("workflow_id_conflict_policy_", "workflow_id_reuse_policy_"):
        name = name.removeprefix(prefix)
    return name
