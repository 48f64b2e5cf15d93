"""Whose an address is: what policies are asked about, whatever text code has given."""

from __future__ import annotations

import contextlib

from orchestration.core.pid import make_pid, parse_pid
from orchestration.errors import WorkflowNotFoundError
from orchestration.host.wire import address_of
from orchestration.store.results import RunRecord
from orchestration.store.statuses import OPEN_STATUSES
from orchestration.tasks.runtime import Runtime

__all__ = ["open_workflow", "true_address"]


def true_address(runtime: Runtime, dest: str) -> str:
    """The address of who is reached by an address or a registered name; the text itself when that is nobody.

    A message finds a process by its node and number, and a workflow by its id; what else stands in the address is not
    looked at. Policies must not be led astray by it. May wait for the store.

    Args:
        runtime: Of this process.
        dest: As code has given it.

    Returns:
        ``{node@host|number}``, or ``{client@worker|workflow id}`` with the worker that the workflow's entry names.
    """
    actors = runtime.store(runtime.settings.namespace).actors
    pid = dest if parse_pid(dest) is not None else actors.lookup(dest)
    parsed = None if pid is None else parse_pid(pid)
    if pid is None or parsed is None:
        return dest
    address = address_of(pid)
    if address is not None:
        info = actors.info_of(address.node, address.unique)
        return pid if info is None else f"{{{address.node}@{info['place']}|{address.unique}}}"
    record = _record_of(runtime, parsed.unique)
    return pid if record is None else _address_of(runtime, record, parsed.unique)


def open_workflow(runtime: Runtime, workflow_id: str) -> str | None:
    """The true address of the open workflow with an id; None when there is none. May wait for the store."""
    record = _record_of(runtime, workflow_id)
    is_open = record is not None and record.status in OPEN_STATUSES
    return _address_of(runtime, record, workflow_id) if record is not None and is_open else None


def _record_of(runtime: Runtime, workflow_id: str) -> RunRecord | None:
    for namespace in runtime.namespaces:
        runs = runtime.store(namespace).runs
        with contextlib.suppress(WorkflowNotFoundError):
            return runs.record(runs.current(workflow_id))
    return None


def _address_of(runtime: Runtime, record: RunRecord, workflow_id: str) -> str:
    registry, entry_id = runtime.registry, record.fields["type"]
    worker = (registry.worker_of(entry_id) if entry_id in registry else None) or ""
    client = registry.client_of(worker) if worker in registry else None
    return make_pid(client.id if client else "celery", worker or "default", workflow_id)
