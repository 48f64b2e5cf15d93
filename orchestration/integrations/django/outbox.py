"""Starts and messages that belong to a transaction: sent when it has committed, never when it is rolled back.

What is asked for here is a row of the outbox, written with everything else that the transaction writes. It is sent
right after the commit by the process that committed, and if that has died, or Redis was away, by any worker. Each
entry has a request id of its own, by which the store takes it once, however often it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, transaction

from orchestration.client import Client, WorkflowHandle
from orchestration.client.arguments import check_id, check_topic
from orchestration.client.starting import start_request
from orchestration.core import payload
from orchestration.core.checks import check_text
from orchestration.errors import ConfigError, EntryNotFoundError
from orchestration.faults import fault
from orchestration.integrations.django.application import DjangoOrchestration, project_orchestration
from orchestration.integrations.django.calls import pack_message, pack_start
from orchestration.integrations.django.models import OutboxEntry, new_request_id
from orchestration.integrations.django.sending import send_soon, want
from orchestration.store.keys import check_workflow_id
from orchestration.tasks.app import Orchestration
from orchestration.tasks.starts import check_start

__all__ = [
    "acancel", "asignal", "astart_workflow", "cancel", "signal", "signal_with_start", "start_workflow",
]  # fmt: skip


def start_workflow(
    workflow_type: str, *args: Any, using: str = DEFAULT_DB_ALIAS, request_id: str | None = None, **options: Any
) -> WorkflowHandle:
    """Start a workflow when the transaction commits; when it is rolled back, nothing has happened.

    Outside of a transaction it is started at once, or soon, if Redis is away.

    Args:
        workflow_type: Entry id, or the type name that the entry declares.
        args: Arguments of its main function.
        using: Database of the transaction.
        request_id: The same request never starts a second run; None: a new one.
        options: Others of :meth:`orchestration.Client.start_workflow`, which says what is raised. No ``update``:
            nobody could be told its answer.

    Returns:
        Handle of the workflow. It is not found before the entry is sent; its ``id`` is known now. What the policies
        for ids refuse is seen only then, and leaves a dead entry in the outbox.

    Raises:
        EntryNotFoundError: No workflow has this type.
        ConfigError: The outbox of this database is not sent, see ``ORCHESTRATION["outbox_databases"]``.
        TypeError: An option is unknown or of another type.
    """
    if options.get("update") is not None:
        raise TypeError("a start in a transaction has no update: nobody waits for its answer")
    orchestration = _checked(using)
    settings, registry = orchestration.settings, orchestration.registry
    wanted = start_request(
        settings, registry, workflow_type, args, request_id=request_id or new_request_id(), **options
    )
    check_start(wanted)
    entry = registry.workflow_type(workflow_type)
    if entry is None and wanted.queue is None:
        other = registry.get(workflow_type)  # raises with the ids that are close
        raise EntryNotFoundError(workflow_type, f"it is a {other.kind}, not a workflow.lua")
    named = registry.namespace_of(entry.id) if entry is not None else "default"
    namespace = settings.namespace if named == "default" else named
    _add(
        using, kind=OutboxEntry.Kind.START, namespace=namespace, workflow_id=wanted.workflow_id,
        what=workflow_type[:255], request_id=wanted.request_id, payload=pack_start(wanted),
    )  # fmt: skip
    return Client(orchestration, namespace=namespace).get_workflow(wanted.workflow_id)


def signal(
    workflow_id: str, topic: str, *payloads: Any, using: str = DEFAULT_DB_ALIAS, namespace: str | None = None,
    request_id: str | None = None,
) -> None:  # fmt: skip
    """Send a message to a workflow when the transaction commits.

    Messages to one workflow, and its start, are sent in the order in which they were asked for.

    Args:
        workflow_id: Its name.
        topic: Name of the message.
        payloads: Its values.
        using: Database of the transaction.
        namespace: Of the workflow; None: the application's.
        request_id: The same id delivers once to this workflow, for a day; None: a new one.

    Raises:
        EncodeError: A value cannot be carried.
        ValueError: The topic is empty or begins with ``@``, or the id cannot be one.
        ConfigError: The outbox of this database is not sent.
    """
    check_topic(topic)
    _message(OutboxEntry.Kind.SIGNAL, workflow_id, topic, list(payloads), using, namespace, request_id)


def signal_with_start(
    workflow_type: str, topic: str, payloads: Sequence[Any] = (), *, args: Sequence[Any] = (),
    id_conflict_policy: str = "use_existing", **options: Any,
) -> WorkflowHandle:  # fmt: skip
    """Send a message to a workflow when the transaction commits, starting it if it is not open.

    Args:
        workflow_type: Entry id, or the type name that the entry declares.
        topic: Name of the message.
        payloads: Its values.
        args: Arguments of the main function of a new run.
        id_conflict_policy: When a run of the id is open; ``use_existing`` sends the message to it.
        options: Others of :func:`start_workflow`.

    Returns:
        Handle of the workflow.
    """
    check_topic(topic)
    return start_workflow(
        workflow_type, *args, id_conflict_policy=id_conflict_policy, signals=[(topic, payloads)], **options
    )


def cancel(
    workflow_id: str, reason: str = "", *, using: str = DEFAULT_DB_ALIAS, namespace: str | None = None,
    request_id: str | None = None,
) -> None:  # fmt: skip
    """Ask a workflow to end, when the transaction commits.

    Args:
        workflow_id: Its name.
        reason: Why; the code reads it in the event.
        using: Database of the transaction.
        namespace: Of the workflow; None: the application's.
        request_id: The same id asks once, for a day; None: a new one.
    """
    check_text("a reason", reason)
    _message(OutboxEntry.Kind.CANCEL, workflow_id, "", reason, using, namespace, request_id)


astart_workflow = sync_to_async(start_workflow)
asignal = sync_to_async(signal)
acancel = sync_to_async(cancel)


def _message(
    kind: str, workflow_id: str, topic: str, values: Any, using: str, namespace: str | None,
    request_id: str | None,
) -> None:  # fmt: skip
    orchestration = _checked(using)
    payload.encode(values, limit=orchestration.settings.value_limit_bytes)
    _add(
        using, kind=kind, namespace=namespace or orchestration.settings.namespace,
        workflow_id=check_workflow_id(workflow_id), what=topic[:255],
        request_id=check_id("a request id", request_id) or new_request_id(), payload=pack_message(topic, values),
    )  # fmt: skip


def _checked(using: str) -> Orchestration:
    orchestration = project_orchestration()
    if isinstance(orchestration, DjangoOrchestration) and using not in orchestration.django.outbox_databases:
        raise ConfigError(
            f"nobody sends the outbox of database {using!r}: add it to ORCHESTRATION[\"outbox_databases\"], which is "
            f"{list(orchestration.django.outbox_databases)}"
        )
    return orchestration


def _add(using: str, **fields: Any) -> None:
    entry = OutboxEntry(**fields)
    entry.save(using=using, force_insert=True)
    fault("after_outbox_insert")
    want(using, entry.namespace, entry.workflow_id)
    transaction.on_commit(lambda: send_soon(using, entry.namespace, entry.workflow_id), using=using, robust=True)
